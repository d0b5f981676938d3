"""Disk: whether a Home takes more than it may, and whether anything may still be made at all. Pure.

Data counts, and what the container wrote elsewhere. Whoever takes too much is put to sleep: their data is
kept, the rest goes with the container. As only a container that runs can free data, waking one gives it a
while for that: once for each sleep of this kind, so that ending by itself wins no time.
Whom an operator keeps up is only told of the template's limit; the ceiling's holds for them as for all.
Next: :mod:`reconciler.core.plan_sleep`.
"""

from datetime import datetime, timedelta

from reconciler.core.ceiling import Ceiling, disk_bytes_max, violations
from reconciler.core.effective import Wanted
from reconciler.core.world import DiskUse, World, is_running
from state.kinds.user_container import OVER_DISK_LIMIT, Power

GRACE = timedelta(minutes=10)  # from the start of a container that was put to sleep for its data
MIB = 1 << 20


def is_over_disk(world: World) -> bool:
    """Whether the last measurement found more than the limit, or more than can be counted."""
    return _takes_more_than(world, _limit(world.wanted, world.site.ceiling))


def is_too_much(world: World) -> bool:
    """Whether that is too much to be up with, whoever wants it up."""
    return _takes_more_than(world, _borne_bytes_max(world))


def sleeps_on(world: World) -> bool:
    """Whether power alone wakes nobody: while it is too much, or was when last counted."""
    if not _borne_bytes_max(world):
        return False
    return is_too_much(world) or (was_over_disk(world) and world.disk is None)


def writing_container(world: World) -> str:
    """The id of the container that may write outside of its mounts; "" where there is none.

    One that runs as is wanted by now has the root that is wanted; of another one nobody knows.
    """
    container, wanted = world.container(), world.wanted
    if container is None or container.identity is None or not is_running(container):
        return ""
    if wanted is not None and container.identity.spec_hash == wanted.hash:
        return "" if wanted.spec.read_only_root else container.id
    return container.id


def counted_bytes_max(world: World) -> int:
    """How far what a Home takes is counted: for as long as something follows from it; 0: not at all."""
    limit = _limit(world.wanted, world.site.ceiling)
    is_kept_up = world.user_container.spec.power is Power.RUNNING
    return max(limit, world.site.ceiling.disk_bytes_max) if is_kept_up else limit


def grace_until(world: World) -> datetime | None:
    """Until when a container whose data takes too much may go on; None: not at all.

    Where what it wrote elsewhere is too much by itself, its end alone frees that. Where the disk itself is
    about to be full, nobody gets any time; nor does a start yet to come, which only somebody else can have
    written.
    """
    last, record = world.user_container.status.last_termination, world.incarnation
    if last is None or last.reason != OVER_DISK_LIMIT or record is None or world.disk_full:
        return None
    if world.disk is not None and _is_more_than(world.disk.of_layer, _borne_bytes_max(world)):
        return None
    started_at = record.status.started_at
    return started_at + GRACE if started_at is not None and started_at <= world.now else None


def over_disk_message(world: World) -> str:
    """In words for the user: what is wrong, what comes of it, and how to go on."""
    is_put_to_sleep = world.is_asleep or is_too_much(world)
    limit = _borne_bytes_max(world) if is_put_to_sleep else _limit(world.wanted, world.site.ceiling)
    took, raised = _took(world, limit)
    if not is_put_to_sleep:
        return f"{took}; free some of it{raised}"
    until = grace_until(world)
    if not world.is_asleep and until is not None and until > world.now:
        return f"{took}; free some before {until:%H:%M:%S UTC}, or it is put to sleep"
    asleep = f"{took}, so it sleeps; its data is kept, and nothing else; "
    if world.wanted is None or violations(world.wanted.spec, world.site.ceiling):
        return f"{asleep}no call wakes it before its template is there and within the ceiling{raised}"
    if world.disk is not None and not _is_more_than(world.disk.of_data, _borne_bytes_max(world)):
        return f"{asleep}the next call wakes it{raised}"
    minutes = GRACE // timedelta(minutes=1)
    wakes = f"the next call wakes it, for {minutes} minutes if its data is too much, to free some"
    return f"{asleep}{wakes}{raised}"


def _took(world: World, limit: int) -> tuple[str, str]:
    """What takes too much, and what helps besides freeing some."""
    disk = world.disk
    setting = "CEILING_DISK" if limit == world.site.ceiling.disk_bytes_max else "resources.disk"
    raised = f", or have {setting} raised"
    if disk is not None and disk.beyond:
        return f"its data has {disk.beyond}", ""  # which no limit of bytes helps
    if disk is not None and disk.layer_beyond:
        return f"what its container wrote outside of its data has {disk.layer_beyond}", ""
    if disk is None or not _is_more_than(disk, limit):  # it went with the container, or was not counted anew
        return "it took more of the disk than it might, or than can be counted", raised
    if _is_more_than(disk.of_data, limit):
        return f"its data takes more than {limit // MIB} MiB", raised
    return f"its data, and what its container wrote elsewhere, take more than {limit // MIB} MiB", raised


def was_over_disk(world: World) -> bool:
    """Whether whoever sleeps does so for what they took of the disk."""
    last = world.user_container.status.last_termination
    return world.is_asleep and last is not None and last.reason == OVER_DISK_LIMIT


def _borne_bytes_max(world: World) -> int:
    """With more than that nobody is up; 0: whatever it is."""
    ceiling = world.site.ceiling
    is_kept_up = world.user_container.spec.power is Power.RUNNING
    return ceiling.disk_bytes_max if is_kept_up else _limit(world.wanted, ceiling)


def _limit(wanted: Wanted | None, ceiling: Ceiling) -> int:
    return disk_bytes_max(wanted.spec if wanted is not None else None, ceiling)


def _takes_more_than(world: World, bytes_max: int) -> bool:
    return world.disk is not None and _is_more_than(world.disk, bytes_max)


def _is_more_than(use: DiskUse, bytes_max: int) -> bool:
    return bytes_max > 0 and (use.bytes_used > bytes_max or use.is_countless)
