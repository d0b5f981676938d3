"""Which containers of ours belong to nobody, and whether anything may be removed at all.

A container is an orphan only if labels prove it ours and the store, which must not look older than the
world, knows no owner for it. Functions return reasons. Next: :mod:`reconciler.controllers.orphans`.
"""

from collections.abc import Iterable

from reconciler.core.container import ObservedContainer
from state.kinds.home import Home

NAMES_SHOWN_MAX = 5
EPOCH_LEAP_MAX = 1 << 32  # from a label to the next: more starts and thaws than anybody lives to see
NOT_COMPARED = "the store was not compared with the world yet"


def world_epoch(containers: Iterable[ObservedContainer]) -> int:
    """The newest epoch that any container carries."""
    return max((one.identity.epoch for one in containers if one.identity is not None), default=0)


def freeze_reason(newest: int, epoch: int, ahead: Iterable[str] = ()) -> str:
    """Why nothing may be removed: the world is newer than the store. "" if it is not.

    ``newest`` is the world's epoch, ``ahead`` names containers that :func:`is_ahead` of the store.
    """
    names = ", ".join(sorted(ahead)[:NAMES_SHOWN_MAX])
    if newest <= epoch and not names:
        return ""
    seen = (
        f"containers carry epoch {newest}, the store is at {epoch}" if newest > epoch else f"it lacks {names}"
    )
    return (
        f"the store looks restored from an old backup ({seen}): put the newer state.db back "
        "with both processes stopped, or run `mcpgw thaw` to let this one rule"
    )


def leap_reason(newest: int, epoch: int) -> str:
    """Why nothing may be made in this ``epoch``, "" if it may: labels that carry it outlive the store.

    One near the end of what a store can hold would leave no epoch to any later one.
    """
    if epoch - newest <= EPOCH_LEAP_MAX:
        return ""
    return (
        f"the store is at epoch {epoch}, and no container is past {newest}: it is damaged, or somebody "
        "tampered with it; put back a backup of it, or move it away: users are found by their data"
    )


def is_ahead(container: ObservedContainer, home: Home | None, *, claimed_on_disk: bool) -> bool:
    """Whether ``container`` proves that the store forgot something: a later incarnation, or a claim.

    A claim stays on disk exactly as long as its Home is on record.
    """
    identity = container.identity
    if identity is None:
        return False
    return claimed_on_disk if home is None else identity.number > home.status.last_incarnation


def orphan_reason(container: ObservedContainer, home: Home | None, owners: frozenset[str] | set[str]) -> str:
    """Why ``container`` belongs to nobody; "" if it may belong to somebody.

    ``home`` is the store's Home of its label, ``owners`` the uids of all UserContainers.
    """
    identity = container.identity
    if identity is None:
        return ""
    if identity.user_container in owners:
        return ""  # its UserContainer's own plan sees it
    if home is None:
        return f"no Home {identity.home} is on record"
    if home.status.tombstoned_at is not None:
        return f"Home {identity.home} is tombstoned"
    return f"the owner of Home {identity.home} is gone"
