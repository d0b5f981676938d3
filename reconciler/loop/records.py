"""Every store transaction that the loop makes, each as one function of a transaction.

They are the report and the intent of an action, never the decision: what they write was planned. Each is
fenced, so that an older reconciler's write fails; each returns the objects it wrote, for the cache.
Next: :mod:`reconciler.loop.actuator`, which calls the engine in between.
"""

from datetime import datetime
from typing import TypeVar

from reconciler.core.actions import Adopt, Answer, Intend, Retire, Route, Sleep, Tombstone, Wake
from reconciler.core.container import ContainerSpec, ContainerState, ObservedContainer
from reconciler.core.target import as_record
from state.kinds.demand import Demand
from state.kinds.home import Home, HomeSpec, Owner
from state.kinds.incarnation import (
    Incarnation,
    IncarnationNames,
    IncarnationSpec,
    IncarnationState,
    IncarnationStatus,
)
from state.kinds.log_view import LogView
from state.kinds.request import Outcome, Request
from state.kinds.resource import MESSAGE_CHARS_MAX, Condition, Metadata, Resource
from state.kinds.user_container import (
    LOG_TAIL_CHARS_MAX,
    EndpointStatus,
    FilesStatus,
    Termination,
    UserContainer,
    UserContainerStatus,
)
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs
from state.store.errors import Conflict, NotFound
from state.store.port import Tx, remove

R = TypeVar("R", bound=Resource)
Written = tuple[Resource, ...]
_FORGIVEN = {"failed_spec_hash": "", "restart_count": 0, "restart_after": None}


def claim_home(tx: Tx, owner: UserContainer, hostname: str, *, one_time: bool) -> Written:
    home = tx.create(
        Home(
            metadata=Metadata(name=hostname),
            spec=HomeSpec(
                template=owner.spec.template,
                owner=Owner(user_container=owner.name, uid=owner.uid, user=owner.spec.user),
                one_time=one_time,
            ),
        )
    )
    return (home, _user_status(tx, owner, home=hostname))


def intend(
    tx: Tx, owner: UserContainer, action: Intend, *, address: str, project: str, epoch: int
) -> Written:
    """The incarnation's record, its number and its address, before the engine hears of it."""
    for record in action.supersedes:
        tx.delete(_current(tx, record))
    home = _current(tx, action.home)
    number = home.status.last_incarnation + 1
    incarnation = tx.create(
        Incarnation(
            metadata=Metadata(name=IncarnationNames.record(home.name, number)),
            spec=IncarnationSpec(
                home=home.name,
                user_container=owner.uid,
                number=number,
                spec_hash=action.wanted.hash,
                container_name=IncarnationNames.container(project, home.name),
                address=address,
                port=action.wanted.spec.port,
                epoch=epoch,
            ),
            status=IncarnationStatus(),
        )
    )
    status = home.status.model_copy(update={"last_incarnation": number, "address": address})
    home = tx.update_status(home.replaced(status=status))
    user = _user_status(
        tx, owner, incarnation=incarnation.name, ready_at=None, spec_hash=action.wanted.hash, home=home.name
    )
    return (home, incarnation, user)


def adopt(tx: Tx, owner: UserContainer, action: Adopt, *, address: str, port: int) -> Written:
    """Record what the engine shows to be ours already."""
    container, home = action.container, _current(tx, action.home)
    identity = container.identity
    assert identity is not None, "only what labels prove ours is adopted"
    started = container.state is not ContainerState.CREATED
    if action.incarnation is not None:
        return (
            mark(
                tx, action.incarnation, container.id, started_at=_started_at(tx, container, started=started)
            ),
        )
    number = identity.number
    _supersede(tx, home, address)
    incarnation = tx.create(
        Incarnation(
            metadata=Metadata(name=IncarnationNames.record(home.name, number)),
            spec=IncarnationSpec(
                home=home.name,
                user_container=owner.uid,
                number=number,
                spec_hash=identity.spec_hash,
                container_name=container.name,
                address=address,
                port=port,
                epoch=identity.epoch,
            ),
            status=IncarnationStatus(
                state=IncarnationState.STARTED if started else IncarnationState.CREATED,
                container_id=container.id,
                started_at=_started_at(tx, container, started=started),
            ),
        )
    )
    last = max(home.status.last_incarnation, number)
    home = tx.update_status(
        home.replaced(status=home.status.model_copy(update={"last_incarnation": last, "address": address}))
    )
    user = _user_status(
        tx, owner, incarnation=incarnation.name, spec_hash=identity.spec_hash, home=home.name, ready_at=None
    )
    return (home, incarnation, user)


def _supersede(tx: Tx, home: Home, address: str) -> None:
    """An earlier incarnation of the same Home leaves its address to the one that is found at it."""
    holder = tx.by_unique_key(Incarnation, f"address:{address}") if address else None
    is_resting = holder is not None and holder.status.state is IncarnationState.QUARANTINED
    if holder is not None and is_resting and holder.spec.home == home.name:
        tx.delete(holder)


def mark(tx: Tx, incarnation: Incarnation, container_id: str, *, started_at: datetime | None) -> Incarnation:
    """The engine has it: Created, or Started once ``started_at`` is known."""
    current = _current(tx, incarnation)
    state = IncarnationState.STARTED if started_at is not None else IncarnationState.CREATED
    assert state.order >= current.status.state.order, "states only move forward"
    update = {"state": state, "container_id": container_id, "started_at": started_at}
    return tx.update_status(current.replaced(status=current.status.model_copy(update=update)))


def route(tx: Tx, owner: UserContainer, action: Route, good: ContainerSpec | None) -> Written:
    """Let requests through; remember a spec that got ready, for a rollback."""
    endpoint = EndpointStatus(host=action.host, port=action.port, incarnation=action.incarnation.name)
    user = _user_status(tx, owner, endpoint=endpoint, ready_at=tx.now)
    home = tx.get(Home, action.incarnation.spec.home)
    if good is None or home is None or home.status.last_good == as_record(good):
        return (user,)
    status = home.status.model_copy(update={"last_good": as_record(good)})
    return (user, tx.update_status(home.replaced(status=status)))


def files(tx: Tx, owner: UserContainer, hash_: str, headers_generation: int, trouble: str) -> Written:
    """What was made of the template's files, or why one could not be."""
    status = FilesStatus(
        hash=hash_,
        headers_generation=headers_generation,
        written_at=tx.now,
        trouble=trouble[:MESSAGE_CHARS_MAX],
    )
    return (_user_status(tx, owner, files=status),)


def unroute(tx: Tx, owner: UserContainer) -> Written:
    return (_user_status(tx, owner, endpoint=None),)


def retire(tx: Tx, owner: UserContainer, action: Retire, log_tail: str) -> Written:
    """Take requests away and put on record that it shall go: one transaction, no way back."""
    container = action.container
    update: dict[str, object] = {
        "endpoint": None,
        "last_termination": Termination(
            reason=action.reason,
            exit_code=container.exit_code if container is not None else None,
            at=tx.now,
            log_tail=log_tail[-LOG_TAIL_CHARS_MAX:],
        ),
    }
    if action.pace is not None:
        update |= {"restart_count": action.pace.restart_count, "restart_after": action.pace.restart_after}
    if action.failed_spec_hash is not None:
        update |= {"failed_spec_hash": action.failed_spec_hash, "restart_count": 0, "restart_after": None}
    if action.answers:  # a person asked: forget what held us back
        update |= _FORGIVEN
    user = _user_status(tx, owner, **update)
    current = _current(tx, action.incarnation)
    status = current.status.model_copy(
        update={"state": IncarnationState.REMOVING, "unrouted_revision": tx.revision}
    )
    gone = tx.update_status(current.replaced(status=status))
    return (user, gone, *_answered(tx, action.answers, "restarted"))


def quarantine(tx: Tx, incarnation: Incarnation) -> Written:
    current = _current(tx, incarnation)
    status = current.status.model_copy(update={"state": IncarnationState.QUARANTINED})
    return (tx.update_status(current.replaced(status=status)),)


def release(tx: Tx, incarnation: Incarnation) -> None:
    tx.delete(_current(tx, incarnation))


def sleep(tx: Tx, owner: UserContainer, action: Sleep) -> Written:
    """A person asked for it: what held us back is forgotten, and does not meet them when they wake."""
    user = _user_status(tx, owner, asleep_since=tx.now, **_FORGIVEN)
    return (user, *_answered(tx, action.answers, "put to sleep"))


def wake(tx: Tx, owner: UserContainer, action: Wake) -> Written:
    return (_user_status(tx, owner, asleep_since=None), *_answered(tx, action.answers, "woken"))


def answer(tx: Tx, action: Answer) -> Written:
    answered = _answer(tx, action.request, action.outcome, action.message)
    return (answered,) if answered is not None else ()


def end(tx: Tx, owner: UserContainer, used_at: datetime | None) -> Written:
    """Delete the user, unless they were used since. Raises Conflict."""
    current, demand = _current(tx, owner), tx.get(Demand, owner.name)
    if (demand.spec.last_activity_at if demand is not None else None) != used_at:
        raise Conflict(f"UserContainer {owner.name} was used meanwhile")
    tx.delete(current)
    return (_current(tx, owner),) if current.metadata.finalizers else ()


def tombstone(tx: Tx, action: Tombstone) -> Written:
    """Nothing runs here again: the last good spec, and with it what the user filled in, is forgotten."""
    home = _current(tx, action.home)
    update = {"tombstoned_at": tx.now, "retain_until": action.retain_until, "last_good": None}
    status = home.status.model_copy(update=update)
    return (tx.update_status(home.replaced(status=status)),)


def forget(tx: Tx, owner: UserContainer) -> None:
    """The record goes, with whatever finalizers it has: ours is done, and nobody else has any."""
    current = _current(tx, owner)
    for kind in (Demand, LogView, UserInputs, UserHeaders):
        named_alike = tx.get(kind, owner.name)
        if named_alike is not None:
            tx.delete(named_alike)
    for request in tx.list(Request):
        if request.spec.user_container == owner.name:
            tx.delete(request)
    remove(tx, current)


def report(tx: Tx, owner: UserContainer, conditions: tuple[Condition, ...], generation: int) -> Written:
    return (_user_status(tx, owner, conditions=conditions, observed_generation=generation),)


def _user_status(tx: Tx, owner: UserContainer, **update: object) -> UserContainer:
    """The status has one writer, which the fence proves to be us: the newest object takes the update."""
    current = _current(tx, owner)
    status: UserContainerStatus = current.status.model_copy(update=update)
    return tx.update_status(current.replaced(status=status))


def _current(tx: Tx, obj: R) -> R:
    """The object as it stands now. Raises NotFound where another one took its name."""
    current = tx.get(type(obj), obj.name)
    if current is None or current.uid != obj.uid:
        raise NotFound(f"{obj.kind} {obj.name} went away meanwhile")
    return current


def _answered(tx: Tx, names: tuple[str, ...], message: str) -> Written:
    answered = (_answer(tx, name, Outcome.DONE, message) for name in names)
    return tuple(one for one in answered if one is not None)


def _answer(tx: Tx, name: str, outcome: Outcome, message: str) -> Request | None:
    request = tx.get(Request, name)
    if request is None:
        return None
    status = request.status.model_copy(update={"outcome": outcome, "message": message, "finished_at": tx.now})
    return tx.update_status(request.replaced(status=status))


def _started_at(tx: Tx, container: ObservedContainer, *, started: bool) -> datetime | None:
    if not started:
        return None
    # The engine's clock may be ahead of ours; what it started cannot have started in our future.
    return min(container.started_at or tx.now, tx.now)
