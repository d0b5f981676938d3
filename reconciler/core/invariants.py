"""The independent judge of every plan: what must never be done, whatever the plan's reasons.

Written without looking at how the plan comes about: each check names one way in which an action can be
wrong, and reads the world for itself. A plan that breaks one is not carried out, and people are told.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_never

from reconciler.core.actions import (
    Action,
    Adopt,
    Answer,
    ClaimHome,
    Create,
    End,
    FetchImage,
    FileText,
    Forget,
    Intend,
    Quarantine,
    Release,
    Remove,
    Retire,
    Route,
    Sleep,
    Start,
    Tombstone,
    Unroute,
    Wake,
    WriteFiles,
)
from reconciler.core.ceiling import violations
from reconciler.core.container import ContainerSpec, ContainerState, ObservedContainer, spec_hash
from reconciler.core.effective import proxy_env
from reconciler.core.target import spec_of
from reconciler.core.world import World
from state.kinds.app import END_AFTER_S_MIN, app_of
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Verb
from state.kinds.template import Egress
from state.kinds.user_container import Power


def check(world: World, action: Action | None) -> tuple[str, ...]:
    """Every invariant that ``action`` would break in ``world``; empty if it may be carried out."""
    return () if action is None else tuple(_breaches(world, action))


def _breaches(world: World, action: Action) -> Iterator[str]:
    if world.engine.containers is None:
        yield "no plan is made on an engine that does not answer"
        return
    yield from _making(world, action)
    match action:
        case ClaimHome():
            yield from _claim(world)
        case FetchImage(wanted):
            yield from violations(wanted.spec, world.site.ceiling)
        case Intend(home, wanted, supersedes):
            yield from _birth(world, home)
            yield from violations(wanted.spec, world.site.ceiling)
            yield from _environment(world, wanted.spec)
            yield from _supersedes(home, supersedes)
        case Create(incarnation, spec, _):
            yield from _create(world, incarnation)
            yield from violations(spec, world.site.ceiling)
            yield from _environment(world, spec)
        case Start(incarnation, container_id):
            yield from _start(world, incarnation, container_id)
        case Adopt(home, container, _):
            yield from _adopt(world, home, container)
        case Route(incarnation, host, port):
            yield from _route(world, incarnation, host, port)
        case WriteFiles(home, files, _, _):
            yield from _write_files(world, home, files)
        case Retire(incarnation, reason, container):
            yield from _retire(world, incarnation, container)
            if reason in ("Slept", "OverDiskLimit") and not world.is_asleep:
                yield "nobody is put to sleep unasked"
        case Remove(_, container, behind_barrier):
            yield from _remove(world, container, behind_barrier=behind_barrier)
        case Quarantine(incarnation):
            yield from _quarantine(world, incarnation)
        case Release(incarnation):
            yield from _release(incarnation)
        case Sleep():
            yield from _sleep(world)
        case Wake():
            yield from _wake(world)
        case End():
            yield from _end(world)
        case Tombstone(home, retain_until):
            yield from _tombstone(world, home, retain_until)
        case Forget():
            yield from _forget(world)
        case Unroute() | Answer():
            return
        case _:
            assert_never(action)


def _making(world: World, action: Action) -> Iterator[str]:
    if world.not_isolated and isinstance(action, Intend | Create | Start):
        yield f"nothing is made or started outside of a fence: {world.not_isolated}"
    if world.disk_full and isinstance(action, Intend | Create):
        yield f"nothing is made while the disk is full: {world.disk_full}"


def _claim(world: World) -> Iterator[str]:
    if world.home is not None:
        yield "a user container claims one home, once"
    if world.user_container.metadata.is_deleted:
        yield "what is being deleted claims nothing"


def _birth(world: World, home: Home) -> Iterator[str]:
    if world.incarnation is not None:
        yield "at most one live incarnation per user container"
    if world.user_container.metadata.is_deleted:
        yield "what is being deleted gets no container"
    if world.is_asleep:
        yield "whoever sleeps gets no container before they are woken"
    if home.spec.owner is None or home.spec.owner.uid != world.user_container.uid:
        yield "a home serves its owner alone"
    if home.status.tombstoned_at is not None:
        yield "tombstoned data is attached to nobody"
    if any(_claims_owner(world, one) for one in world.engine.containers or ()):
        yield "at most one live container per user container"
    if world.capacity_left <= 0:
        yield "there are never more containers than the ceiling allows"


def _environment(world: World, spec: ContainerSpec) -> Iterator[str]:
    """Of what users filled in, nothing gets in under a name that the template does not leave to them; and
    the way out is the template's."""
    template, good = world.template, world.home.status.last_good if world.home is not None else None
    if good is not None and spec_of(good) == spec:
        return  # it was judged when it was made, by the template of that time
    declared = {one.name for one in template.spec.inputs} if template is not None else set()
    overrides = world.user_container.spec.overrides.env
    proxy = proxy_env(world.site.egress_proxy) if spec.egress is Egress.PROXY else {}
    operators = {**proxy, **(template.spec.env if template is not None else {}), **overrides}
    if template is not None and spec.egress is not template.spec.security.egress:
        yield "nobody has another way out than their template's"
    for name, value in spec.env:
        if operators.get(name) != value and (name in overrides or name not in declared):
            yield f"{name} is not of an operator's choosing, nor left to the user"
    for name, _ in spec.secrets:
        if name in overrides or name not in declared:
            yield f"{name} is not left to the user"


def _supersedes(home: Home, supersedes: tuple[Incarnation, ...]) -> Iterator[str]:
    for record in supersedes:
        if record.spec.home != home.name or record.status.state is not IncarnationState.QUARANTINED:
            yield "an address passes on only within its own home, and only once its container is gone"


def _create(world: World, incarnation: Incarnation) -> Iterator[str]:
    if incarnation.status.state is not IncarnationState.INTENDED:
        yield "a container is created once per incarnation"
    if world.home is None or incarnation.spec.home != world.home.name:
        yield "a container is made for its own home"
    elif world.home.status.tombstoned_at is not None:
        yield "tombstoned data is attached to nobody"
    if incarnation.spec.container_name != world.container_name:
        yield "a container is named after its home, and like nobody else's"
    if any(_claims_owner(world, one) for one in world.engine.containers or ()):
        yield "at most one live container per user container"
    yield from _owned(world, incarnation)


def _start(world: World, incarnation: Incarnation, container_id: str) -> Iterator[str]:
    shown = next((one for one in world.engine.containers or () if one.id == container_id), None)
    if shown is None or not world.is_ours(shown.identity):
        yield "only a container that labels prove ours is started"
    if shown is not None and shown.identity is not None:
        for spec in _known_specs(world):
            if spec_hash(spec) == shown.identity.spec_hash:
                yield from violations(spec, world.site.ceiling)
    yield from _owned(world, incarnation)


def _known_specs(world: World) -> Iterator[ContainerSpec]:
    if world.wanted is not None:
        yield world.wanted.spec
    if world.home is not None and world.home.status.last_good is not None:
        yield spec_of(world.home.status.last_good)


def _adopt(world: World, home: Home, container: ObservedContainer) -> Iterator[str]:
    if not world.is_ours(container.identity):
        yield "only a container that labels prove ours is adopted"
    if home.spec.owner is None or home.spec.owner.uid != world.user_container.uid:
        yield "a home serves its owner alone"


def _route(world: World, incarnation: Incarnation, host: str, port: int) -> Iterator[str]:
    yield from _owned(world, incarnation)
    shown = next((one for one in world.engine.containers or () if one.name == world.container_name), None)
    if shown is None or shown.identity is None or not world.is_ours(shown.identity):
        yield "requests go only to a container that labels prove the user's"
        return
    if shown.identity.number != incarnation.spec.number or shown.state is not ContainerState.RUNNING:
        yield "requests go only to the running container of the recorded incarnation"
    if (shown.endpoint_host, shown.endpoint_port) != (host, port):
        yield "requests go only where the engine shows that container"
    if world.health is None or world.health.incarnation != incarnation.name or not world.health.passed_at:
        yield "requests go only to what answered its probe"


def _write_files(world: World, home: Home, files: tuple[FileText, ...]) -> Iterator[str]:
    if home.spec.owner is None or home.spec.owner.uid != world.user_container.uid:
        yield "a home serves its owner alone"
    if home.status.tombstoned_at is not None or world.user_container.metadata.is_deleted:
        yield "nothing is written for whoever is gone"
    declared = {one.path for one in world.template.spec.files} if world.template is not None else set()
    if not {one.path for one in files} <= declared:
        yield "only files that the template declares are written"
    if any(".." in one.path.split("/") or one.path.startswith("/") for one in files):
        yield "nothing is written outside the data directory"


def _retire(world: World, incarnation: Incarnation, container: ObservedContainer | None) -> Iterator[str]:
    yield from _owned(world, incarnation)
    if container is not None and not world.is_ours(container.identity):
        yield "a foreign container is never retired"
    running = container is not None and container.state is ContainerState.RUNNING
    if running and (world.not_isolated or world.disk_full) and not _is_meant_to_end(world):
        yield "what runs is not ended for the sake of what may not be made"
    if running and world.prober_suspect and _is_health_matter(world):
        yield "nothing is restarted on the word of a suspect prober"


def _is_health_matter(world: World) -> bool:
    wanted, record = world.wanted, world.incarnation
    is_asked = _is_meant_to_end(world) or bool(world.requests)
    return not is_asked and wanted is not None and record is not None and record.spec.spec_hash == wanted.hash


def _is_meant_to_end(world: World) -> bool:
    owner = world.user_container
    return world.is_asleep or owner.metadata.is_deleted or owner.spec.power is Power.STOPPED


def _remove(world: World, container: ObservedContainer, *, behind_barrier: bool) -> Iterator[str]:
    if world.destruction_frozen:
        yield f"nothing is removed while destruction is frozen: {world.destruction_frozen}"
    if not world.is_ours(container.identity):
        yield "a container is removed only if labels prove it ours"
    alive = container.state in (ContainerState.RUNNING, ContainerState.PAUSED)
    if alive and world.user_container.status.endpoint is not None:
        yield "a live container is removed only after its requests were taken away"
    if alive and not behind_barrier:
        yield "a live container is removed only behind the barrier"


def _quarantine(world: World, incarnation: Incarnation) -> Iterator[str]:
    for one in world.engine.containers or ():
        identity = one.identity
        if identity is not None and world.is_ours(identity) and identity.number == incarnation.spec.number:
            yield "an address rests only once its container is gone"


def _release(incarnation: Incarnation) -> Iterator[str]:
    if incarnation.status.state is not IncarnationState.QUARANTINED:
        yield "an address is freed only out of quarantine"


def _sleep(world: World) -> Iterator[str]:
    if not any(one.spec.verb is Verb.SLEEP for one in world.requests) and not _takes_too_much(world):
        yield "nobody is put to sleep unasked"
    power = world.user_container.spec.power
    if power is not Power.AUTO and not (power is Power.RUNNING and _is_beyond_ceiling(world)):
        yield "nobody is put to sleep against an operator's word"
    if world.destruction_frozen and any(_claims_owner(world, one) for one in world.engine.containers or ()):
        yield f"nothing is ended while destruction is frozen: {world.destruction_frozen}"


def _takes_too_much(world: World) -> bool:
    asked = world.wanted.spec.disk_bytes if world.wanted is not None else 0
    return _is_beyond_ceiling(world) or _keeps_more_than(world, asked)


def _is_beyond_ceiling(world: World) -> bool:
    return _keeps_more_than(world, world.site.ceiling.disk_bytes_max)


def _keeps_more_than(world: World, most: int) -> bool:
    return most > 0 and world.disk is not None and (world.disk.bytes_used > most or world.disk.is_countless)


def _wake(world: World) -> Iterator[str]:
    is_asked = any(one.spec.verb in (Verb.WAKE, Verb.RESTART) for one in world.requests)
    if not is_asked and world.user_container.spec.power is not Power.RUNNING:
        yield "nobody is woken unasked"
    if not is_asked and _is_beyond_ceiling(world):
        yield "nobody is woken by power alone with more data than the ceiling allows"


def _end(world: World) -> Iterator[str]:
    owner, app = world.user_container, world.app
    if app is None or app.spec.persistent or app_of(owner.spec.user) != app.name:
        yield "nobody is ended but the users of an App that keeps nothing of them"
    elif _was_used_within(world, app.spec.end_after):
        yield "nobody is ended while they are used"
    if _has_just_begun(world):
        yield "nobody is ended before gateways could tell of their use"
    if app is not None and _is_within(world, world.clock_set_at, app.spec.end_after):
        yield "nobody is ended by a clock that was set"
    if owner.metadata.managed_by != "api":
        yield "what a file declares ends in that file"
    if world.destruction_frozen:
        yield f"nobody is ended while destruction is frozen: {world.destruction_frozen}"


def _was_used_within(world: World, seconds: float) -> bool:
    seen = [world.user_container.metadata.created_at]
    if world.demand is not None:
        seen.append(world.demand.spec.last_activity_at)
    return any(_is_within(world, at, seconds) for at in seen)


def _is_within(world: World, at: datetime | None, seconds: float) -> bool:
    return at is not None and (world.now - at).total_seconds() < seconds


def _has_just_begun(world: World) -> bool:
    return _is_within(world, world.watched_since, END_AFTER_S_MIN)


def _tombstone(world: World, home: Home, retain_until: datetime) -> Iterator[str]:
    is_kept = world.app is None or world.app.spec.persistent or not home.spec.one_time
    data = world.template.spec.data if world.template is not None else None
    if is_kept and data is not None and retain_until < world.now + timedelta(days=data.retain_days):
        yield "data is kept for as long as its template says"
    if is_kept and retain_until < world.now + timedelta(days=world.site.ceiling.retain_days_min):
        yield "data is kept for as long as the reconciler's own settings say, whatever a template does"
    if not world.user_container.metadata.is_deleted:
        yield "only a deleted user's data is put aside"
    if any(_claims_owner(world, one) for one in world.engine.containers or ()):
        yield "data is put aside only once nothing runs on it"
    if home.spec.owner is None or home.spec.owner.uid != world.user_container.uid:
        yield "nobody else's data is put aside"


def _forget(world: World) -> Iterator[str]:
    if not world.user_container.metadata.is_deleted:
        yield "only what was deleted is forgotten"
    if world.incarnation is not None or world.quarantined:
        yield "a user is forgotten only once nothing of theirs is left"
    if world.home is not None and world.home.status.tombstoned_at is None:
        yield "a user is forgotten only once their data is tombstoned"


def _owned(world: World, incarnation: Incarnation) -> Iterator[str]:
    if incarnation.spec.user_container != world.user_container.uid:
        yield "an incarnation belongs to one user container for good"


def _claims_owner(world: World, container: ObservedContainer) -> bool:
    identity = container.identity
    return (
        identity is not None
        and identity.project == world.site.project
        and identity.user_container == world.user_container.uid
    )
