"""Sleep and waking, one pass at a time: who asked for what, in which order, and what stands against it."""

import pytest

from reconciler.core.actions import Answer, Sleep, Wake
from reconciler.core.container import ContainerState
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from state.kinds.incarnation import IncarnationState
from state.kinds.request import Outcome, Verb
from state.kinds.user_container import Power
from tests.reconciler.core.worlds import NOW, OTHER_HASH, Scene, alive, in_words, ours, shown

INTENDED, CREATED, REMOVING = IncarnationState.INTENDED, IncarnationState.CREATED, IncarnationState.REMOVING
SLEEP, WAKE, RESTART = Verb.SLEEP, Verb.WAKE, Verb.RESTART
ASLEEP = Scene().seated().asleep()
FROZEN = {"destruction_frozen": "the store looks old"}
FOREIGN = shown(identity=None)

FALLING_ASLEEP = {
    "who asks for it is put to sleep": (alive().asked(SLEEP), "Sleep"),
    "who has no home yet is, too": (Scene().asked(SLEEP), "Sleep"),
    "whose container is just being made is, too": (Scene().recorded(INTENDED).asked(SLEEP), "Sleep"),
    "whose container keeps dying is, too": (
        Scene().seated().told(restart_after=NOW, restart_count=5).asked(SLEEP),
        "Sleep",
    ),
    "whose template is missing is, too": (Scene().seated().untemplated().asked(SLEEP), "Sleep"),
    "whose container an operator wants up is refused": (
        alive().powered(Power.RUNNING).asked(SLEEP),
        "Answer",
    ),
    "whose container is stopped is refused": (
        Scene().seated().powered(Power.STOPPED).asked(SLEEP),
        "Answer",
    ),
    "while nothing may be removed sleep waits": (
        alive().asked(SLEEP).but(**FROZEN),
        "blocked: DestructionFrozen",
    ),
    "while nothing may be removed and sleep waits, nobody is sent to what has ended": (
        Scene().recorded().routed().showing(ContainerState.EXITED).asked(SLEEP).but(**FROZEN),
        "Unroute(Ended)",
    ),
    "while nothing may be removed and sleep waits, what has ended is started again": (
        Scene().recorded().showing(ContainerState.EXITED).asked(SLEEP).but(**FROZEN),
        "Start",
    ),
    "while nothing may be removed and a restart waits, too": (
        Scene().recorded().showing(ContainerState.EXITED).asked(RESTART).but(**FROZEN),
        "Start",
    ),
    "while nothing may be removed who has no container is put to sleep": (
        Scene().seated().asked(SLEEP).but(**FROZEN),
        "Sleep",
    ),
    "while the engine is silent sleep waits": (alive().asked(SLEEP).blind(), "blocked: EngineUnknown"),
    "sleep waits for a removal that is under way": (
        Scene().recorded(REMOVING).showing().asked(SLEEP),
        "Remove",
    ),
    "a deletion goes before sleep": (alive().deleted().asked(SLEEP), "Retire(Deleted)"),
}

ASLEEP_BY_NOW = {
    "what runs is retired": (alive().asleep(), "Retire(Slept)"),
    "what was only intended is, too": (Scene().recorded(INTENDED).asleep(), "Retire(Slept)"),
    "what was never started is, too": (
        Scene().recorded(CREATED).showing(ContainerState.CREATED).asleep(),
        "Retire(Slept)",
    ),
    "what ended by itself is, too": (
        Scene().recorded().showing(ContainerState.EXITED).asleep(),
        "Retire(Slept)",
    ),
    "what is on no record is removed": (
        ASLEEP.beside(shown(identity=ours(OTHER_HASH))),
        "Remove",
    ),
    "what is retired is removed": (Scene().recorded(REMOVING).showing().asleep(), "Remove"),
    "what is gone leaves its address in quarantine": (Scene().recorded(REMOVING).asleep(), "Quarantine"),
    "an address is freed": (ASLEEP.resting(), "Release"),
    "with nothing left there is nothing to do": (ASLEEP, "nothing"),
    "somebody else's container under the name is left alone": (ASLEEP.beside(FOREIGN), "nothing"),
    "an edit wakes nobody": (ASLEEP.overriding(env={"A": "1"}), "nothing"),
    "a template that is gone is no matter": (ASLEEP.untemplated(), "nothing"),
    "an image that is gone is no matter": (ASLEEP.imaged(), "nothing"),
    "nothing is removed while nothing may be": (alive().asleep().but(**FROZEN), "blocked: DestructionFrozen"),
    "to be put to sleep again is answered": (ASLEEP.asked(SLEEP), "Answer"),
    "who is stopped meanwhile stays so": (ASLEEP.powered(Power.STOPPED), "nothing"),
    "who is deleted meanwhile is": (ASLEEP.deleted(), "Tombstone"),
}

WAKING = {
    "who is to wake is woken": (ASLEEP.asked(WAKE), "Wake"),
    "a restart wakes, too": (ASLEEP.asked(RESTART), "Wake"),
    "an operator's word wakes": (ASLEEP.powered(Power.RUNNING), "Wake"),
    "waking waits for a removal that is under way": (
        Scene().recorded(REMOVING).showing().asleep().asked(WAKE),
        "Remove",
    ),
    "who was not retired yet keeps the container": (alive().asleep().asked(WAKE), "Wake"),
    "what is stopped is not woken": (ASLEEP.powered(Power.STOPPED).asked(WAKE), "Answer"),
    "who is awake is told so": (alive().asked(WAKE), "Answer"),
    "the newest counts: asleep": (ASLEEP.asked(WAKE, seconds_ago=2).asked(SLEEP), "Answer"),
    "the newest counts: woken": (ASLEEP.asked(SLEEP, seconds_ago=2).asked(WAKE), "Wake"),
    "the newest counts: put to sleep": (alive().asked(RESTART, seconds_ago=2).asked(SLEEP), "Sleep"),
    "the newest counts: restarted": (
        alive().asked(SLEEP, seconds_ago=2).asked(RESTART),
        "Retire(Restarted)",
    ),
}
ALL = {
    **{f"to sleep: {name}": told for name, told in FALLING_ASLEEP.items()},
    **{f"asleep: {name}": told for name, told in ASLEEP_BY_NOW.items()},
    **{f"to wake: {name}": told for name, told in WAKING.items()},
}


@pytest.mark.parametrize(("scene", "words"), ALL.values(), ids=ALL.keys())
def test_a_pass_does_one_thing(scene: Scene, words: str) -> None:
    decided = plan(scene.world)
    assert in_words(decided) == words
    assert check(scene.world, decided.action) == ()


def test_a_sleep_answers_everybody_who_asked() -> None:
    scene = alive().asked(RESTART, seconds_ago=2).asked(SLEEP)
    assert plan(scene.world).action == Sleep(("r-0", "r-1"))


def test_waking_answers_everybody_who_asked() -> None:
    assert plan(ASLEEP.asked(SLEEP, seconds_ago=2).asked(WAKE).world).action == Wake(("r-0", "r-1"))


def test_a_wake_that_came_too_late_lets_nobody_fall_asleep_afterwards() -> None:
    """The sleep that it overtook is answered first, and the wake once it is alone."""
    both = alive().asked(SLEEP, seconds_ago=2).asked(WAKE)
    assert plan(both.world).action == Answer("r-0", Outcome.DONE, "it is awake")
    assert plan(alive().asked(WAKE).world).action == Answer("r-0", Outcome.DONE, "it is awake")


def test_a_refusal_of_sleep_names_the_mend() -> None:
    action = plan(alive().powered(Power.RUNNING).asked(SLEEP).world).action
    assert action == Answer("r-0", Outcome.REFUSED, "power is Running; set it to Auto first")
