"""What must hold once nothing goes wrong any more, and stay so."""

import asyncio

from reconciler.core.container import ContainerState
from reconciler.core.effective import wanted_of
from reconciler.core.files import files_of
from state.kinds.app import App, app_of
from state.kinds.demand import Demand
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationNames, IncarnationState
from state.kinds.request import Outcome, Request
from state.kinds.resource import ConditionType
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import Power, UserContainer
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs
from tests.simulation.judge import PROJECT
from tests.simulation.town import Town

PEACE_S_MAX = 900.0  # the longest backoff, twice, and an orphan's grace
QUIET_S = 130.0  # several resyncs, lists and probes


async def until_peace(town: Town, within_s: float = PEACE_S_MAX) -> float:
    """Wait for everything to be as wanted; how long it took. Fails where it never is."""
    began_s = town.loop.time()
    while complaints := unrest(town):
        waited_s = town.loop.time() - began_s
        if waited_s > within_s:
            said = "\n".join(complaints)
            raise AssertionError(f"no peace after {waited_s:.0f} s:\n{said}\n\n{town.history.last(60)}")
        await asyncio.sleep(1.0)
    return town.loop.time() - began_s


async def stays_peaceful(town: Town, for_s: float = QUIET_S) -> None:
    """Nothing is asked of the engine any more: what is as wanted is left alone."""
    before = town.judge.mutations_count
    await asyncio.sleep(for_s)
    assert unrest(town) == [], town.history.last(60)
    assert town.judge.mutations_count == before, town.history.last(60)


def unrest(town: Town) -> list[str]:
    """Everything that is not as it should be, in words."""
    users = town.all(UserContainer)
    return [
        *(complaint for user in users for complaint in _user(town, user)),
        *_containers(town, users),
        *_records(town, users),
        *_requests(town),
        *_homes(town, users),
    ]


def _user(town: Town, user: UserContainer) -> list[str]:
    if user.metadata.is_deleted:
        return [f"{user.name} is still being deleted: {told(user)}"]
    if _is_over(town, user):
        return [f"{user.name} was to end after the last use"]
    home = next((one for one in town.all(Home) if one.name == user.status.home), None)
    is_asleep = user.status.asleep_since is not None and user.spec.power is not Power.RUNNING
    if user.spec.power is Power.STOPPED or is_asleep:
        name = IncarnationNames.container(PROJECT, home.name) if home is not None else ""
        return [f"{user.name} is to have no container"] if town.machine.named(name) else []
    return _running(town, user, home)


def _is_over(town: Town, user: UserContainer) -> bool:
    apps = {one.name: one.spec for one in town.all(App)}
    app = apps.get(app_of(user.spec.user))
    seen = [one.spec.last_activity_at for one in town.all(Demand) if one.name == user.name]
    used_at = max(at for at in (user.metadata.created_at, *seen) if at is not None)
    if app is None or app.persistent:
        return False
    return (town.loop.now() - used_at).total_seconds() > app.end_after


def _running(town: Town, user: UserContainer, home: Home | None) -> list[str]:
    template = next((one for one in town.all(ContainerTemplate) if one.name == user.spec.template), None)
    if home is None or template is None:
        return [f"{user.name} has no home: {told(user)}"]
    box = town.machine.named(IncarnationNames.container(PROJECT, home.name))
    if box is None or box.shown.identity is None or box.shown.state is not ContainerState.RUNNING:
        return [f"{user.name} has no running container: {told(user)}"]
    endpoint, shown = user.status.endpoint, box.shown
    if endpoint is None or (endpoint.host, endpoint.port) != (shown.endpoint_host, shown.endpoint_port):
        return [f"{user.name} is not routed to its container: {told(user)}"]
    inputs = next((one for one in town.all(UserInputs) if one.spec.user_container == user.uid), None)
    if shown.identity is not None and shown.identity.spec_hash != wanted_of(template, user, inputs).hash:
        return [f"{user.name} does not run what is wanted: {told(user)}"]
    headers = next((one for one in town.all(UserHeaders) if one.spec.user_container == user.uid), None)
    files, there = files_of(template, home, headers), town.disk.files.get(home.name, {})
    is_told = user.status.files.headers_generation == files.headers_generation
    if template.spec.files and not (
        is_told and all(there.get(one.path) == one.content for one in files.texts)
    ):
        return [f"{user.name} does not have the files that are wanted: {told(user)}"]
    ready = user.status.condition(ConditionType.READY)
    return [] if ready is not None and ready.is_true else [f"{user.name} is not ready: {told(user)}"]


def _containers(town: Town, users: list[UserContainer]) -> list[str]:
    """No container without an owner, and one for each at the most."""
    owners = {user.uid for user in users}
    seen: set[str] = set()
    found = []
    for one in town.machine.containers(PROJECT):
        uid = one.identity.user_container if one.identity is not None else ""
        if uid not in owners:
            found.append(f"container {one.name} belongs to nobody")
        if uid in seen:
            found.append(f"{one.name} is a second container of {uid}")
        seen.add(uid)
    return found


def _records(town: Town, users: list[UserContainer]) -> list[str]:
    owners = {user.uid for user in users}
    records = town.all(Incarnation)
    lost = [
        f"record {one.name} belongs to nobody" for one in records if one.spec.user_container not in owners
    ]
    unfinished = [
        f"record {one.name} is still {one.status.state}"
        for one in records
        if one.status.state is not IncarnationState.STARTED
    ]
    return lost + unfinished


def _requests(town: Town) -> list[str]:
    asked = town.all(Request)
    return [f"{one.name} waits for its answer" for one in asked if one.status.outcome is Outcome.PENDING]


def _homes(town: Town, users: list[UserContainer]) -> list[str]:
    """Data is somebody's, or put aside with an end to it; a directory has its Home on record."""
    owners = {user.uid for user in users}
    homes = {home.name: home for home in town.all(Home)}
    found = [f"directory {seat} is nobody's" for seat in town.disk.seats if seat not in homes]
    for home in homes.values():
        is_owned = home.spec.owner is not None and home.spec.owner.uid in owners
        if not is_owned and home.status.retain_until is None:
            found.append(f"home {home.name} is nobody's and was not put aside")
        if home.status.retain_until is not None and home.status.retain_until <= town.loop.now():
            found.append(f"home {home.name} was kept long enough and is still there")
        if is_owned and home.status.tombstoned_at is not None:
            found.append(f"home {home.name} was put aside and has an owner")
    return found


def told(user: UserContainer) -> str:
    """What its conditions say."""
    return ", ".join(f"{one.type}={one.status} {one.reason} {one.message}" for one in user.status.conditions)
