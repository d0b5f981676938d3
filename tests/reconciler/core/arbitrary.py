"""Arbitrary worlds, of every shape that a pass can come to see. Records agree with each other, as one
transaction writes them; what the engine, the prober and people do beside them is anybody's guess.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.world import DiskUse, Health, ImageView
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Verb
from state.kinds.user_container import EndpointStatus, Power
from tests.reconciler.core.worlds import (
    ADDRESS,
    CEILING,
    EPOCH,
    HOME,
    KEY_ID,
    NAME,
    NOW,
    OTHER_HASH,
    PROJECT,
    SITE,
    UID,
    Scene,
    ago,
    good_hash,
    record,
)

GOOD = {"env": {"VERSION": "good"}}
TEMPLATES: list[dict[str, Any]] = [
    {},
    {},
    {"image": "evil:1"},
    {"data": {"mountPath": "/data", "retainDays": 0}},
    {"data": {"mountPath": "/data"}, "files": [{"path": "a.json", "contents": [{"content": "{session}"}]}]},
    {"rollout": {"onFailure": "Pause"}},
    {"resources": {"disk": "1Mi"}},
    {"inputs": [{"name": "A", "title": "A", "required": True}, {"name": "B", "title": "B", "secret": True}]},
]
BOUNDED = replace(SITE, ceiling=replace(CEILING, disk_bytes_max=1 << 20))
VALUES: list[dict[str, str]] = [
    {"A": "1"},
    {"A": "1", "B": f"{KEY_ID}.b"},
    {"B": "lost.b"},
    {"NEVER_DECLARED": "1"},
]

times = st.integers(-700, 700).map(lambda seconds: NOW + timedelta(seconds=seconds))
maybe_times = st.none() | times
hashes = st.sampled_from([Scene().hash, Scene().hash, good_hash(**GOOD), OTHER_HASH])
seldom = st.integers(0, 11).map(lambda number: number == 0)
numbers = st.integers(1, 4)

images = st.sampled_from([ImageView(present=True)] * 3 + [ImageView(), ImageView(fetching=True)]) | times.map(
    lambda at: ImageView(failed_reason="ImagePullFailed", failed_message="no route", retry_at=at)
)


@st.composite
def identities(draw: st.DrawFn) -> Identity | None:
    if draw(seldom):
        return None
    return Identity(
        project="q" if draw(seldom) else PROJECT,
        home="b" * 26 if draw(seldom) else HOME,
        user_container="uid-bob" if draw(seldom) else UID,
        number=draw(numbers),
        spec_hash=draw(hashes),
        epoch=draw(st.integers(1, EPOCH + 1)),
    )


@st.composite
def containers(draw: st.DrawFn, name: str) -> ObservedContainer:
    state = draw(st.sampled_from([*ContainerState, *[ContainerState.RUNNING] * 3]))
    has_endpoint = state is ContainerState.RUNNING and not draw(seldom)
    return ObservedContainer(
        id=f"id-{name}",
        name=name,
        identity=draw(identities()),
        state=state,
        exit_code=draw(st.none() | st.integers(0, 255)),
        oom_killed=draw(st.booleans()),
        address=ADDRESS,
        endpoint_host="127.0.0.1" if has_endpoint else "",
        endpoint_port=21000 if has_endpoint else 0,
    )


@st.composite
def engines(draw: st.DrawFn) -> tuple[ObservedContainer, ...] | None:
    if draw(seldom):
        return None
    names = draw(st.sampled_from([(), (NAME,), (NAME,), (NAME,)]))
    names = (*names, "stray") if draw(seldom) else names
    return tuple(draw(containers(name)) for name in names)


amounts = st.sampled_from([0, 2 << 20])
beyonds = st.sampled_from(["", "", "too many files"])
disk_uses = st.none() | st.builds(DiskUse, amounts, beyonds, layer_bytes=amounts, layer_beyond=beyonds)


@st.composite
def healths(draw: st.DrawFn, incarnation: Incarnation | None) -> Health | None:
    if incarnation is None or draw(seldom):
        return None
    passed_at = draw(maybe_times)
    failures = draw(st.integers(0, 8))
    was_ready = draw(st.booleans())
    return Health(
        incarnation.name, since=draw(times), passed_at=passed_at, failures=failures, was_ready=was_ready
    )


@st.composite
def statuses(draw: st.DrawFn, live: Incarnation | None) -> dict[str, Any]:
    routed = f"{HOME}-0" if live is None or draw(seldom) else live.name
    endpoint = EndpointStatus(host="127.0.0.1", port=21000, incarnation=routed)
    is_routed = draw(seldom) if live is None or live.status.state == "Removing" else draw(st.booleans())
    return {
        "endpoint": endpoint if is_routed else None,
        "restart_count": draw(st.integers(0, 9)),
        "restart_after": draw(maybe_times),
        "ready_at": draw(maybe_times),
        "spec_hash": draw(st.sampled_from(["", OTHER_HASH, Scene().hash])),
        "failed_spec_hash": draw(st.sampled_from(["", Scene().hash, OTHER_HASH])),
    }


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    scene = Scene().templated(**draw(st.sampled_from(TEMPLATES)))
    if not draw(seldom):
        scene = draw(_with_records(scene))
    scene = scene.told(**draw(statuses(scene.live)))
    if draw(seldom):
        scene = scene.powered(draw(st.sampled_from([Power.STOPPED, Power.RUNNING])))
    scene = scene.asleep() if draw(st.integers(0, 5)) == 0 else scene
    if draw(seldom):
        scene = scene.of_app(came_seconds_ago=draw(st.integers(0, 1200)), persistent=draw(st.booleans()))
        scene = scene.used(seconds_ago=draw(st.integers(0, 1200))) if draw(st.booleans()) else scene
    if draw(st.integers(0, 5)) == 0:
        scene = scene.deleted()
        if scene.home is not None and scene.live is None and draw(st.booleans()):
            scene = scene.seated(tombstoned_at=ago(1))
    if draw(seldom):
        scene = scene.untemplated()
    if draw(st.booleans()):
        scene = scene.filled_in(**draw(st.sampled_from(VALUES)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        scene = scene.asked(draw(st.sampled_from(Verb)), seconds_ago=draw(st.integers(-10, 600)))
    scene = replace(scene, containers=draw(engines()), image=draw(images), health=draw(healths(scene.live)))
    return scene.but(
        site=BOUNDED if draw(st.booleans()) else SITE,
        destruction_frozen="the store looks old" if draw(seldom) else "",
        not_isolated="there is no fence" if draw(seldom) else "",
        disk_full="there is no room" if draw(seldom) else "",
        disk=draw(disk_uses),
        prober_suspect=draw(seldom),
        capacity_left=0 if draw(seldom) else 1,
    )


@st.composite
def _with_records(draw: st.DrawFn, scene: Scene) -> Scene:
    """A Home; perhaps a last good spec, a live incarnation and quarantined ones before it."""
    scene = scene.once_good(**GOOD) if draw(st.booleans()) else scene.seated()
    last = draw(numbers)
    scene = scene.seated(last_incarnation=last)
    state = draw(st.none() | st.sampled_from([one for one in IncarnationState if one != "Quarantined"]))
    if state is not None:
        live = record(state, number=last, spec_hash=draw(hashes))
        started_at: datetime | None = draw(times) if state is IncarnationState.STARTED else None
        scene = replace(
            scene, live=live.replaced(status=live.status.model_copy(update={"started_at": started_at}))
        )
    for number in range(1, last if state is not None else last + 1):
        if draw(st.booleans()):
            scene = scene.resting(number, f"127.0.0.1:{21000 + number}")
    return scene.seated(last_incarnation=last)
