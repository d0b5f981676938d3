"""Rebuilds from ``claim.json`` files what the store forgot: all of it, or what an old backup does not know.

A claim stays on disk exactly as long as its Home is on record, so one without a Home was forgotten, and its
owner's data would be nobody's. An old backup may have forgotten more: destruction stays frozen while
containers carry newer labels. Next: :mod:`reconciler.controllers.report`.
"""

from dataclasses import dataclass

import structlog

from reconciler.loop.actuator import ACTOR
from reconciler.loop.directories import Claim, Directories
from state.kinds.home import Home, HomeSpec, HomeStatus, owner_key
from state.kinds.report import Reconciler, ReconcilerSpec
from state.kinds.resource import Metadata
from state.kinds.user_container import DATA_FINALIZER, UserContainer, UserContainerSpec, seat_key
from state.kinds.user_inputs import UserInputs, UserInputsSpec
from state.store.port import Store, Tx, remove

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lost:
    """Claims whose Homes the store does not know; and whether they are all there is, as for a new store."""

    claims: tuple[Claim, ...]
    is_everything: bool


async def lost_claims(store: Store, directories: Directories) -> Lost:
    """What the disk knows and the store does not. Raises TransientError, StoreError."""
    homes, reports = await store.read(lambda tx: (tx.list(Home), tx.list(Reconciler)))
    known = {home.name for home in homes}
    # Whoever led put that on record. A store without Homes that was led before may still be an old backup.
    is_new = not known and not reports
    claimed = await directories.claimed()
    if claimed <= known:
        return Lost((), is_everything=is_new)
    missing = [claim for claim in await directories.claims() if claim.home not in known]
    missing.sort(key=lambda claim: claim.tombstoned_at is not None)  # who lives comes before who is gone
    # A claim that cannot be read is somebody's: what it stands for may not look like nobody's.
    return Lost(tuple(missing), is_everything=is_new and len(missing) == len(claimed))


async def recover_claims(store: Store, lost: Lost, *, project: str, epoch: int, epoch_min: int) -> None:
    """Give Homes back to their owners. With ``epoch_min``, no label found is newer than the store then.

    Raises Fenced when another reconciler leads by now.
    """

    def rebuild(tx: Tx) -> int:
        tx.fence(epoch)
        if epoch_min:
            _raise_epoch(tx, project, epoch_min)
        living = {one.uid for one in tx.list(UserContainer)}
        return sum(_rebuild(tx, claim, living) for claim in lost.claims)

    count = await store.transact(rebuild, actor=ACTOR)
    _log.warning("claims.rebuilt", homes=count, why="the disk knew them, the store did not")


def _raise_epoch(tx: Tx, project: str, epoch_min: int) -> None:
    spec = ReconcilerSpec(project=project, epoch_min=epoch_min)
    reconciler = tx.get(Reconciler, project)
    if reconciler is None:
        tx.create(Reconciler(metadata=Metadata(name=project), spec=spec))
    else:
        tx.update_spec(reconciler.replaced(spec=spec))


def _rebuild(tx: Tx, claim: Claim, living: set[str]) -> bool:
    """One Home with its owner, unless something on record stands against it.

    ``living`` are the uids of user containers that were on record before.
    """
    if tx.get(Home, claim.home) is not None:
        return False  # somebody else led meanwhile, and did it
    has_another = tx.by_unique_key(Home, owner_key(claim.owner.uid)) is not None
    if claim.tombstoned_at is not None:
        tx.create(_put_aside(claim, is_owned=not has_another and claim.owner.uid not in living))
        return True
    seats = _who_sits_there(tx, claim)
    others = {one.name: one for one in seats if one.uid != claim.owner.uid}
    if has_another or not all(_is_the_same(tx, one, claim) for one in others.values()):
        _log.warning("claim.unrestored", home=claim.home, why="somebody new has the seat, or another home")
        return False
    for one in others.values():
        remove(tx, one)
    if len(others) == len({one.name for one in seats}):
        tx.create(_user_container(claim))
    tx.create(_home(claim))
    _give_values_back(tx, claim)
    return True


def _give_values_back(tx: Tx, claim: Claim) -> None:
    """What the owner filled in, unless the store knows it: sealed for the uid that they have again."""
    inputs = tx.get(UserInputs, claim.owner.user_container)
    if inputs is not None and inputs.spec.user_container == claim.owner.uid:
        return
    if inputs is not None:
        tx.delete(inputs)  # of whoever gave way just now
    spec = UserInputsSpec(user_container=claim.owner.uid, values=claim.values)
    if claim.values:
        tx.create(UserInputs(metadata=Metadata(name=claim.owner.user_container), spec=spec))


def _is_the_same(tx: Tx, seat: UserContainer, claim: Claim) -> bool:
    """Whether ``seat`` is the owner's own, made anew just now, because the store did not know them."""
    owner, spec = claim.owner, seat.spec
    has_the_seat = seat.name == owner.user_container and spec.user == owner.user
    has_home = tx.by_unique_key(Home, owner_key(seat.uid)) is not None
    return has_the_seat and spec.template == claim.template and not has_home and not seat.metadata.is_deleted


def _who_sits_there(tx: Tx, claim: Claim) -> list[UserContainer]:
    """User containers of the owner's name, or of the same user and template."""
    by_name = tx.get(UserContainer, claim.owner.user_container)
    by_seat = tx.by_unique_key(UserContainer, seat_key(claim.owner.user, claim.template))
    return [one for one in (by_name, by_seat) if one is not None]


def _put_aside(claim: Claim, *, is_owned: bool) -> Home:
    """Data whose owner is gone. If the owner is there again, it is nobody's until its time is over."""
    status = HomeStatus(tombstoned_at=claim.tombstoned_at, retain_until=claim.retain_until)
    home = _home(claim).replaced(status=status)
    return home if is_owned else home.replaced(spec=home.spec.model_copy(update={"owner": None}))


def _user_container(claim: Claim) -> UserContainer:
    owner = claim.owner
    return UserContainer(
        metadata=Metadata(name=owner.user_container, uid=owner.uid, finalizers=(DATA_FINALIZER,)),
        spec=UserContainerSpec(
            user=owner.user, template=claim.template, power=claim.power, overrides=claim.overrides
        ),
    )


def _home(claim: Claim) -> Home:
    spec = HomeSpec(template=claim.template, owner=claim.owner, one_time=claim.one_time)
    return Home(metadata=Metadata(name=claim.home), spec=spec)
