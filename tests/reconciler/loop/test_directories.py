"""Data directories on a real disk: claims that last, modes, refusals, and deletion that stays inside."""

import asyncio
import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.errors import TransientError
from reconciler.loop.directories import CLAIM_BYTES_MAX, Claim, HostDirectories
from reconciler.loop.gauge import HostGauge
from reconciler.loop.removal import remove_tree
from state.kinds.home import HOSTNAME_BYTES, Owner, hostname
from state.kinds.template import ENV_COUNT_MAX, INPUTS_COUNT_MAX
from state.kinds.user_container import Overrides
from state.kinds.user_inputs import SEALED_CHARS_MAX, InputValue
from state.settings import SettingsError

HOME = "a" * 26
OTHER = "b" * 26
USER = "1234:5678"


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim(home: str = HOME, user: str = "github:1") -> Claim:
    return Claim(home=home, template="demo", owner=Owner(user_container="alice", uid="uid-1", user=user))


def ended(home: str = HOME, until: datetime = NOW) -> Claim:
    """A claim whose data may go at ``until``."""
    return claim(home).model_copy(update={"tombstoned_at": NOW, "retain_until": until})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "homes"


@pytest.fixture
def directories(root: Path) -> HostDirectories:
    return HostDirectories(root)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_home_has_its_claim_beside_its_data(root: Path, directories: HostDirectories) -> None:
    mounted = await directories.prepare(claim(), USER)
    assert mounted == str((root / HOME / "data").resolve())
    assert sorted(one.name for one in (root / HOME).iterdir()) == ["claim.json", "data"]
    assert list((root / HOME / "data").iterdir()) == []
    assert (
        json.loads((root / HOME / "claim.json").read_text()).items()
        >= {
            "home": HOME,
            "template": "demo",
            "owner": {"userContainer": "alice", "uid": "uid-1", "user": "github:1"},
            "tombstonedAt": None,
        }.items()
    )


async def test_nobody_else_looks_into_a_home(root: Path, directories: HostDirectories) -> None:
    await directories.prepare(claim(), USER)
    assert (mode(root / HOME), mode(root / HOME / "data")) == (0o700, 0o700)


async def test_the_data_belongs_to_the_workloads_user(root: Path, directories: HostDirectories) -> None:
    await directories.prepare(claim(), USER)
    status = (root / HOME / "data").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)


async def test_who_may_not_give_it_away_lets_everybody_inside_write(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    await directories.prepare(claim(), USER)
    assert (mode(root / HOME), mode(root / HOME / "data")) == (0o700, 0o777)


async def test_preparing_again_leaves_the_data_alone(root: Path, directories: HostDirectories) -> None:
    await directories.prepare(claim(), USER)
    (root / HOME / "data" / "kept").write_text("mine")
    await directories.prepare(claim(), USER)
    assert (root / HOME / "data" / "kept").read_text() == "mine"


async def test_a_workload_that_runs_as_another_user_by_now_gets_the_data(
    root: Path, directories: HostDirectories
) -> None:
    await directories.prepare(claim(), USER)
    await directories.prepare(claim(), "42")
    assert (root / HOME / "data").stat().st_uid == 42


@pytest.mark.fault(17)
async def test_a_home_that_was_begun_is_finished(root: Path, directories: HostDirectories) -> None:
    """Killed after the first directory, after the second, and while the claim was being written."""
    (root / HOME).mkdir(parents=True)
    await directories.prepare(claim(), USER)
    (root / HOME / "claim.json").unlink()
    (root / HOME / "claim.draft").write_text('{"home": "aaa')
    await directories.prepare(claim(), USER)
    assert await directories.claims() == [claim()]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that was asked to reach the disk, in order, with replacements between them."""
    seen: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        seen.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def replace(self: Path, target: Any) -> Path:
        seen.append(f"replace {Path(target).name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return seen


async def test_a_claim_survives_a_power_cut(directories: HostDirectories, synced: list[str]) -> None:
    """The draft reaches the disk, then the name changes, then the directories remember it."""
    await directories.prepare(claim(), USER)
    assert synced == ["fsync claim.draft", "replace claim.json", f"fsync {HOME}", "fsync homes"]
    synced.clear()
    await directories.prepare(claim(), USER)
    assert synced == []


async def test_claims_are_read_back(directories: HostDirectories) -> None:
    await directories.prepare(claim(), USER)
    await directories.prepare(claim(OTHER, "github:2"), USER)
    assert await directories.claims() == [claim(), claim(OTHER, "github:2")]


async def test_without_a_root_there_are_no_claims(directories: HostDirectories) -> None:
    assert await directories.claims() == []


BAD_CLAIMS = {
    "half a file": b'{"home": "' + HOME.encode(),
    "nothing": b"",
    "no claim at all": b'{"hello": "world"}',
    "somebody else's home": claim(OTHER).model_dump_json(by_alias=True).encode(),
    "bytes": b"\xff\xfe\x00",
    "far too much": b" " * CLAIM_BYTES_MAX + claim().model_dump_json(by_alias=True).encode(),
}


async def test_a_claim_with_a_manifests_largest_overrides_is_read_again(tmp_path: Path) -> None:
    env = {f"CERTIFICATE_{number}": "\n" * 32_000 for number in range(30)}  # a mebibyte, twice that escaped
    written = claim().model_copy(update={"overrides": Overrides(env=env)})
    directories = HostDirectories(tmp_path)
    await directories.record(written)
    assert await directories.claims() == [written]


async def test_a_claim_that_cannot_be_read_is_a_claim_all_the_same(tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path)
    await directories.record(claim())
    (tmp_path / HOME / "claim.json").write_bytes(b"half")
    assert await directories.claims() == []
    assert await directories.claimed() == {HOME}


@pytest.mark.parametrize("content", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_a_claim_that_says_nothing_is_left_alone(
    root: Path, directories: HostDirectories, content: bytes
) -> None:
    await directories.prepare(claim(OTHER), USER)
    (root / HOME).mkdir()
    (root / HOME / "claim.json").write_bytes(content)
    assert await directories.claims() == [claim(OTHER)]
    assert (root / HOME / "claim.json").read_bytes() == content


async def test_a_purge_leaves_nothing_and_may_come_twice(root: Path, directories: HostDirectories) -> None:
    await directories.prepare(claim(), USER)
    deep = root / HOME / "data" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    await directories.prepare(claim(OTHER), USER)
    await directories.record(ended())
    await directories.purge(HOME, NOW)
    await directories.purge(HOME, NOW)
    assert [one.name for one in root.iterdir()] == [OTHER]
    assert await directories.claims() == [claim(OTHER)]


async def test_a_link_inside_data_is_never_followed_out(
    root: Path, directories: HostDirectories, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    mounted = Path(await directories.prepare(claim(), USER))
    (mounted / "link").symlink_to(outside)
    (mounted / "file").symlink_to(outside / "precious")
    (mounted / "up").symlink_to("../../..")
    await directories.record(ended())
    await directories.purge(HOME, NOW)
    assert (outside / "precious").read_text() == "x"
    assert not (root / HOME).exists()


async def test_a_link_in_the_place_of_a_home_is_not_followed(
    root: Path, directories: HostDirectories, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    root.mkdir()
    (root / HOME).symlink_to(outside)
    with pytest.raises(TransientError) as refused:
        await directories.prepare(claim(), USER)
    assert refused.value.reason == "DataDirectoryUnusable"
    with pytest.raises(TransientError):
        await directories.purge(HOME, NOW)
    assert [one.name for one in outside.iterdir()] == ["precious"]


async def test_a_link_in_the_place_of_data_is_not_followed(
    root: Path, directories: HostDirectories, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    await directories.record(claim())
    (root / HOME / "data").symlink_to(outside)
    with pytest.raises(TransientError) as refused:
        await directories.prepare(claim(), USER)
    assert refused.value.reason == "DataDirectoryUnusable"
    await directories.record(ended())
    await directories.purge(HOME, NOW)
    assert outside.is_dir()


@pytest.mark.parametrize(
    "home", ["", ".", "..", "../x", "/x", f"{HOME}/data/x", f"{HOME}\n", "A" * 26, "backups"]
)
async def test_a_name_that_may_lead_elsewhere_is_no_homes(
    root: Path, directories: HostDirectories, home: str
) -> None:
    """A container makes what it likes in its data, whoever writes to the store names it there."""
    await directories.prepare(claim(), USER)
    inside = root / HOME / "data" / "x"
    inside.mkdir()
    (inside / "claim.json").write_text(claim("x").model_dump_json(by_alias=True))
    elsewhere = root.parent / "precious"
    elsewhere.write_text("x")
    (inside / "claim.draft").symlink_to(elsewhere)
    for call in (
        directories.prepare(claim(home), USER),
        directories.record(claim(home)),
        directories.write(home, (), USER),
        directories.purge(home, NOW),
    ):
        with pytest.raises(TransientError, match="is no name of a Home") as refused:
            await call
        assert refused.value.reason == "ClaimContradicted"
    assert await HostGauge(root).use(home, 1) is None
    assert elsewhere.read_text() == "x"
    assert sorted(one.name for one in inside.iterdir()) == ["claim.draft", "claim.json"]


async def test_a_draft_that_is_a_link_is_not_written_through(
    root: Path, directories: HostDirectories
) -> None:
    await directories.prepare(claim(), USER)
    elsewhere = root.parent / "precious"
    elsewhere.write_text("x")
    (root / HOME / "claim.draft").symlink_to(elsewhere)
    await directories.record(ended())
    assert elsewhere.read_text() == "x"
    assert await directories.claims() == [ended()]


async def test_what_is_half_deleted_still_says_whose_it_was(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    await directories.prepare(ended(), USER)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("reconciler.loop.directories.remove_tree", refuse)
    with pytest.raises(TransientError, match="Input/output error; look at the disk") as refused:
        await directories.purge(HOME, NOW)
    assert refused.value.reason == "NotPurged"
    assert await directories.claims() == [ended()]


@pytest.mark.parametrize("name", ["data/note", "notes"])
async def test_data_without_a_claim_are_neither_deleted_nor_given_to_anybody(
    root: Path, directories: HostDirectories, name: str
) -> None:
    """A claim that went away some other way than by a purge says of nobody that the data are theirs."""
    await directories.prepare(ended(), USER)
    (root / HOME / name).write_text("x")
    (root / HOME / "claim.json").unlink()
    with pytest.raises(TransientError, match=r"Put claim\.json back") as refused:
        await directories.purge(HOME, NOW)
    assert refused.value.reason == "RetentionNotOver"
    for one in (claim(), claim(user="github:2")):
        with pytest.raises(TransientError, match=r"no claim\.json says whose") as refused:
            await directories.prepare(one, USER)
        assert refused.value.reason == "ClaimContradicted"
    assert (root / HOME / name).read_text() == "x"
    assert not (root / HOME / "claim.json").exists()


@pytest.mark.parametrize("name", ["backups", "installation"])
async def test_what_is_no_home_is_not_purged(root: Path, directories: HostDirectories, name: str) -> None:
    """The store's word may name anything."""
    await directories.installation()
    (root / "backups").mkdir()
    (root / "backups" / "yesterday.tar").write_text("x")
    with pytest.raises(TransientError):
        await directories.purge(name, NOW)
    assert (root / "backups" / "yesterday.tar").read_text() == "x"
    assert (root / "installation").read_text()


async def test_data_of_another_user_are_left_with_the_mend(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    await directories.prepare(ended(), USER)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("reconciler.loop.directories.remove_tree", refuse)
    with pytest.raises(TransientError, match=f"sudo rm -rf {root / HOME}.*podman unshare") as refused:
        await directories.purge(HOME, NOW)
    assert refused.value.reason == "NotPurged"


async def test_a_long_purge_holds_up_no_birth(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    await directories.prepare(ended(), USER)
    may_end = threading.Event()

    def removed(tree: Path, *, is_over: Callable[[], bool]) -> None:
        may_end.wait(30)
        remove_tree(tree, is_over=is_over)

    monkeypatch.setattr("reconciler.loop.directories.remove_tree", removed)
    monkeypatch.setattr("reconciler.loop.directories.PURGE_S_MAX", 0.2)
    for _ in range(2):
        with pytest.raises(TransientError, match=r"longer than 0\.2 s; that goes on"):
            await directories.purge(HOME, NOW)
    await asyncio.gather(
        *(
            directories.prepare(claim(hostname(bytes([number] * HOSTNAME_BYTES)), f"github:{number}"), USER)
            for number in range(1, 100)
        )
    )
    may_end.set()
    monkeypatch.undo()
    await directories.purge(HOME, NOW)
    assert not (root / HOME).exists()


async def test_a_purge_ends_with_the_process(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = Path(await directories.prepare(ended(), USER))
    (mounted / "note").write_text("x")
    begun, closed = threading.Event(), threading.Event()

    def removed(tree: Path, *, is_over: Callable[[], bool]) -> None:
        begun.set()
        closed.wait(30)
        remove_tree(tree, is_over=is_over)

    monkeypatch.setattr("reconciler.loop.directories.remove_tree", removed)
    purging = asyncio.create_task(directories.purge(HOME, NOW))
    assert await asyncio.to_thread(begun.wait, 30)
    directories.close()
    closed.set()
    with pytest.raises(TransientError, match="to end before"):
        await purging
    assert await HostDirectories(root).claims() == [ended()]


UNENDED = {
    "not put aside": claim(),
    "put aside for longer": ended(until=NOW + timedelta(days=1)),
    "put aside without a time": claim().model_copy(update={"tombstoned_at": NOW}),
}


@pytest.mark.parametrize("name", UNENDED)
async def test_data_whose_claim_says_no_end_is_not_deleted_on_the_stores_word(
    root: Path, directories: HostDirectories, name: str
) -> None:
    mounted = Path(await directories.prepare(UNENDED[name], USER))
    (mounted / "precious").write_text("x")
    with pytest.raises(TransientError) as refused:
        await directories.purge(HOME, NOW)
    assert refused.value.reason == "RetentionNotOver"
    assert (mounted / "precious").read_text() == "x"


async def test_data_whose_claim_cannot_be_read_is_not_deleted(
    root: Path, directories: HostDirectories
) -> None:
    await directories.prepare(ended(), USER)
    (root / HOME / "claim.json").write_text("{")
    with pytest.raises(TransientError):
        await directories.purge(HOME, NOW)
    assert (root / HOME / "data").is_dir()


CONTRADICTIONS = {
    "another user": {"owner": Owner(user_container="alice", uid="uid-1", user="github:2")},
    "another seat": {"owner": Owner(user_container="bob", uid="uid-2", user="github:1")},
    "a one-time user": {"one_time": True},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
async def test_whose_a_home_is_and_that_it_is_kept_never_changes(
    root: Path, directories: HostDirectories, name: str
) -> None:
    await directories.prepare(claim(), USER)
    with pytest.raises(TransientError) as refused:
        await directories.prepare(claim().model_copy(update=CONTRADICTIONS[name]), USER)
    assert refused.value.reason == "ClaimContradicted"
    assert await directories.claims() == [claim()]


@pytest.mark.parametrize("content", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_what_cannot_be_read_may_be_anothers_and_stays(
    root: Path, directories: HostDirectories, content: bytes
) -> None:
    await directories.prepare(claim(), USER)
    (root / HOME / "claim.json").write_bytes(content)
    with pytest.raises(TransientError, match=r"claim\.json cannot be read") as refused:
        await directories.record(claim(user="github:2"))
    assert refused.value.reason == "ClaimContradicted"
    assert (root / HOME / "claim.json").read_bytes() == content


async def test_a_claim_that_nobody_could_read_again_is_not_written(
    root: Path, directories: HostDirectories
) -> None:
    """The longest overrides there are, of characters of four bytes each."""
    overrides = Overrides(env={f"A{number}": "\N{GRINNING FACE}" * 32_768 for number in range(ENV_COUNT_MAX)})
    too_large = claim().model_copy(update={"overrides": overrides})
    with pytest.raises(TransientError, match="shorten the overrides of alice") as refused:
        await directories.record(too_large)
    assert refused.value.reason == "ClaimTooLarge"
    assert not (root / HOME).exists()
    await directories.prepare(claim(), USER)
    with pytest.raises(TransientError, match="shorten the overrides"):
        await directories.record(too_large)
    assert await directories.claims() == [claim()], "what stood before it is still whose it was"


REFUSALS = {
    "a full disk": (errno.ENOSPC, "DiskFull"),
    "a quota that is used up": (errno.EDQUOT, "DiskFull"),
    "a disk that is mounted read-only": (errno.EROFS, "DataDirectoryUnusable"),
    "a directory that is not ours": (errno.EACCES, "DataDirectoryUnusable"),
}


@pytest.mark.fault(14)
@pytest.mark.parametrize(("number", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_why_a_home_cannot_be_made(
    root: Path, directories: HostDirectories, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TransientError) as refused:
        await directories.prepare(claim(), USER)
    assert refused.value.reason == reason
    assert str(root / HOME) in str(refused.value)
    assert await directories.claims() == []
    monkeypatch.undo()
    await directories.prepare(claim(), USER)
    assert await directories.claims() == [claim()]


async def test_a_file_in_the_place_of_the_root_is_said(root: Path, directories: HostDirectories) -> None:
    root.write_text("")
    with pytest.raises(TransientError) as refused:
        await directories.prepare(claim(), USER)
    assert refused.value.reason == "DataDirectoryUnusable"
    assert "HOST_DATA_DIR" in str(refused.value)


async def test_the_key_is_made_once_for_the_reconciler_alone(tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path)
    made = await directories.key()
    assert stat.S_IMODE((tmp_path / "sealing.key").stat().st_mode) == 0o600
    sealed = made.public.seal("a", owner="u", name="A")
    assert (await HostDirectories(tmp_path).key()).open(sealed, owner="u", name="A") == "a"
    assert await directories.claimed() == set(), "it is nobody's home"


async def test_a_key_that_others_may_read_stops_the_start_with_a_line(tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path)
    await directories.key()
    (tmp_path / "sealing.key").chmod(0o644)
    with pytest.raises(SettingsError, match=r"sealing\.key in HOST_DATA_DIR=\S+ may be read .*chmod 600"):
        await directories.key()


async def test_a_claim_with_the_most_that_anybody_may_fill_in_is_read_again(tmp_path: Path) -> None:
    longest = InputValue(sealed="x" * SEALED_CHARS_MAX, set_at=datetime(2026, 1, 1, tzinfo=UTC))
    written = claim().model_copy(update={"values": {f"A{n}": longest for n in range(INPUTS_COUNT_MAX)}})
    directories = HostDirectories(tmp_path)
    await directories.record(written)
    assert await directories.claims() == [written]
