"""``auth.negatives``: how many numbers of the list of negative tests have tests, all of which pass.

Runs pytest beside this process, with this module as its plugin: it counts, by the mark that a test carries,
and writes what it counted to a file. A number counts if at least one test carries it and each that does
passes; one that is skipped does not pass.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from bench.results import Sample

NUMBERS = range(1, 78)
RUN_S_MAX = 600.0
LAST_WORDS_CHARS_MAX = 2000
WRITTEN_TO = "BENCH_NEGATIVES"
ROOT = Path(__file__).parents[1]


def measured(quick: bool) -> Sample:
    """``quick``: collected, not run."""
    try:
        collected = _collected(run=not quick)
    except subprocess.TimeoutExpired:  # a finding: what else was measured stays
        return Sample("auth.negatives", (0.0,), f"the tests took longer than {RUN_S_MAX:g} s")
    except RuntimeError as error:
        return Sample("auth.negatives", (0.0,), f"{error}, and counted nothing")
    counted = sorted(number for number in NUMBERS if _passes(collected.get(number, [])))
    missing = sorted(set(NUMBERS) - set(counted))
    tests = sum(map(len, collected.values()))
    how = f"{'collected, not run' if quick else 'each run'}; {tests} tests carry a number"
    if missing:
        how += f"; missing or failing: {', '.join(f'N{number}' for number in missing)}"
    return Sample("auth.negatives", (float(len(counted)),), how)


def _passes(outcomes: list[str]) -> bool:
    return bool(outcomes) and set(outcomes) == {"passed"}


def _collected(*, run: bool) -> dict[int, list[str]]:
    """By number, what became of each test that carries it. Raises RuntimeError where pytest itself failed."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "negatives.json"
        words = [sys.executable, "-m", "pytest", "-q", "-m", "negative", "-p", __name__]
        words += ["-p", "no:cacheprovider", *([] if run else ["--collect-only"])]
        environment = {**os.environ, WRITTEN_TO: str(written), "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_S_MAX, check=False
        )
        if not written.exists() or ended.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            print(ended.stdout[-LAST_WORDS_CHARS_MAX:], file=sys.stderr)
            raise RuntimeError(f"pytest ended with {ended.returncode}")
        return {int(number): outcomes for number, outcomes in json.loads(written.read_text()).items()}


# Within pytest, which calls these by their names


class _Count:
    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = {}  # by test
        self.outcomes: dict[str, str] = {}


_COUNT = _Count()


def pytest_collection_finish(session: Any) -> None:
    for item in session.items:
        numbers = [mark.args[0] for mark in item.iter_markers("negative")]
        if numbers:
            _COUNT.numbers[item.nodeid] = numbers
            _COUNT.outcomes[item.nodeid] = "passed" if session.config.option.collectonly else "not run"


def pytest_runtest_logreport(report: Any) -> None:
    """Of set-up, call and tear-down the worst counts."""
    known = _COUNT.outcomes.get(report.nodeid)
    if known is not None and (report.outcome != "passed" or (report.when == "call" and known == "not run")):
        _COUNT.outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    by_number: dict[int, list[str]] = defaultdict(list)
    for test, numbers in _COUNT.numbers.items():
        for number in numbers:
            by_number[number].append(_COUNT.outcomes[test])
    Path(os.environ[WRITTEN_TO]).write_text(json.dumps(by_number))
