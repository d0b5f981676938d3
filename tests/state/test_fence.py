"""The fence's report: read whole or not at all, and only from whose word it is."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from state.fence import (
    REPORT_BYTES_MAX,
    FenceReport,
    FenceUnreadable,
    boot_id,
    read_fence,
    remove_fence,
    write_fence,
)

REPORT = FenceReport(
    boot_id="a-boot",
    subnets=(IPv4Network("10.211.7.0/24"), IPv4Network("10.211.8.0/24")),
    trusted=(IPv4Address("10.211.7.2"),),
    kept=True,
    written_at=datetime(2026, 3, 1, tzinfo=UTC),
)
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fence.json"


def test_what_was_written_is_read_by_anybody(path: Path) -> None:
    write_fence(path, REPORT)
    write_fence(path, REPORT)
    assert read_fence(path) == REPORT
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["fence.json"], "no draft is left"


@dataclass(frozen=True)
class Taken:
    """A folder of somebody who plants a link wherever a draft is about to be made."""

    path: Path
    victim: Path

    def plant(self, name: str) -> None:
        (self.path.parent / name).symlink_to(self.victim)


@pytest.fixture
def taken(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    victim = tmp_path_factory.mktemp("roots") / "precious"
    victim.write_text("untouched")
    victim.chmod(0o600)
    return Taken(path, victim)


def is_untouched(victim: Path) -> bool:
    return victim.read_text() == "untouched" and victim.stat().st_mode & 0o777 == 0o600


def test_a_link_whose_name_could_be_foreseen_is_not_written_through(taken: Taken) -> None:
    taken.plant(f".fence.json.{os.getpid()}")
    write_fence(taken.path, REPORT)
    assert read_fence(taken.path) == REPORT
    assert is_untouched(taken.victim)


def test_even_a_link_at_the_drafts_own_name_is_not(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: "known")
    taken.plant(".fence.json.known")
    with pytest.raises(FileExistsError):
        write_fence(taken.path, REPORT)
    assert is_untouched(taken.victim)
    assert read_fence(taken.path) is None


def test_a_name_that_is_swapped_meanwhile_changes_nothing_elsewhere(
    taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the draft's making and its mode."""
    real_fchmod = os.fchmod

    def swap(descriptor: int, mode: int) -> None:
        [draft] = taken.path.parent.glob(".fence.json.*")
        draft.unlink()
        draft.symlink_to(taken.victim)
        real_fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", swap)
    write_fence(taken.path, REPORT)
    assert is_untouched(taken.victim)


def test_where_it_cannot_be_written_no_draft_is_left(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_fence(path, REPORT)
    assert [one.name for one in path.parent.iterdir()] == ["fence.json"]


def test_where_there_is_none_there_is_none(path: Path) -> None:
    assert read_fence(path) is None
    remove_fence(path)
    write_fence(path, REPORT)
    remove_fence(path)
    assert read_fence(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "no JSON",
        REPORT.model_dump_json().replace("10.211.7.0/24", "everywhere"),
        REPORT.model_dump_json().replace("+00:00", "").replace("Z", ""),
        " " * REPORT_BYTES_MAX + REPORT.model_dump_json(),
    ],
    ids=["nothing", "no fields", "no JSON", "no subnet", "a time without a zone", "too much"],
)
def test_what_is_no_report_is_no_fence_either(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(FenceUnreadable, match="is no fence's report"):
        read_fence(path)


def test_who_only_may_write_to_the_folder_has_no_say(path: Path) -> None:
    assert os.geteuid() == 0, "giving a file away takes root"
    write_fence(path, REPORT)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(FenceUnreadable, match=f"belongs to user {NOBODY}"):
        read_fence(path)


def test_a_pipe_or_a_folder_in_its_place_is_waited_for_by_nobody(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(FenceUnreadable):
        read_fence(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FenceUnreadable, match="cannot be read"):
        read_fence(path)


def test_a_boot_has_a_name() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
