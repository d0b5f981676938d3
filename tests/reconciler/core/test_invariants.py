"""Every wrong action is refused, whoever planned it; and in a right world the same action is not."""

from dataclasses import replace

import pytest

from reconciler.core.actions import (
    Action,
    Adopt,
    Answer,
    ClaimHome,
    Create,
    FetchImage,
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
)
from reconciler.core.container import ContainerState, ObservedContainer
from reconciler.core.effective import Wanted, wanted_of
from reconciler.core.invariants import check
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Outcome, Verb
from state.kinds.user_container import Power
from tests.reconciler.core.worlds import (
    NOW,
    OTHER_HASH,
    Scene,
    ago,
    alice,
    alive,
    good_hash,
    home,
    ours,
    record,
    shown,
    template,
)

INTENDED, CREATED = IncarnationState.INTENDED, IncarnationState.CREATED
REMOVING, QUARANTINED = IncarnationState.REMOVING, IncarnationState.QUARANTINED
BOB = "uid-bob"


def want(**spec: object) -> Wanted:
    return wanted_of(template(**spec), alice())


def bobs_home() -> Home:
    seat = home()
    assert seat.spec.owner is not None
    owner = seat.spec.owner.model_copy(update={"uid": BOB})
    return seat.replaced(spec=seat.spec.model_copy(update={"owner": owner}))


def standby() -> Home:
    return home().replaced(spec=home().spec.model_copy(update={"owner": None}))


def old_home() -> Home:
    return home().replaced(status=home().status.model_copy(update={"tombstoned_at": ago(1)}))


def live(scene: Scene) -> Incarnation:
    assert scene.live is not None
    return scene.live


def container(scene: Scene) -> ObservedContainer:
    assert scene.containers
    return scene.containers[0]


SEATED = Scene().seated()
INTENT = Scene().recorded(INTENDED)
MADE = Scene().recorded(CREATED).showing(ContainerState.CREATED)
REFUSED_BY_NOW = Scene().templated(image="evil:1").recorded(CREATED).showing(ContainerState.CREATED)
GOOD_ONCE = (
    Scene()
    .once_good(image="evil:1")
    .recorded(CREATED, of=good_hash(image="evil:1"))
    .showing(ContainerState.CREATED)
)
READY = Scene().recorded().showing().healthy()
GOING = Scene().recorded(REMOVING).showing()
RESTING = Scene().seated().resting()
LEAVING = SEATED.deleted()
SLEEPY = alive().asked(Verb.SLEEP)
LEFT = Scene().seated(tombstoned_at=ago(1)).deleted()
FOREIGN = shown(identity=None)
STRAY = shown(identity=ours(OTHER_HASH, 9), name="renamed")
BOBS = shown(identity=ours(want().hash, owner=BOB, of="b" * 26))
REST = RESTING.quarantined[0]
WANT, EVIL = want(), want(image="evil:1")
IDENTITY = ours(WANT.hash)
CREATE = Create(live(INTENT), WANT.spec, IDENTITY)
ROUTE = Route(live(READY), "127.0.0.1", 21000)
BOBS_RECORD = record(INTENDED, spec_hash=WANT.hash, owner=BOB)
TOO_MANY = "at most one live container per user container"

# what is wrong → the world, the action, what is said about it
BREACHES: dict[str, tuple[Scene, Action, str]] = {
    "anything at all while the engine does not answer": (
        Scene().blind(),
        ClaimHome(),
        "no plan is made on an engine that does not answer",
    ),
    "a second home": (SEATED, ClaimHome(), "a user container claims one home, once"),
    "a home for who is being deleted": (
        Scene().deleted(),
        ClaimHome(),
        "what is being deleted claims nothing",
    ),
    "fetching an image that the ceiling refuses": (SEATED, FetchImage(EVIL), "image evil:1 matches none"),
    "a second incarnation": (INTENT, Intend(home(), WANT, ()), "at most one live incarnation"),
    "an incarnation for who is being deleted": (
        LEAVING,
        Intend(home(), WANT, ()),
        "what is being deleted gets no container",
    ),
    "an incarnation in somebody else's home": (
        SEATED,
        Intend(bobs_home(), WANT, ()),
        "a home serves its owner alone",
    ),
    "an incarnation in a home that nobody claimed": (
        SEATED,
        Intend(standby(), WANT, ()),
        "a home serves its owner alone",
    ),
    "an incarnation on tombstoned data": (
        SEATED,
        Intend(old_home(), WANT, ()),
        "tombstoned data is attached to nobody",
    ),
    "an incarnation beside a container that claims the user": (
        SEATED.beside(STRAY),
        Intend(home(), WANT, ()),
        TOO_MANY,
    ),
    "an incarnation that the ceiling refuses": (SEATED, Intend(home(), EVIL, ()), "image evil:1"),
    "an incarnation beyond the ceiling's number": (
        SEATED.but(capacity_left=0),
        Intend(home(), WANT, ()),
        "never more containers than the ceiling allows",
    ),
    "taking over the address of another home": (
        SEATED,
        Intend(home(), WANT, (record(QUARANTINED, spec_hash=WANT.hash, of="b" * 26),)),
        "an address passes on only within its own home",
    ),
    "taking over an address whose container may still be there": (
        SEATED,
        Intend(home(), WANT, (record(REMOVING, spec_hash=WANT.hash),)),
        "an address passes on only within its own home",
    ),
    "creating what is there already": (
        MADE,
        Create(live(MADE), WANT.spec, IDENTITY),
        "a container is created once per incarnation",
    ),
    "creating beside a container that claims the user": (INTENT.beside(STRAY), CREATE, TOO_MANY),
    "creating another user's incarnation": (
        INTENT,
        replace(CREATE, incarnation=BOBS_RECORD),
        "an incarnation belongs to one user container for good",
    ),
    "creating what the ceiling refuses": (INTENT, replace(CREATE, spec=EVIL.spec), "image evil:1"),
    "starting what the engine does not show": (
        INTENT,
        Start(live(INTENT), "id-unseen"),
        "only a container that labels prove ours is started",
    ),
    "starting a foreign container": (
        Scene().recorded(CREATED).beside(FOREIGN),
        Start(live(MADE), FOREIGN.id),
        "only a container that labels prove ours is started",
    ),
    "starting another user's incarnation": (
        MADE,
        Start(BOBS_RECORD, container(MADE).id),
        "an incarnation belongs to one user container for good",
    ),
    "starting what the ceiling refuses by now": (
        REFUSED_BY_NOW,
        Start(live(REFUSED_BY_NOW), container(REFUSED_BY_NOW).id),
        "image evil:1 matches none",
    ),
    "starting what was good once and the ceiling refuses by now": (
        GOOD_ONCE,
        Start(live(GOOD_ONCE), container(GOOD_ONCE).id),
        "image evil:1 matches none",
    ),
    "adopting a foreign container": (
        SEATED.beside(FOREIGN),
        Adopt(home(), FOREIGN, None),
        "only a container that labels prove ours is adopted",
    ),
    "adopting another user's container": (
        SEATED.beside(BOBS),
        Adopt(home(), BOBS, None),
        "only a container that labels prove ours is adopted",
    ),
    "adopting into somebody else's home": (
        SEATED.showing(),
        Adopt(bobs_home(), container(SEATED.showing()), None),
        "a home serves its owner alone",
    ),
    "routing to another user's incarnation": (
        READY,
        replace(ROUTE, incarnation=record(spec_hash=WANT.hash, owner=BOB)),
        "an incarnation belongs to one user container for good",
    ),
    "routing to a container that is not there": (
        Scene().recorded().healthy(),
        ROUTE,
        "requests go only to a container that labels prove the user's",
    ),
    "routing to a foreign container": (
        Scene().recorded().healthy().beside(FOREIGN),
        ROUTE,
        "requests go only to a container that labels prove the user's",
    ),
    "routing to another incarnation than the recorded one": (
        Scene().recorded(number=2).healthy().beside(shown(identity=ours(WANT.hash, 1))),
        Route(record(number=2, spec_hash=WANT.hash), "127.0.0.1", 21000),
        "requests go only to the running container of the recorded incarnation",
    ),
    "routing to what is paused": (
        Scene().recorded().showing(ContainerState.PAUSED).healthy(),
        ROUTE,
        "requests go only to the running container of the recorded incarnation",
    ),
    "routing to an address that the engine does not show": (
        READY,
        replace(ROUTE, port=21001),
        "requests go only where the engine shows that container",
    ),
    "routing to what was never asked": (
        Scene().recorded().showing(),
        ROUTE,
        "requests go only to what answered its probe",
    ),
    "routing to what did not answer yet": (
        Scene().recorded().showing().starting(seconds=1),
        ROUTE,
        "requests go only to what answered its probe",
    ),
    "retiring another user's incarnation": (
        READY,
        Retire(BOBS_RECORD, "Error", None),
        "an incarnation belongs to one user container for good",
    ),
    "retiring a foreign container": (
        INTENT.beside(FOREIGN),
        Retire(live(INTENT), "Removed", FOREIGN),
        "a foreign container is never retired",
    ),
    "restarting on the word of a suspect prober": (
        alive().but(prober_suspect=True),
        Retire(live(alive()), "Unhealthy", container(alive())),
        "nothing is restarted on the word of a suspect prober",
    ),
    "removing while destruction is frozen": (
        GOING.but(destruction_frozen="the store looks old"),
        Remove(live(GOING), container(GOING), behind_barrier=True),
        "nothing is removed while destruction is frozen: the store looks old",
    ),
    "removing a foreign container": (
        Scene().recorded(REMOVING).beside(FOREIGN),
        Remove(live(GOING), FOREIGN, behind_barrier=True),
        "a container is removed only if labels prove it ours",
    ),
    "removing another user's container": (
        Scene().recorded(REMOVING).beside(BOBS),
        Remove(live(GOING), BOBS, behind_barrier=True),
        "a container is removed only if labels prove it ours",
    ),
    "removing a live container that requests still go to": (
        GOING.routed(),
        Remove(live(GOING), container(GOING), behind_barrier=True),
        "a live container is removed only after its requests were taken away",
    ),
    "removing a live container before every gateway worker knows": (
        GOING,
        Remove(live(GOING), container(GOING), behind_barrier=False),
        "a live container is removed only behind the barrier",
    ),
    "an address at rest whose container is there": (
        GOING,
        Quarantine(live(GOING)),
        "an address rests only once its container is gone",
    ),
    "freeing an address that did not rest": (
        GOING,
        Release(live(GOING)),
        "an address is freed only out of quarantine",
    ),
    "putting somebody to sleep who was not asked to": (
        alive(),
        Sleep(()),
        "nobody is put to sleep unasked",
    ),
    "putting somebody to sleep who asked for something else": (
        alive().asked(),
        Sleep(("r-0",)),
        "nobody is put to sleep unasked",
    ),
    "retiring as asleep who is awake": (
        alive(),
        Retire(live(alive()), "Slept", container(alive())),
        "nobody is put to sleep unasked",
    ),
    "putting somebody to sleep whom an operator wants up": (
        SLEEPY.powered(Power.RUNNING),
        Sleep(("r-0",)),
        "nobody is put to sleep against an operator's word",
    ),
    "putting somebody to sleep while destruction is frozen": (
        SLEEPY.but(destruction_frozen="the store looks old"),
        Sleep(("r-0",)),
        "nothing is ended while destruction is frozen",
    ),
    "waking whom nobody asked to wake": (SEATED.asleep(), Wake(()), "nobody is woken unasked"),
    "waking on a request to sleep": (
        SEATED.asleep().asked(Verb.SLEEP),
        Wake(("r-0",)),
        "nobody is woken unasked",
    ),
    "another way out than the template's": (
        SEATED,
        Intend(home(), want(security={"egress": "None"}), ()),
        "nobody has another way out than their template's",
    ),
    "an incarnation for who sleeps": (
        SEATED.asleep(),
        Intend(home(), WANT, ()),
        "whoever sleeps gets no container before they are woken",
    ),
    "putting aside the data of who is still wanted": (
        SEATED,
        Tombstone(home(), NOW),
        "only a deleted user's data is put aside",
    ),
    "putting aside data that something runs on": (
        LEAVING.showing(),
        Tombstone(home(), NOW),
        "data is put aside only once nothing runs on it",
    ),
    "putting aside somebody else's data": (
        LEAVING,
        Tombstone(bobs_home(), NOW),
        "nobody else's data is put aside",
    ),
    "forgetting who is still wanted": (Scene(), Forget(), "only what was deleted is forgotten"),
    "forgetting who still has a container": (
        Scene().recorded().deleted(),
        Forget(),
        "a user is forgotten only once nothing of theirs is left",
    ),
    "forgetting whose address still rests": (
        RESTING.deleted(),
        Forget(),
        "a user is forgotten only once nothing of theirs is left",
    ),
    "forgetting whose data was not put aside": (
        LEAVING,
        Forget(),
        "a user is forgotten only once their data is tombstoned",
    ),
}

ALLOWED: dict[str, tuple[Scene, Action | None]] = {
    "nothing": (Scene().blind(), None),
    "a first home": (Scene(), ClaimHome()),
    "an allowed image": (SEATED, FetchImage(WANT)),
    "an incarnation": (SEATED, Intend(home(), WANT, ())),
    "an incarnation at its predecessor's address": (RESTING, Intend(home(), WANT, (REST,))),
    "a container": (INTENT, CREATE),
    "a start": (MADE, Start(live(MADE), container(MADE).id)),
    "an adoption": (SEATED.showing(), Adopt(home(), container(SEATED.showing()), None)),
    "a route": (READY, ROUTE),
    "taking requests away": (alive(), Unroute("Unhealthy")),
    "a retirement": (alive(), Retire(live(alive()), "Unhealthy", container(alive()))),
    "a removal behind the barrier": (GOING, Remove(live(GOING), container(GOING), behind_barrier=True)),
    "a quarantine": (Scene().recorded(REMOVING), Quarantine(live(GOING))),
    "a quarantine beside somebody else's container": (
        Scene().recorded(REMOVING).beside(FOREIGN),
        Quarantine(live(GOING)),
    ),
    "a release": (RESTING, Release(REST)),
    "an answer": (SEATED, Answer("r-0", Outcome.DONE, "")),
    "sleep on request": (SLEEPY, Sleep(("r-0",))),
    "a retirement of who sleeps": (
        alive().asleep().but(prober_suspect=True),
        Retire(live(alive()), "Slept", container(alive())),
    ),
    "waking on request": (SEATED.asleep().asked(Verb.WAKE), Wake(("r-0",))),
    "waking at an operator's word": (SEATED.asleep().powered(Power.RUNNING), Wake(())),
    "a tombstone": (LEAVING, Tombstone(home(), NOW)),
    "forgetting": (LEFT, Forget()),
}


@pytest.mark.parametrize(("scene", "action", "said"), BREACHES.values(), ids=BREACHES.keys())
def test_refused_is(scene: Scene, action: Action, said: str) -> None:
    assert any(said in breach for breach in check(scene.world, action)), check(scene.world, action)


@pytest.mark.parametrize(("scene", "action"), ALLOWED.values(), ids=ALLOWED.keys())
def test_allowed_is(scene: Scene, action: Action | None) -> None:
    assert check(scene.world, action) == ()
