"""Disk: whether a Home's data takes more than it may, and whether anything may still be made at all. Pure.

Whoever takes too much is put to sleep, with their data kept. As only a container that runs can free space,
waking one gives it a while for that: once for each sleep of this kind, so that ending by itself wins no time.
Next: :mod:`reconciler.core.plan_sleep`.
"""

from datetime import datetime, timedelta

from reconciler.core.ceiling import disk_bytes_max
from reconciler.core.world import World
from state.kinds.user_container import OVER_DISK_LIMIT, Power

GRACE = timedelta(minutes=10)  # from the start of a container that was put to sleep for its data
MIB = 1 << 20


def is_over_disk(world: World) -> bool:
    """Whether the last measurement found more than the limit, or more than can be counted."""
    limit = disk_limit(world)
    if not limit or world.disk is None:
        return False
    return world.disk.bytes_used > limit or bool(world.disk.beyond)


def disk_limit(world: World) -> int:
    """Bytes that the Home's data may take; 0: no limit."""
    return disk_bytes_max(world.wanted.spec, world.site.ceiling) if world.wanted is not None else 0


def grace_until(world: World) -> datetime | None:
    """Until when a container that takes too much may go on; None: not at all.

    Where the disk itself is about to be full, nobody gets any.
    """
    last, record = world.user_container.status.last_termination, world.incarnation
    if last is None or last.reason != OVER_DISK_LIMIT or record is None or world.disk_full:
        return None
    return record.status.started_at + GRACE if record.status.started_at is not None else None


def over_disk_message(world: World) -> str:
    """In words for the user: what is wrong, what comes of it, and how to go on."""
    took = f"its data takes more than {disk_limit(world) // MIB} MiB"
    if world.disk is not None and world.disk.beyond:
        took = f"its data has {world.disk.beyond}"
    if world.user_container.spec.power is Power.RUNNING:
        return f"{took}; free some of it, or have resources.disk raised"
    until = grace_until(world)
    if world.is_asleep or until is None or until <= world.now:
        minutes = GRACE // timedelta(minutes=1)
        return (
            f"{took}, so it sleeps, and its data is kept; the next call wakes it for {minutes} minutes, to "
            "free some of it, or have resources.disk raised"
        )
    return f"{took}; free some before {until:%H:%M:%S UTC}, or it is put to sleep"


def was_over_disk(world: World) -> bool:
    """Whether whoever sleeps does so for their data."""
    last = world.user_container.status.last_termination
    return world.is_asleep and last is not None and last.reason == OVER_DISK_LIMIT
