"""One-time users: those of an App that keeps nothing of them. They end some time after their last use.

Use is what gateways flush every few seconds while it lasts, so an end is never planned under a request. After
an outage of the store, when the lead is taken anew, they are given the time to do so first. Where the clock
was set, nobody can tell when they were used: their time begins anew.
What an operator declared in a file ends only there. Next: :mod:`reconciler.core.plan_end`.
"""

from datetime import datetime, timedelta

from reconciler.core.world import World
from state.kinds.app import END_AFTER_S_MIN


def is_one_time(world: World) -> bool:
    """Whether the user's App keeps nothing of its users. Without the App, nobody can say: they are kept."""
    is_declared = world.user_container.metadata.managed_by != "api"
    return world.app is not None and not world.app.spec.persistent and not is_declared


def ends_at(world: World) -> datetime | None:
    """When a one-time user is to end if they are not used until then; None for everybody else."""
    created_at = world.user_container.metadata.created_at
    if world.app is None or created_at is None or not is_one_time(world):
        return None
    used_at = world.demand.spec.last_activity_at if world.demand is not None else None
    due = max(created_at, used_at or created_at) + timedelta(seconds=world.app.spec.end_after)
    if world.watched_since is not None:
        due = max(due, world.watched_since + timedelta(seconds=END_AFTER_S_MIN))
    if world.clock_set_at is not None:
        due = max(due, world.clock_set_at + timedelta(seconds=world.app.spec.end_after))
    return due
