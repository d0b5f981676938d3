"""The fence's report: read whole or not at all, and only from whose word it is."""

import os
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
