"""docs/performance.md and its pictures: what the last full run measured, for a reader.

Next: :mod:`bench.pictures`.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench import pictures
from bench.pictures import Measured
from bench.results import Sample, Verdict, load_goals, table

_TEXT = """# Performance

Measured by `./run bench` ({machine}). Ratios are medians of interleaved runs on the same work; what each
figure is, and how it was taken, stands in the last column. Raw samples are in `bench/samples.json`, the
verdicts in `bench/results.json`, the goals in `bench/goals.toml`.

{table}
"""

_SECTION = """
## {heading}

![{heading}]({file})

{caption}
"""

_GOALS = """\
Each dot is one raw value divided by its goal, so that the line at 1 is the goal, whatever the unit. The
thick mark is the median, which is what is judged. The green side of a row is the good one: to the right where
more is better, to the left where less is, and a band where a range is wanted (divided by its middle). A row
without green is only recorded, or its goal is 0, by which nothing can be divided."""

_PROXY = """\
The same MCP call from the same load generator: without a proxy, and through each of three. A bar is the
median of the bursts and a dot is one burst; the figure at the end is the median."""

_READY = """\
Seconds until the first answer. The bare engine creates and starts the same image, on its default network and
on one made for a project, as ours is. A new user's first answer comes through the gateway; healed is the next
answer after `docker rm -f` of the user's container. A dot is one round, the first on top; the thick mark and
the figure at the end are the median."""

_EDIT = """\
What one changed UserContainer costs until everything is settled again, with few and with many users. A dot is
one edit, the first on top; the thick mark and the figure at the end are the median. If the cost does not
depend on the number of users, both marks are at the same place."""


@dataclass(frozen=True, slots=True)
class Section:
    """One picture, and what is said of it."""

    file: str
    heading: str
    caption: str
    draw: Callable[[Measured], Figure | None]


SECTIONS = (
    Section("performance.svg", "Every goal", _GOALS, pictures.goals),
    Section("performance-proxy.svg", "Requests per second", _PROXY, pictures.proxy),
    Section("performance-ready.svg", "Time to ready and to healed", _READY, pictures.ready),
    Section("performance-edit.svg", "CPU of one edit", _EDIT, pictures.edit),
)


def write(docs: Path, verdicts: Sequence[Verdict], samples: Sequence[Sample]) -> None:
    docs.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, Python {platform.python_version()}, Linux {platform.release()}"
    text = _TEXT.format(machine=machine, table=table(verdicts))
    measured = Measured(load_goals(), verdicts, {one.name: one for one in samples})
    sections = [_section(docs, section, measured) for section in SECTIONS]
    (docs / "performance.md").write_text(text + "".join(sections))


def _section(docs: Path, section: Section, measured: Measured) -> str:
    """Draw the picture; what is said of it, or nothing where its data are missing."""
    path = docs / section.file
    figure = section.draw(measured)
    if figure is None:
        path.unlink(missing_ok=True)  # one of an earlier run would pass for this one's
        return ""
    pictures.save(figure, path)
    return _SECTION.format(heading=section.heading, file=section.file, caption=section.caption)
