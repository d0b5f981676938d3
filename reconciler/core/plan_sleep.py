"""The plan of sleep: who is put to sleep, who is woken, and what is left to do for whoever sleeps.

Nobody falls asleep by themselves: a Request puts them to sleep, or data that takes more than it may. Another
Request wakes them, or an operator who sets power to Running; beyond the ceiling only the former. The sleep is
a mark in the status. A lost store forgets it, and whoever slept gets their container back: nothing is lost by
that.
Next: :mod:`reconciler.core.invariants`.
"""

from reconciler.core.actions import Answer, Sleep, Wake
from reconciler.core.disk import grace_until, is_over_disk, is_too_much, sleeps_on
from reconciler.core.plan_end import plan_absence
from reconciler.core.planned import Plan
from reconciler.core.world import World, is_running
from state.kinds.request import Outcome, Verb
from state.kinds.user_container import Power


def plan_sleep(world: World) -> Plan | None:
    """What sleep has to do with this pass; None for whoever is awake and stays so.

    Of several requests the newest counts, and those that it overtook are answered with it.
    """
    names = tuple(one.name for one in world.requests)
    verb = world.requests[-1].spec.verb if names else None
    stays_up = world.user_container.spec.power is Power.RUNNING
    if world.is_asleep:
        if verb in (Verb.WAKE, Verb.RESTART) or (stays_up and not sleeps_on(world)):
            return Plan(Wake(names))
        if verb is Verb.SLEEP:
            return Plan(Answer(names[0], Outcome.DONE, "it sleeps"))
        return plan_absence(world, "OverDiskLimit" if is_over_disk(world) else "Slept")
    match verb:
        case Verb.SLEEP if stays_up:
            return Plan(Answer(names[-1], Outcome.REFUSED, "power is Running; set it to Auto first"))
        case Verb.SLEEP:
            return Plan(Sleep(names))
        case Verb.WAKE:
            overtaken = (one.name for one in world.requests if one.spec.verb is not Verb.RESTART)
            return Plan(Answer(next(overtaken), Outcome.DONE, "it is awake"))
        case Verb.RESTART:
            return None
        case None:
            return _plan_over_disk(world)


def _plan_over_disk(world: World) -> Plan | None:
    """Who runs with more data than they may have, and has had their time to free some, sleeps."""
    if not is_too_much(world) or not is_running(world.container()):
        return None
    until = grace_until(world)
    return Plan(Sleep(())) if until is None or until <= world.now else None
