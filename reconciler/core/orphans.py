"""Which containers of ours belong to nobody, and whether anything may be removed at all.

A container is an orphan only if labels prove it ours and the store, which must not look older than the
world, knows no owner for it. Functions return reasons. Next: :mod:`reconciler.controllers.orphans`.
"""

from collections.abc import Iterable

from reconciler.core.container import ObservedContainer
from state.kinds.home import Home


def freeze_reason(containers: Iterable[ObservedContainer], epoch: int) -> str:
    """Why nothing may be removed: the world carries labels newer than the store. "" if it does not."""
    newest = max((one.identity.epoch for one in containers if one.identity is not None), default=0)
    if newest <= epoch:
        return ""
    return (
        f"containers carry epoch {newest}, the store is at {epoch}: it looks restored from an old backup; "
        "put the newer state.db back, or run `mcpgw thaw` to let this one rule"
    )


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
