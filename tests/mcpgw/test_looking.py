"""Verbs that look make nothing: a store that root made would keep its owner out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mcpgw.cli import main
from state.settings import EXIT_SETTINGS


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = structlog.get_config()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    yield tmp_path
    structlog.configure(**before)


@pytest.mark.parametrize("words", ["status", "explain alice", "users", "approve github:1", "thaw"])
def test_where_nothing_was_started_a_verb_says_so(
    empty: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert main(words.split()) == EXIT_SETTINGS
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"mcpgw: STATE_DIR={empty}/state holds no store yet; the first start makes it\n"
    assert list(empty.iterdir()) == []
