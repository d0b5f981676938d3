"""Rebuilds claims from ``claim.json`` files when the store knows no Home at all: the store was lost.

A store that knows some Homes but not all was restored from an old backup; then nothing is guessed, and
destruction stays frozen while containers carry newer labels. Next: :mod:`reconciler.operator`.
"""

import structlog

from reconciler.loop.actuator import ACTOR
from reconciler.loop.directories import Claim, Directories
from state.kinds.home import Home, HomeSpec
from state.kinds.resource import Metadata
from state.kinds.user_container import DATA_FINALIZER, UserContainer, UserContainerSpec
from state.store.port import Store, Tx

_log = structlog.get_logger(__name__)


async def recover_claims(store: Store, directories: Directories) -> int:
    """Give Homes back to their owners if the store has none; the number given back."""
    claims = await directories.claims()
    if not claims:
        return 0

    def rebuild(tx: Tx) -> int:
        if tx.list(Home):
            return 0
        return sum(_rebuild(tx, claim) for claim in claims)

    count = await store.transact(rebuild, actor=ACTOR)
    if count:
        _log.warning("claims.rebuilt", homes=count, why="the store knew no Home, the disk does")
    return count


def _rebuild(tx: Tx, claim: Claim) -> bool:
    owner = claim.owner
    taken = tx.get(UserContainer, owner.user_container)
    if taken is not None:
        _log.warning("claim.unrestored", home=claim.home, why="its user container was made anew already")
        return False
    tx.create(
        UserContainer(
            metadata=Metadata(name=owner.user_container, uid=owner.uid, finalizers=(DATA_FINALIZER,)),
            spec=UserContainerSpec(user=owner.user, template=claim.template),
        )
    )
    tx.create(Home(metadata=Metadata(name=claim.home), spec=HomeSpec(template=claim.template, owner=owner)))
    return True
