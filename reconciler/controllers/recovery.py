"""Rebuilds claims from ``claim.json`` files when the store knows no Home at all: the store was lost.

A store that knows some Homes but not all was restored from an old backup; then nothing is guessed, and
destruction stays frozen while containers carry newer labels. Next: :mod:`reconciler.controllers.report`.
"""

import structlog

from reconciler.loop.actuator import ACTOR
from reconciler.loop.directories import Claim, Directories
from state.kinds.home import Home, HomeSpec, HomeStatus
from state.kinds.report import Reconciler, ReconcilerSpec
from state.kinds.resource import Metadata
from state.kinds.user_container import DATA_FINALIZER, UserContainer, UserContainerSpec, seat_key
from state.store.port import Store, Tx

_log = structlog.get_logger(__name__)


async def lost_claims(store: Store, directories: Directories) -> list[Claim]:
    """The claims on disk, if the store knows no Home at all."""
    claims = await directories.claims()
    return claims if claims and not await store.read(lambda tx: tx.list(Home)) else []


async def recover_claims(
    store: Store, claims: list[Claim], *, project: str, epoch: int, epoch_min: int
) -> None:
    """Give Homes back to their owners, and put on record that no label found may be newer than the store.

    Raises Fenced when another reconciler leads by now.
    """

    def rebuild(tx: Tx) -> int:
        tx.fence(epoch)
        if tx.list(Home):
            return 0
        _raise_epoch(tx, project, epoch_min)
        return sum(_rebuild(tx, claim) for claim in claims)

    count = await store.transact(rebuild, actor=ACTOR)
    _log.warning("claims.rebuilt", homes=count, why="the store knew no Home, the disk does")


def _raise_epoch(tx: Tx, project: str, epoch_min: int) -> None:
    spec = ReconcilerSpec(project=project, epoch_min=epoch_min)
    reconciler = tx.get(Reconciler, project)
    if reconciler is None:
        tx.create(Reconciler(metadata=Metadata(name=project), spec=spec))
    else:
        tx.update_spec(reconciler.replaced(spec=spec))


def _rebuild(tx: Tx, claim: Claim) -> bool:
    """One Home; a tombstoned one without its owner, who is gone."""
    if claim.tombstoned_at is not None:
        status = HomeStatus(tombstoned_at=claim.tombstoned_at, retain_until=claim.retain_until)
        tx.create(_home(claim).replaced(status=status))
        return True
    owner = claim.owner
    is_taken = (
        tx.get(UserContainer, owner.user_container) is not None
        or tx.by_unique_key(UserContainer, seat_key(owner.user, claim.template)) is not None
    )
    if is_taken:
        _log.warning("claim.unrestored", home=claim.home, why="its user container was made anew already")
        return False
    tx.create(
        UserContainer(
            metadata=Metadata(name=owner.user_container, uid=owner.uid, finalizers=(DATA_FINALIZER,)),
            spec=UserContainerSpec(
                user=owner.user, template=claim.template, power=claim.power, overrides=claim.overrides
            ),
        )
    )
    tx.create(_home(claim))
    return True


def _home(claim: Claim) -> Home:
    return Home(metadata=Metadata(name=claim.home), spec=HomeSpec(template=claim.template, owner=claim.owner))
