"""From raw samples to verdicts: the median of each goal's samples against goals.toml.

A goal without a sample is unmet, not missing. Raw samples are kept beside the verdicts.
"""

import json
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

GOALS_FILE = Path(__file__).with_name("goals.toml")


@dataclass(frozen=True, slots=True)
class Sample:
    """One goal's measurements of one run: ``values`` in the goal's unit, ``how`` for a reader.

    ``beside`` is what was measured beside the goal's own values, by name with its unit in the name, raw, in
    the order of the rounds. ``measured_on`` is the day, as 2026-11-26.
    """

    name: str
    values: tuple[float, ...]
    how: str
    beside: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    measured_on: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    value: float | None
    unit: str
    goal: str
    met: bool
    how: str
    measured_on: str = ""


def load_goals(path: Path = GOALS_FILE) -> list[dict[str, Any]]:
    goals: list[dict[str, Any]] = tomllib.loads(path.read_text())["goal"]
    return goals


def judge(goals: Sequence[dict[str, Any]], samples: Sequence[Sample]) -> list[Verdict]:
    """One verdict for every goal. Raises ValueError for a sample that no goal asks for."""
    by_name = {sample.name: sample for sample in samples}
    unknown = by_name.keys() - {goal["name"] for goal in goals}
    if unknown:
        raise ValueError(f"samples without a goal in goals.toml: {', '.join(sorted(unknown))}")
    return [_verdict(goal, by_name.get(goal["name"])) for goal in goals]


def _verdict(goal: dict[str, Any], sample: Sample | None) -> Verdict:
    is_recorded = goal["op"] == "record"
    wanted = f"recorded, aim {goal['goal']}" if is_recorded else f"{goal['op']} {goal['goal']}"
    if sample is None or not sample.values:
        return Verdict(goal["name"], None, goal["unit"], wanted, met=False, how="not measured in this run")
    value = statistics.median(sample.values)
    return Verdict(
        goal["name"],
        value,
        goal["unit"],
        wanted,
        met=is_met(goal, value),
        how=sample.how,
        measured_on=sample.measured_on,
    )


def is_met(goal: dict[str, Any], value: float) -> bool:
    target = goal["goal"]
    match goal["op"]:
        case ">=":
            return bool(value >= target)
        case "<=":
            return bool(value <= target)
        case "<":
            return bool(value < target)
        case "within":
            return bool(target[0] <= value <= target[1])
        case "record":
            return True
        case other:
            raise ValueError(f"goals.toml: {goal['name']} has op {other!r}; use >=, <=, <, within or record")


def kept(folder: Path, measured: Sequence[Sample]) -> list[Sample]:
    """What was measured now, and of all else what ``samples.json`` has from before."""
    now = {sample.name for sample in measured}
    before = [Sample(**one) for one in json.loads((folder / "samples.json").read_text())]
    return [*(sample for sample in before if sample.name not in now), *measured]


def write(folder: Path, verdicts: Sequence[Verdict], samples: Sequence[Sample]) -> None:
    """``results.json`` (the verdicts) and ``samples.json`` (what they were computed from)."""
    (folder / "results.json").write_text(json.dumps([asdict(one) for one in verdicts], indent=1) + "\n")
    (folder / "samples.json").write_text(json.dumps([asdict(one) for one in samples], indent=1) + "\n")


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a Markdown table."""
    lines = ["| goal | measured | unit | wanted | met | on | how |", "|---|---|---|---|---|---|---|"]
    for one in verdicts:
        value = "—" if one.value is None else f"{one.value:.3g}"
        met = "yes" if one.met else "**no**"
        lines.append(
            f"| `{one.name}` | {value} | {one.unit} | {one.goal} | {met} | {one.measured_on} | {one.how} |"
        )
    return "\n".join(lines)
