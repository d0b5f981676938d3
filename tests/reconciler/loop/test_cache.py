"""The store's mirror: what is newer stays, and the indexes follow."""

from datetime import timedelta
from typing import TypeVar

import pytest

from reconciler.loop.cache import Cache
from state.kinds.home import Home, HomeSpec, Owner
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Outcome, Request, RequestSpec, RequestStatus, Verb
from state.kinds.resource import Key, Metadata, Resource
from state.kinds.user_container import UserContainer, UserContainerSpec
from tests.reconciler.core.worlds import NOW, record

R = TypeVar("R", bound=Resource)
QUARANTINED, STARTED = IncarnationState.QUARANTINED, IncarnationState.STARTED
HOME_A, HOME_B = "a" * 26, "b" * 26


def at(version: int, obj: R, **metadata: object) -> R:
    """``obj`` as the store had it at that revision."""
    return obj.replaced(metadata=obj.metadata.model_copy(update={"resource_version": version, **metadata}))


def user(name: str = "alice", uid: str = "u1", template: str = "demo") -> UserContainer:
    spec = UserContainerSpec(user=f"github:{name}", template=template)
    return UserContainer(metadata=Metadata(name=name, uid=uid), spec=spec)


def home(name: str = HOME_A, owner: str | None = "u1") -> Home:
    whose = None if owner is None else Owner(user_container="alice", uid=owner, user="github:1")
    return Home(metadata=Metadata(name=name, uid=f"uid-{name}"), spec=HomeSpec(template="demo", owner=whose))


def request(name: str, *, minutes: int = 0, outcome: Outcome = Outcome.PENDING) -> Request:
    asked_at = NOW + timedelta(minutes=minutes)
    return Request(
        metadata=Metadata(name=name),
        spec=RequestSpec(user_container="alice", verb=Verb.RESTART, asked_by="x", asked_at=asked_at),
        status=RequestStatus(outcome=outcome),
    )


def key(obj: Resource) -> Key:
    return Key(kind=obj.kind, name=obj.name)


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache, newer = Cache(), at(7, user(template="new"))
    assert cache.put(newer)
    assert not cache.put(at(6, user(template="old")))
    assert not cache.put(at(7, user(template="same")))
    assert cache.get(UserContainer, "alice") is newer
    assert cache.users_of("new") == ("alice",)
    assert cache.users_of("old") == ()


def test_a_newer_version_replaces_an_older_one_in_every_index() -> None:
    cache = Cache()
    cache.put(at(1, user(template="old")))
    assert cache.put(at(2, user(template="new")))
    assert (cache.users_of("old"), cache.users_of("new")) == ((), ("alice",))


@pytest.mark.fault(29)
def test_another_object_of_the_name_replaces_the_first_whatever_its_version() -> None:
    cache = Cache()
    cache.put(at(9, user(uid="u1")))
    assert cache.put(at(3, user(uid="u2")))
    assert cache.user_container_of("u1") is None
    found = cache.user_container_of("u2")
    assert found is not None
    assert found.name == "alice"


def test_what_is_dropped_is_in_no_index() -> None:
    cache, one = Cache(), record(STARTED, spec_hash="x")
    for obj in (user(), home(), one, request("r")):
        cache.put(obj)
    assert cache.drop(key(one)) is one
    assert cache.taken_addresses == {}
    assert cache.incarnations_of(HOME_A) == (None, ())
    for obj in (user(), home(), request("r")):
        cache.drop(key(obj))
    assert cache.user_container_of("u1") is None
    assert cache.home_of("u1") is None
    assert cache.requests_of("alice") == ()
    assert cache.users_of("demo") == ()
    assert cache.drop(key(one)) is None


def test_a_home_is_found_by_its_owner_and_a_standby_by_nobody() -> None:
    cache, claimed = Cache(), home()
    cache.put(claimed)
    cache.put(home(HOME_B, owner=None))
    assert cache.home_of("u1") is claimed
    assert cache.home_of("") is None


def test_a_home_has_one_live_incarnation_and_those_that_rest() -> None:
    cache = Cache()
    live = record(STARTED, number=3, spec_hash="x", of=HOME_A, address="127.0.0.1:3")
    resting = [
        record(QUARANTINED, number=number, spec_hash="x", of=HOME_A, address=f"127.0.0.1:{number}")
        for number in (1, 2)
    ]
    for one in (*resting, live, record(STARTED, spec_hash="x", of=HOME_B, address="127.0.0.1:9")):
        cache.put(one)
    assert cache.incarnations_of(HOME_A) == (live, tuple(resting))


@pytest.mark.fault(37)
def test_an_address_is_taken_while_any_record_names_it() -> None:
    cache, live = Cache(), record(STARTED, spec_hash="x", address="127.0.0.1:1")
    cache.put(at(1, live))
    resting = live.replaced(status=live.status.model_copy(update={"state": QUARANTINED}))
    cache.put(at(2, resting))
    assert cache.taken_addresses == {"127.0.0.1:1": live.name}


def test_an_address_that_passed_on_stays_taken_when_its_last_holder_goes() -> None:
    cache = Cache()
    old = record(QUARANTINED, number=1, spec_hash="x", address="127.0.0.1:1")
    new = record(STARTED, number=2, spec_hash="x", address="127.0.0.1:1")
    cache.put(old)
    cache.put(new)
    cache.drop(key(old))
    assert cache.taken_addresses == {"127.0.0.1:1": new.name}


def test_pending_requests_come_oldest_first() -> None:
    cache = Cache()
    for one in (
        request("late", minutes=2),
        request("early", minutes=1),
        request("done", outcome=Outcome.DONE),
    ):
        cache.put(one)
    assert [one.name for one in cache.requests_of("alice")] == ["early", "late"]
    assert cache.requests_of("bob") == ()


def test_everything_is_counted_by_kind() -> None:
    cache = Cache()
    cache.put(user("alice", "u1"))
    cache.put(user("bob", "u2"))
    cache.put(home())
    assert (cache.count(UserContainer), cache.count(Home), cache.count(Incarnation)) == (2, 1, 0)
    assert cache.owner_uids() == {"u1", "u2"}
