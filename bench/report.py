"""docs/performance.md and its pictures: what the last full run measured, for a reader."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl

from bench.results import Sample, Verdict, table

mpl.use("svg")
import matplotlib.pyplot as plt

_TEXT = """# Performance

Measured by `./run bench` on {when} ({machine}). Ratios are medians of interleaved runs on the same work;
what each figure is, and how it was taken, stands in the last column. Raw samples are in
`bench/samples.json`, the verdicts in `bench/results.json`, the goals in `bench/goals.toml`.

{table}

![how far each goal was reached](performance.svg)
"""


def write(docs: Path, verdicts: Sequence[Verdict], _samples: Sequence[Sample]) -> None:
    docs.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, Python {platform.python_version()}, Linux {platform.release()}"
    text = _TEXT.format(when=datetime.now(UTC).date(), machine=machine, table=table(verdicts))
    (docs / "performance.md").write_text(text)
    _picture(docs / "performance.svg", verdicts)


def _picture(path: Path, verdicts: Sequence[Verdict]) -> None:
    """A bar for every goal: green reached, red missed, grey not measured."""
    shown = list(reversed(verdicts))
    colours = ["#9aa0a6" if one.value is None else "#1a7f37" if one.met else "#c62828" for one in shown]
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(shown) + 1))
    axes.barh([one.name for one in shown], [1] * len(shown), color=colours, height=0.6)
    for row, one in enumerate(shown):
        value = "not measured" if one.value is None else f"{one.value:.3g} {one.unit}"
        axes.text(0.02, row, f"{value}   (wanted {one.goal})", va="center", color="white", fontsize=9)
    axes.set_xticks([])
    axes.set_frame_on(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
