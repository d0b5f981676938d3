"""The pictures of docs/performance.md: every raw value as a dot, with the median marked.

Each function draws one, or gives None where its data are missing. The same samples give the same bytes.
Next: :mod:`bench.results`, which judges what is drawn here.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.results import Sample, Verdict

MET, MISSED = "#1a7f37", "#c62828"
DOT, BAR, GOOD = "#3b6ea5", "#c5d5e6", "#dcefe0"
INK, NOTE, GRID = "#202427", "#6b7075", "#e3e5e8"
SPREAD = 0.25  # how far above and below its row the first and the last dot are
FRONTS = {
    "direct": "direct, no proxy",
    "nginx": "nginx",
    "gateway": "gateway",
    "chp": "configurable-http-proxy",
}
READY = {
    "bare engine": "bare engine",
    "bare engine, own network": "bare engine, on a\nnetwork of its own",
    "first answer": "first answer\nfor a new user",
    "healed": "healed",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, as the pictures need it."""

    goals: Sequence[dict[str, Any]]
    verdicts: Sequence[Verdict]
    samples: Mapping[str, Sample]

    def beside(self, name: str, unit: str) -> dict[str, tuple[float, ...]]:
        """What was measured beside a goal in the unit, by name without it; nothing if nothing was."""
        sample = self.samples.get(name)
        found = sample.beside.items() if sample is not None else ()
        ending = f" {unit}"
        return {one.removesuffix(ending): values for one, values in found if one.endswith(ending) and values}


def save(figure: Figure, path: Path) -> None:
    """Text stays text, small and searchable; the salt makes the names inside the same in every run."""
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


# --- every goal -------------------------------------------------------------------------------------


def goals(measured: Measured) -> Figure:
    """A row for every goal, in the order of goals.toml."""
    asked = measured.goals
    shares = [_shares(goal, measured.samples.get(goal["name"])) for goal in asked]
    low, high = _decades([0.5, 2.0, *(one for row in shares for one in row)])
    figure, (axes,) = _figure(1, 11, 0.44 * len(asked) + 1.7)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(asked) - 0.5, -0.5)
    axes.set_yticks(range(len(asked)), [goal["name"] for goal in asked])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlabel("measured value ÷ goal (no unit, logarithmic)")
    axes.axvline(1, color=INK, linewidth=1)
    for row, (goal, verdict, row_shares) in enumerate(zip(asked, measured.verdicts, shares, strict=True)):
        _good_side(axes, row, goal, (low, high))
        _dots(axes, row, row_shares, _colour(goal, verdict), _share(goal, verdict.value))
        _tell(axes, row, goal, verdict, _note(goal, measured.samples.get(goal["name"])), bool(row_shares))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _shares(goal: dict[str, Any], sample: Sample | None) -> list[float]:
    """The values over the goal, those that a logarithmic axis has a place for."""
    values = sample.values if sample is not None else ()
    return [share for share in (_share(goal, value) for value in values) if share is not None]


def _share(goal: dict[str, Any], value: float | None) -> float | None:
    middle = _middle(goal)
    return value / middle if value is not None and value > 0 and middle > 0 else None


def _middle(goal: dict[str, Any]) -> float:
    target = goal["goal"]
    return float(sum(target) / 2 if goal["op"] == "within" else target)


def _good_side(axes: Axes, row: int, goal: dict[str, Any], limits: tuple[float, float]) -> None:
    """Shade where values are as wanted, with a caret on the line that points there."""
    low, high = limits
    middle, marker = _middle(goal), ""
    match goal["op"]:
        case ">=":
            low, marker = 1.0, "CARETRIGHTBASE"
        case "<=" | "<":
            high, marker = 1.0, "CARETLEFTBASE"
        case "within":
            low, high = (edge / middle for edge in goal["goal"])
        case _:
            return  # only recorded
    if middle <= 0:
        return
    axes.broken_barh([(low, high - low)], (row - 0.42, 0.84), facecolor=GOOD, zorder=0)
    if marker:
        axes.plot([1], [row], marker=getattr(mpl.lines, marker), color=MET, markersize=6, zorder=1)


def _tell(axes: Axes, row: int, goal: dict[str, Any], verdict: Verdict, note: str, is_drawn: bool) -> None:
    """The figure at the end of the row, with the note below it, or in the row where nothing else is."""
    if verdict.value is None:
        _end_of_row(axes, row, "not measured in this run", MISSED)
        return
    met = "" if goal["op"] == "record" else ", met" if verdict.met else ", missed"
    text = f"{verdict.value:.3g} {verdict.unit}, {_wanted(goal)}{met}"
    _end_of_row(axes, row, f"{text}\n{note}" if note and is_drawn else text, INK if verdict.met else MISSED)
    if note and not is_drawn:
        axes.text(0.01, row, note, transform=axes.get_yaxis_transform(), va="center", color=NOTE)


def _note(goal: dict[str, Any], sample: Sample | None) -> str:
    """What has no place on a logarithmic axis, in words."""
    values = sample.values if sample is not None else ()
    undrawn = len(values) - len(_shares(goal, sample))
    if not undrawn:
        return ""
    if _middle(goal) == 0:
        return f"measured {statistics.median(values):g}; the goal is 0, by which nothing can be divided"
    return f"{undrawn} of {len(values)} values are 0 or less: not drawn"


def _colour(goal: dict[str, Any], verdict: Verdict) -> str:
    if goal["op"] == "record":
        return INK
    return MET if verdict.met else MISSED


def _wanted(goal: dict[str, Any]) -> str:
    match goal["op"]:
        case "record":
            return f"recorded, aim {goal['goal']:g}"
        case "within":
            return "wanted {:g} to {:g}".format(*goal["goal"])
        case op:
            return f"wanted {op.replace('>=', '≥').replace('<=', '≤')} {goal['goal']:g}"


def _legend() -> list[Line2D | Patch]:
    medians = {"median, goal met": MET, "goal missed": MISSED, "only recorded": INK}
    return [
        Line2D([], [], color=DOT, marker="o", markersize=4, alpha=0.7, linestyle="", label="one value"),
        *(
            Line2D([], [], color=colour, marker="|", markersize=12, mew=2.5, linestyle="", label=label)
            for label, colour in medians.items()
        ),
        Line2D([], [], color=INK, linewidth=1, label="the goal"),
        Patch(color=GOOD, label="the good side"),
    ]


# --- the parts --------------------------------------------------------------------------------------


def proxy(measured: Measured) -> Figure | None:
    """A panel for each number of connections: bars of medians, the single bursts as dots."""
    found = {count: measured.beside(f"proxy.vs_chp.c{count}", "req/s") for count in (32, 256)}
    panels = {count: _labelled(rates, FRONTS) for count, rates in found.items() if rates}
    if not panels:
        return None
    figure, all_axes = _figure(len(panels), 8, 1.7 * len(panels) + 0.7)
    for axes, (count, rates) in zip(all_axes, panels.items(), strict=True):
        medians = [statistics.median(values) for values in rates.values()]
        axes.barh(range(len(rates)), medians, height=0.8, color=BAR, zorder=1)
        _strips(axes, rates, "{:,.0f}")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(f"{count} connections", loc="left", fontsize=10)
    all_axes[-1].set_xlabel("requests per second (more is better)")
    return figure


def ready(measured: Measured) -> Figure | None:
    """A row of dots for each thing that was timed, a dot for each round."""
    seconds = _labelled(measured.beside("cold.vs_engine", "s"), READY)
    if not seconds:
        return None
    figure, (axes,) = _figure(1, 8, 0.6 * len(seconds) + 0.9)
    _strips(axes, seconds, "{:.2f} s")
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds (less is better)")
    return figure


def edit(measured: Measured) -> Figure | None:
    """A row of dots for each number of users, a dot for each edit."""
    spent = measured.beside("edit.cost_ratio", "CPU s")
    spent_ms = {name: [1000 * one for one in values if one > 0] for name, values in spent.items()}
    if not all(spent_ms.values()) or not spent_ms:
        return None
    figure, (axes,) = _figure(1, 8, 0.9 * len(spent_ms) + 0.9)
    axes.set_xscale("log")  # an edit during which the engine is listed costs many times the others
    _strips(axes, spent_ms, "{:.2f} ms")
    axes.set_xlim(*_decades(one for values in spent_ms.values() for one in values))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("milliseconds of CPU per edit (less is better, logarithmic)")
    return figure


def _labelled(found: Mapping[str, Sequence[float]], labels: Mapping[str, str]) -> dict[str, Sequence[float]]:
    """What was found, in the order and under the names of ``labels``."""
    return {label: found[name] for name, label in labels.items() if name in found}


# --- what all of them are made of -------------------------------------------------------------------


def _figure(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    all_axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for axes in all_axes:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, all_axes


def _strips(axes: Axes, named: Mapping[str, Sequence[float]], shown: str) -> None:
    """A row of dots for each name, the first on top, with its median at the end."""
    axes.set_ylim(len(named) - 0.5, -0.5)
    axes.set_yticks(range(len(named)), list(named))
    for row, values in enumerate(named.values()):
        median = statistics.median(values)
        _dots(axes, row, values, INK, median)
        _end_of_row(axes, row, shown.format(median), INK)


def _dots(axes: Axes, row: int, values: Sequence[float], colour: str, median: float | None) -> None:
    """In the order of the rounds from top to bottom, so that equal values do not hide each other."""
    steps = max(len(values) - 1, 1)
    heights = [
        row + SPREAD * (2 * number / steps - 1) if len(values) > 1 else row for number in range(len(values))
    ]
    axes.scatter(values, heights, s=12, color=DOT, alpha=0.6, linewidths=0, zorder=3)
    if median is not None:
        axes.plot([median, median], [row - 0.38, row + 0.38], color=colour, linewidth=2.5, zorder=2)


def _end_of_row(axes: Axes, row: int, text: str, colour: str) -> None:
    axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", color=colour)


def _decades(values: Iterable[float]) -> tuple[float, float]:
    """The powers of ten around the values."""
    exponents = [math.log10(one) for one in values]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    return 10.0**low, 10.0 ** max(high, low + 1)
