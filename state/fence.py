"""The fence's report: what the fence says of itself, in a file that the reconciler reads.

Decides its shape and whose word it is. The two need not be of one process, nor of one container: whoever
writes packet filter rules may do nothing else. Next: :mod:`reconciler.core.isolation`, which believes it or
does not.
"""

import os
import secrets
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")  # Source: Linux, random(4); containers see the host's
REPORT_BYTES_MAX = 16 << 10
REPORT_MODE = 0o644  # nothing secret, and the reader may be another user
ROOT_UID = 0
DRAFT_BYTES = 12
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FenceReport(BaseModel):
    """What stood when it was written. Rules are gone after a boot, hence ``boot_id``."""

    model_config = ConfigDict(frozen=True)

    boot_id: str
    subnets: tuple[IPv4Network, ...]
    trusted: tuple[IPv4Address, ...]
    proxy: str = ""  # the URL of the proxy zone's proxy
    kept: bool  # somebody looks after it, and says so again and again
    written_at: AwareDatetime


class FenceUnreadable(Exception):
    """There is a report, and nothing can be learned from it. ``str()`` says why in one line."""


def read_fence(path: Path) -> FenceReport | None:
    """The report; None if there is none. Raises FenceUnreadable.

    It has to be root's or the reader's own: whoever else may write to its folder has no say in this.
    """
    try:
        # A pipe in its place would be waited for, for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            text = file.read(REPORT_BYTES_MAX) or b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FenceUnreadable(f"{path} cannot be read ({error.strerror})") from None
    if owner not in (ROOT_UID, os.geteuid()):
        raise FenceUnreadable(f"{path} belongs to user {owner}, who has no say in this; remove it")
    try:
        return FenceReport.model_validate_json(text)
    except ValidationError:
        raise FenceUnreadable(f"{path} is no fence's report; remove it") from None


def write_fence(path: Path, report: FenceReport) -> None:
    """Whole or not at all. Raises OSError.

    The folder may be somebody else's, who must not have a file written elsewhere by a link in the draft's
    place: nobody knows its name, it is made anew, and from then on is ours by its descriptor.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(DRAFT_BYTES)}")
    descriptor = os.open(draft, _DRAFT, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(report.model_dump_json() + "\n")
            os.fchmod(descriptor, REPORT_MODE)  # the umask has no say
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def remove_fence(path: Path) -> None:
    """Raises OSError. Absent is success."""
    path.unlink(missing_ok=True)


def boot_id() -> str:
    """Of this boot; "" where the kernel does not say, which no report matches."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return ""
