"""`./run test`: what fails side by side is tried once more alone, and what fails then has failed."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcpgw.bootstrap import testing


class Runs:
    """Stands in for pytest: ends with these codes in turn, having left so many failures on record."""

    def __init__(self, record: Path, *ends: tuple[int, int]) -> None:
        self._record = record
        self._ends = list(ends)
        self.words: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str]) -> int:
        self.words.append(words)
        code, failures = self._ends.pop(0)
        self._record.write_text(json.dumps({f"tests/test_x.py::test_{n}": True for n in range(failures)}))
        return code


@pytest.mark.parametrize(
    ("ends", "code", "runs"),
    [
        ([(0, 0)], 0, 1),
        ([(1, 2), (0, 0)], 0, 2),
        ([(1, 2), (1, 1)], 1, 2),
        ([(1, testing.AGAIN_MAX + 1)], 1, 1),
        ([(2, 1)], 2, 1),
    ],
    ids=["all pass", "two pass alone", "one fails again", "too many", "pytest itself broke"],
)
def test_what_fails_is_tried_once_more_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: list[tuple[int, int]], code: int, runs: int
) -> None:
    pytest_runs = Runs(tmp_path / "lastfailed", *ends)
    monkeypatch.setattr(testing, "LAST_FAILED", tmp_path / "lastfailed")
    monkeypatch.setattr(testing, "_pytest", pytest_runs)
    monkeypatch.setattr(testing, "prepare", lambda: None)
    monkeypatch.setattr(testing, "check", lambda: True)
    assert testing.test(()) == code
    assert len(pytest_runs.words) == runs
    assert all("--last-failed" in words for words in pytest_runs.words[1:])
