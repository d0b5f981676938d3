"""What people are shown of a seat, by its conditions: phase, sentence, progress, and what they may press."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.pages.view import STEPS, Mark, phase_of, progress_of, seat_view, sentence_of, waiting_view
from gateway.routes.match import RouteSet
from gateway.routes.seat import Seat
from gateway.use import Ledger
from reconciler.core.conditions import _PROGRESS
from state.kinds.resource import Condition, ConditionType, Metadata, Truth
from state.kinds.template import Access, Route
from state.kinds.user_container import (
    OVER_DISK_LIMIT,
    EndpointStatus,
    Power,
    UserContainer,
    UserContainerSpec,
    UserContainerStatus,
)
from state.kinds.user_inputs import INPUT_MISSING

NOW = datetime(2026, 11, 26, tzinfo=UTC)
HOME = "abcdefghijklmnopqrstuvwx23"
ENDPOINT = EndpointStatus(host="127.0.0.1", port=8000, incarnation="i-1")


def condition(of: ConditionType, reason: str, message: str = "", truth: Truth = Truth.TRUE) -> Condition:
    return Condition(type=of, status=truth, reason=reason, message=message, since=NOW)


def progressing(reason: str) -> Condition:
    return condition(ConditionType.PROGRESSING, reason, "so it is said")


def unready(reason: str, message: str = "") -> Condition:
    return condition(ConditionType.READY, reason, message, Truth.FALSE)


def seat(*conditions: Condition, power: Power = Power.AUTO, is_deleted: bool = False, **status: Any) -> Seat:
    metadata = Metadata(name="ann", uid="u1", deleted_at=NOW if is_deleted else None)
    spec = UserContainerSpec(user="github:1", template="demo", power=power)
    seen = UserContainerStatus(**{"home": HOME, "conditions": conditions, **status})
    return Seat(UserContainer(metadata=metadata, spec=spec, status=seen), Ledger())


def shown(of: Seat, *routes: Route) -> Any:
    return seat_view(of, RouteSet(routes), "https://gw.example", has_inputs=False)


def marks(of: Seat) -> str:
    """One letter a step: done, now, ahead."""
    progress = progress_of(of)
    assert progress is not None
    assert progress.done == sum(step.mark is Mark.DONE for step in progress.steps)
    assert [step.name for step in progress.steps] == list(STEPS)
    return "".join(step.mark[0] for step in progress.steps)


@pytest.mark.parametrize(
    ("reason", "ready", "expected"),
    [
        ("Removing", "NotRunning", "aaaaa"),
        ("Waking", "Asleep", "aaaaa"),
        ("Claiming", "NotRunning", "naaaa"),
        ("FetchingImage", "NotRunning", "dnaaa"),
        ("Placing", "NotRunning", "ddnaa"),
        ("Creating", "NotRunning", "ddnaa"),
        ("Starting", "NotRunning", "dddna"),
        ("Starting", "Starting", "ddddn"),
        ("Starting", "NoAnswerYet", "ddddn"),
        ("Routing", "Starting", "ddddn"),
    ],
)
def test_progress_goes_step_by_step(reason: str, ready: str, expected: str) -> None:
    assert marks(seat(progressing(reason), unready(ready))) == expected


@pytest.mark.parametrize("status", [{"asleep_since": NOW}, {"endpoint": ENDPOINT}], ids=["asleep", "served"])
def test_whose_data_takes_too_much_reads_how_to_go_on(status: dict[str, Any]) -> None:
    said = "its data takes more than 8 MiB; free some of it"
    of = seat(condition(ConditionType.DEGRADED, OVER_DISK_LIMIT, said), **status)
    assert sentence_of(of) == "Its data takes more than 8 MiB; free some of it."
    assert phase_of(of)[0] in ("Asleep", "Ready")


def test_every_reason_of_the_reconciler_on_the_way_to_a_container_has_its_step() -> None:
    reasons = {reason for reason, _ in _PROGRESS.values()}
    unseen = {reason for reason in reasons if progress_of(seat(progressing(reason))) is None}
    assert unseen == {"Tombstoning", "FallingAsleep"}, "which end one"


@pytest.mark.parametrize(
    "settled",
    [
        seat(progressing("FetchingImage"), endpoint=ENDPOINT),
        seat(progressing("Removing"), is_deleted=True),
        seat(progressing("Removing"), power=Power.STOPPED),
        seat(progressing("Removing"), asleep_since=NOW),
        seat(progressing("Starting"), condition(ConditionType.DEGRADED, "CrashLoop")),
        seat(condition(ConditionType.PROGRESSING, "Settled", truth=Truth.FALSE)),
        seat(progressing("DestructionFrozen")),
        seat(),
    ],
    ids=["ready", "deleted", "stopped", "asleep", "in trouble", "settled", "held back", "unknown"],
)
def test_nothing_progresses_that_is_not_on_its_way(settled: Seat) -> None:
    assert progress_of(settled) is None


@pytest.mark.parametrize(
    ("of", "phase", "words"),
    [
        (seat(endpoint=ENDPOINT), ("Ready", "good"), "takes requests"),
        (seat(is_deleted=True, asleep_since=NOW), ("Being deleted", "quiet"), "put aside"),
        (seat(power=Power.STOPPED), ("Stopped", "quiet"), "only they can start it"),
        (seat(asleep_since=NOW), ("Asleep", "quiet"), "The next call wakes it"),
        (seat(unready(INPUT_MISSING, "Key is wanting")), ("Needs a value", "busy"), "Key is wanting"),
        (seat(condition(ConditionType.DEGRADED, "Odd", "so")), ("In trouble", "bad"), "Odd: so"),
        (seat(progressing("Creating")), ("Starting", "busy"), "Creating: so it is said"),
        (seat(), ("Starting", "busy"), "Nothing is known of it yet."),
    ],
)
def test_a_phase_has_its_tone_and_its_words(of: Seat, phase: tuple[str, str], words: str) -> None:
    assert phase_of(of) == phase
    assert words in sentence_of(of)


@pytest.mark.parametrize(
    ("of", "may_restart", "may_sleep"),
    [
        (seat(endpoint=ENDPOINT), True, True),
        (seat(endpoint=ENDPOINT, power=Power.RUNNING), True, False),
        (seat(progressing("Creating")), True, False),
        (seat(asleep_since=NOW), False, False),
        (seat(power=Power.STOPPED), False, False),
        (seat(is_deleted=True), False, False),
        (seat(unready(INPUT_MISSING)), False, False),
    ],
    ids=["up", "kept running", "starting", "asleep", "stopped", "deleted", "a value is wanting"],
)
def test_only_what_would_be_done_can_be_asked_for(of: Seat, may_restart: bool, may_sleep: bool) -> None:
    view = shown(of)
    assert (view.may_restart, view.may_sleep) == (may_restart, may_sleep)


def test_pages_are_what_its_owner_may_open_each_once() -> None:
    routes = (
        Route(path="/mcp", match="prefix", protocol="mcp"),
        Route(path="/zebra"),
        Route(path="/", match="exact"),
        Route(path="/zebra", match="exact"),
        Route(path="/dpage", access=Access.LINK),
        Route(path="/static", access=Access.ANY),
    )
    assert shown(seat(), *routes).pages == ("/", "/zebra")
    assert shown(seat(asleep_since=NOW), *routes).pages == ("/", "/zebra"), "opening it wakes it"
    nowhere = (seat(home=""), seat(power=Power.STOPPED), seat(is_deleted=True), seat(unready(INPUT_MISSING)))
    for of in nowhere:
        assert shown(of, *routes).pages == (), "nobody would answer"


def test_whoever_waits_sees_how_far_it_is() -> None:
    waited = waiting_view(seat(progressing("Creating"), unready("NotRunning")))
    assert (waited.phase, waited.done) == ("Starting", 2)
    woken = waiting_view(seat(asleep_since=NOW))
    assert (woken.phase, woken.done) == ("Asleep", None)
    assert "is being woken" in woken.sentence


def test_a_wanting_value_is_told_while_the_old_container_serves_on() -> None:
    told = condition(ConditionType.DEGRADED, INPUT_MISSING, "Key is wanting")
    view = shown(seat(told, endpoint=ENDPOINT))
    assert (view.phase, view.wants) == ("Ready", "Key is wanting")
    assert shown(seat(told, is_deleted=True)).wants == ""
