"""Data directories and their claims on disk: ``HOST_DATA_DIR/<home>/{claim.json,data/}``.

The claim lies beside the mounted directory, never inside it, so that no workload can rewrite whose it is;
with the store lost, claims are rebuilt from these. Decides nothing about when data may go.
Next: :mod:`reconciler.loop.actuator`.
"""

import errno
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import pydantic
import structlog
from pydantic import AwareDatetime

from reconciler.core.actions import FileText
from reconciler.core.errors import TransientError
from reconciler.loop.files import owner_of, write_files
from reconciler.loop.own_threads import OwnThreads
from reconciler.loop.removal import remove_tree
from state.key_file import read_or_make_key
from state.kinds.home import HOSTNAME_PATTERN, Owner
from state.kinds.resource import Shape
from state.kinds.user_container import Overrides, Power
from state.kinds.user_inputs import InputValues
from state.sealing import PrivateKey
from state.settings import SettingsError

CLAIM_FILE = "claim.json"
_DRAFT_SUFFIX = ".draft"
CLAIM_DRAFT = f"claim{_DRAFT_SUFFIX}"
INSTALLATION_FILE = "installation"
INSTALLATION_BYTES = 8
PROJECT_FILE = "project"
KEY_FILE = "sealing.key"
DATA_DIRECTORY = "data"
CLAIM_BYTES_MAX = 16 << 20  # more than the overrides of any manifest that is accepted, escaped
CALL_S_MAX = 60.0
THREADS_MAX = 16
LIST_S_MAX = 300.0  # every claim there is is read
PURGE_S_MAX = 300.0  # then others have their turn; what was begun goes on
DIRECTORY_MODE = 0o700
NAME_CHARS_SHOWN = 80
LISTED_BY_OTHERS = 0o006  # to list, and to add; to pass through harms nobody
# Where we may not give the directory to the workload's user, everybody inside may write; the parent is 0700.
DATA_MODE_UNOWNED = 0o777

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Claim(Shape):
    """What claim.json says: enough to give a Home back to its owner without the store, or to let it rest."""

    home: str
    template: str
    owner: Owner
    power: Power = Power.AUTO
    overrides: Overrides = Overrides()
    values: InputValues
    one_time: bool = False
    tombstoned_at: AwareDatetime | None = None
    retain_until: AwareDatetime | None = None


class Directories(Protocol):
    """Where Homes keep their data."""

    async def prepare(self, claim: Claim, user: str) -> str:
        """Make the Home's directory and write its claim, durably; the path to mount. Idempotent.

        Raises TransientError with reason DiskFull or DataDirectoryUnusable.
        """
        ...

    async def record(self, claim: Claim) -> None:
        """Write the Home's claim, durably. Raises as :meth:`prepare` does, and TransientError with reason
        ClaimContradicted for what :func:`refuse_contradiction` refuses, or ClaimTooLarge."""
        ...

    async def write(self, home: str, files: Iterable[FileText], user: str) -> str:
        """Have these files in the Home's data; what in there stands in the way of one, "" if nothing does.

        Idempotent. Raises as :meth:`prepare` does.
        """
        ...

    async def claims(self) -> list[Claim]:
        """Every readable claim; unreadable ones are logged and left alone. Raises TransientError."""
        ...

    async def claimed(self) -> set[str]:
        """The Homes that have a claim, readable or not: unknown is not absent. Raises TransientError."""
        ...

    async def purge(self, home: str, now: datetime) -> None:
        """Delete a Home's data and claim for good; absent is success. One at a time.

        Raises TransientError, with reason RetentionNotOver where the claim itself does not say that their
        time is over, NotPurged where something cannot be deleted, or not yet.
        """
        ...

    def close(self) -> None:
        """What is being purged just now ends soon."""
        ...


class HostDirectories:
    """Directories of the host, below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = OwnThreads("homes", THREADS_MAX)  # one call a Home at a time
        self._purging = OwnThreads("purge")  # it may take long, and nobody's birth waits for it
        self._closed = threading.Event()

    async def prepare(self, claim: Claim, user: str) -> str:
        return await self._within(CALL_S_MAX, claim.home, lambda: self._prepare(claim, user))

    async def record(self, claim: Claim) -> None:
        await self._within(CALL_S_MAX, claim.home, lambda: self._record(claim))

    async def write(self, home: str, files: Iterable[FileText], user: str) -> str:
        into = seat_in(self._root, home) / DATA_DIRECTORY
        return await self._within(CALL_S_MAX, home, lambda: write_files(into, files, user))

    async def installation(self) -> str:
        """The name of this installation: made once, kept beside the data. Raises as :meth:`prepare` does."""
        return await self._within(CALL_S_MAX, INSTALLATION_FILE, self._installation)

    async def is_known(self) -> bool:
        """Whether an installation has its data here. Raises as :meth:`prepare` does."""
        return await self._within(CALL_S_MAX, INSTALLATION_FILE, (self._root / INSTALLATION_FILE).exists)

    async def belong_to(self, project: str) -> None:
        """From the first time on this is one project's: of two, each would end what the other keeps.

        Raises SettingsError, and as :meth:`prepare` does.
        """
        standing = await self._within(CALL_S_MAX, PROJECT_FILE, lambda: self._project(project))
        if standing != project:
            raise SettingsError(
                f"HOST_DATA_DIR={self._root} holds the data of project {standing}, and "
                f"CONTAINER_PROJECT_NAME is {project}: name another directory for it, or set "
                f"CONTAINER_PROJECT_NAME={standing}"
            )

    async def key(self) -> PrivateKey:
        """What opens users' secrets: made once, kept where the claims are.

        Raises SettingsError, and as :meth:`prepare` does.
        """
        return await self._within(CALL_S_MAX, KEY_FILE, self._key)

    async def claims(self) -> list[Claim]:
        return await self._within(LIST_S_MAX, CLAIM_FILE, self._claims)

    async def claimed(self) -> set[str]:
        return await self._within(LIST_S_MAX, CLAIM_FILE, self._claimed)

    async def purge(self, home: str, now: datetime) -> None:
        try:
            await self._purging.ask(PURGE_S_MAX, lambda: self._purge(home, now))
        except TimeoutError:
            raise _not_purged(
                self._root / home, f"it, or one before it, takes longer than {PURGE_S_MAX:g} s; that goes on"
            ) from None
        except PermissionError as error:
            raise _not_purged(self._root / home, _FOREIGN.format(self._root / home)) from error
        except OSError as error:
            raise _not_purged(
                self._root / home, f"{error.strerror}; look at the disk of HOST_DATA_DIR"
            ) from error

    def close(self) -> None:
        self._closed.set()
        self._purging.close()
        self._threads.close()

    async def _within(self, seconds: float, name: str, call: Callable[[], T]) -> T:
        """Raises TransientError. ``name`` is what below the root is used."""
        try:
            return await self._threads.ask(seconds, call, about=name)
        except TimeoutError:
            message = (
                f"{self._root / name}: the disk did not answer within {seconds:g} s; see to the file "
                "system that HOST_DATA_DIR is on"
            )
            raise TransientError("DataDirectoryUnusable", message, retry_after_s=15.0) from None
        except OSError as error:
            raise _translated(error, self._root / name) from error

    def _prepare(self, claim: Claim, user: str) -> str:
        seat = seat_in(self._root, claim.home)
        mounted = seat / DATA_DIRECTORY
        self._record(claim)
        mounted.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        _refuse_link(mounted)
        _give_to(mounted, user)
        return str(mounted.resolve())

    def _record(self, claim: Claim) -> None:
        seat = seat_in(self._root, claim.home)
        path, said = seat / CLAIM_FILE, claim.model_dump_json(by_alias=True).encode()
        _refuse_too_large(claim, said)
        _refuse_link(seat)
        seat.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if path.exists():
            refuse_contradiction(self._read(path), claim)
        elif _holds_data(seat):
            raise TransientError("ClaimContradicted", _unclaimed(claim.home), retry_after_s=60.0)
        if not _says(path, said):  # after a restart every claim is noted again, and few are news
            _write_durably(path, said)

    def _installation(self) -> str:
        path = self._root / INSTALLATION_FILE
        if not path.exists():
            self._root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            _write_durably(path, secrets.token_hex(INSTALLATION_BYTES).encode())
        return path.read_text().strip()

    def _project(self, project: str) -> str:
        path = self._root / PROJECT_FILE
        if not path.exists():
            self._root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            _write_durably(path, project.encode())
        standing = path.read_text().strip()
        if standing == project:
            _keep_names_to_ourselves(self._root)
        return standing

    def _key(self) -> PrivateKey:
        name = f"{KEY_FILE} in HOST_DATA_DIR={self._root}"
        mend = "make HOST_DATA_DIR writable for the reconciler"
        return PrivateKey(read_or_make_key(self._root / KEY_FILE, name, mend=mend))

    def _claims(self) -> list[Claim]:
        if not self._root.is_dir():
            return []
        found = (self._read(path) for path in sorted(self._root.glob(f"*/{CLAIM_FILE}")))
        return [claim for claim in found if claim is not None]

    def _claimed(self) -> set[str]:
        return {path.parent.name for path in self._root.glob(f"*/{CLAIM_FILE}")}

    def _read(self, path: Path) -> Claim | None:
        try:
            with path.open("rb") as file:
                claim = Claim.model_validate_json(file.read(CLAIM_BYTES_MAX))
        except (OSError, pydantic.ValidationError) as error:
            _log.warning("claim.unreadable", path=str(path), why=type(error).__name__)
            return None
        return claim if claim.home == path.parent.name else None

    def _purge(self, home: str, now: datetime) -> None:
        seat = seat_in(self._root, home)
        _refuse_link(seat)
        if (seat / CLAIM_FILE).exists():
            refuse_early_end(home, self._read(seat / CLAIM_FILE), now)
        elif _holds_data(seat):
            raise TransientError("RetentionNotOver", _unclaimed(home), retry_after_s=60.0)
        # The claim goes last: what is half deleted still says whose it was.
        for entry in sorted(seat.iterdir(), key=lambda one: one.name == CLAIM_FILE) if seat.exists() else ():
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry, is_over=self._closed.is_set)
            else:
                entry.unlink()
        if seat.exists():
            seat.rmdir()


def seat_in(root: Path, home: str) -> Path:
    """A Home's directory. Raises TransientError for what is no name: it may lead somewhere else.

    Names come from the store. Whoever writes there past every check has a container below the root too, in
    whose data nothing is to be followed.
    """
    if re.fullmatch(HOSTNAME_PATTERN, home) is None:
        message = f"{home[:NAME_CHARS_SHOWN]!r} is no name of a Home; nothing is done on the store's word"
        raise TransientError("ClaimContradicted", message, retry_after_s=60.0)
    return root / home


def refuse_contradiction(standing: Claim | None, said: Claim) -> None:
    """Whose a Home is was decided once, and that it is kept: a store that says otherwise is not believed.

    ``standing`` is the claim on disk, None where it cannot be read: that may be another's.
    Raises TransientError.
    """
    if standing is None:
        message = (
            f"{said.home}: its {CLAIM_FILE} cannot be read; nothing is changed on the store's word. "
            "Put back what it was"
        )
        raise TransientError("ClaimContradicted", message, retry_after_s=60.0)
    is_another = (standing.owner.uid, standing.owner.user) != (said.owner.uid, said.owner.user)
    if is_another or (said.one_time and not standing.one_time):
        what = "is another user's" if is_another else "was claimed to be kept"
        message = f"{said.home} {what}, as its {CLAIM_FILE} says; nothing is changed on the store's word"
        raise TransientError("ClaimContradicted", message, retry_after_s=60.0)


def refuse_early_end(home: str, standing: Claim | None, now: datetime) -> None:
    """Data go once the claim says so, which the reconciler alone writes; never on the store's word alone.

    Raises TransientError.
    """
    until = standing.retain_until if standing is not None and standing.tombstoned_at is not None else None
    if until is None or until > now:
        message = f"{home} is kept: its {CLAIM_FILE} does not say that its time is over"
        raise TransientError("RetentionNotOver", message, retry_after_s=60.0)


def _holds_data(seat: Path) -> bool:
    """Whether there is more than an interrupted birth or purge leaves: those begin or end without a claim."""
    data, draft = seat / DATA_DIRECTORY, seat / CLAIM_DRAFT
    for entry in seat.iterdir() if seat.exists() else ():
        is_empty = entry == data and not data.is_symlink() and data.is_dir() and not any(data.iterdir())
        if entry != draft and not is_empty:
            return True
    return False


def _unclaimed(home: str) -> str:
    return (
        f"{home} holds data and no {CLAIM_FILE} says whose; nothing is changed on the store's word. "
        f"Put {CLAIM_FILE} back from a backup, or move the directory out of HOST_DATA_DIR"
    )


def _refuse_too_large(claim: Claim, said: bytes) -> None:
    """What would not be read again says of nobody that a Home is theirs."""
    if len(said) > CLAIM_BYTES_MAX:
        message = (
            f"{claim.home}: its {CLAIM_FILE} would be {len(said)} bytes, over {CLAIM_BYTES_MAX}; "
            f"shorten the overrides of {claim.owner.user_container}"
        )
        raise TransientError("ClaimTooLarge", message, retry_after_s=60.0)


def _keep_names_to_ourselves(root: Path) -> None:
    """Whoever knows a Home's name may use its links. An engine makes the root for everybody to list."""
    found = root.stat()
    if found.st_uid == os.geteuid() and found.st_mode & LISTED_BY_OTHERS:
        root.chmod(stat.S_IMODE(found.st_mode) & ~LISTED_BY_OTHERS)


def _refuse_link(path: Path) -> None:
    """Nobody but us makes these; a link would have us write, give away or delete something elsewhere."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link where a directory should be")


def _give_to(path: Path, user: str) -> None:
    """Also where it exists: a crash may have come in between, or the spec may name another user by now."""
    owner, standing = owner_of(user), path.stat()
    if (standing.st_uid, standing.st_gid) == owner:
        return
    try:
        os.chown(path, *owner)
    except PermissionError:
        path.chmod(DATA_MODE_UNOWNED)


def _says(path: Path, content: bytes) -> bool:
    """Whether exactly that stands there already: it was written durably then."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all, also after a power cut. What already says so is left as it is."""
    if path.exists() and path.read_bytes() == content:
        return
    draft = path.with_name(f"{path.stem}{_DRAFT_SUFFIX}")
    draft.unlink(missing_ok=True)
    with draft.open("xb") as file:  # what somebody else laid there is neither followed nor written
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    for directory in (path.parent, path.parent.parent):
        _sync_directory(directory)


def _sync_directory(path: Path) -> None:
    """Names reach the disk with the directory that holds them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_FOREIGN = (
    "it holds files of the workload's own user, which this process may not delete. Delete it as root "
    "(`sudo rm -rf {0}`), or with a rootless Podman by `podman unshare rm -rf {0}`"
)


def _not_purged(path: Path, why: str) -> TransientError:
    return TransientError("NotPurged", f"{path} is not deleted: {why}", retry_after_s=60.0)


def _translated(error: OSError, path: Path) -> TransientError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(
            "DiskFull", f"{path}: the disk is full; free some room where HOST_DATA_DIR is", retry_after_s=30.0
        )
    return TransientError(
        "DataDirectoryUnusable",
        f"{path}: {error.strerror}; make HOST_DATA_DIR writable for the reconciler",
        retry_after_s=15.0,
    )
