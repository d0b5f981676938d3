"""`python -m bench [--quick] [--only NAME …]`: measure, judge, write results.json and docs/performance.md.

What a part alone measures takes the place of what it did before; all else stays, with the day of its own.

Exit code 0 when every part ran, also when a goal is missed: a missed figure is a finding, not a failure.
"""

import argparse
import importlib
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import report, results
from bench.quiet import quieten

PARTS = ("proxy", "auth", "reconcile", "engines", "neighbour", "idle", "compose")
ASKED_FOR = ("suite",)  # by --only: it takes longer than all others
HERE = Path(__file__).parent


def main(words: list[str]) -> int:
    options = _options(words)
    quieten()
    today = datetime.now(UTC).date().isoformat()
    samples: list[results.Sample] = []
    broken: list[str] = []
    began_at = time.monotonic()
    for part in options.only or PARTS:
        started_at = time.monotonic()
        print(f"bench: {part} …", flush=True)
        try:
            measured = importlib.import_module(f"bench.{part}").run(HERE, quick=options.quick)
        except Exception as error:
            broken.append(part)
            print(f"bench: {part} broke: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            samples += (replace(sample, measured_on=today) for sample in measured)
            for sample in measured:
                print(f"bench: {sample.name}: {statistics.median(sample.values):.3g}", flush=True)
        print(f"bench: {part} took {time.monotonic() - started_at:.0f} s", flush=True)
    took_s = time.monotonic() - began_at
    samples = [
        one
        for one in results.kept(HERE, samples)
        if options.only or one in samples or one.name.startswith(ASKED_FOR)
    ]
    verdicts = results.judge(results.load_goals(), samples)
    print(results.table(verdicts))
    if not options.quick:
        results.write(HERE, verdicts, samples)
        report.write(HERE.parent / "docs", verdicts, samples)
    print(f"bench: all took {took_s:.0f} s", flush=True)
    return 1 if broken else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run bench", description="Measure every goal of bench/goals.toml."
    )
    parser.add_argument("--quick", action="store_true", help="shorter, rougher, and nothing is written")
    choices = (*PARTS, *ASKED_FOR)
    parser.add_argument("--only", nargs="+", choices=choices, help="some parts alone")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
