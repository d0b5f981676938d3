"""The engine goes away, hangs or lies, or somebody has their hands on it: nothing is lost or doubled."""

import secrets
import threading
import time
from collections.abc import Iterator

import pytest

from mcpgw.testing.calls import Answer
from mcpgw.testing.house import House, until
from mcpgw.testing.workload import user_manifest
from reconciler.core.container import Identity
from state.kinds.home import HOSTNAME_BYTES, hostname
from state.kinds.resource import ConditionType
from tests.e2e.between import CREATE, EVENTS, EVERYTHING, LOOKS, Between, Failure, between
from tests.e2e.conftest import HOLD_S, opened
from tests.e2e.hand import Hand, hand_at
from tests.e2e.own_engine import OwnEngine, own_engine
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

HEALED_S_MAX = 90.0  # by a list alone, which comes every 45 s
WITHOUT_A_LIST_S_MAX = 30.0
REMOVALS_MAX = 3
COLLECTED_S_MAX = 240.0  # a minute's grace, and a list before and after it
LIST_S = 5.0
PROMPT_S = 5.0  # a third of what a call to an engine that hangs may take

Proxied = tuple[House, Between]


@pytest.fixture(scope="module")
def proxied(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A house that reaches its engine through us."""
    folder = tmp_path_factory.mktemp("proxied")
    with between(real_engine, folder) as standing:
        settings = {real_engine.setting: standing.url, "HOLD_TIMEOUT_S": str(HOLD_S)}
        with opened(real_engine, folder, settings) as house:
            yield house, standing


@pytest.fixture(autouse=True)
def _mended(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "proxied" in request.fixturenames:
        request.getfixturevalue("proxied")[1].mend()


@pytest.mark.fault(38)
def test_what_somebody_removed_is_there_again_without_a_list(proxied: Proxied, hand: Hand) -> None:
    house, standing = proxied
    house.serve("adam")
    house.call("adam", "disk", text="kept")
    name = house.container_name("adam")
    for _ in range(REMOVALS_MAX):
        old, lists_count = hand.id_of(name), _lists_count(standing)
        hand.remove(name)
        until(lambda old=old: hand.id_of(name) not in (old, None), "there is another", WITHOUT_A_LIST_S_MAX)
        assert house.serve("adam")
        if _lists_count(standing) == lists_count and _last_reason(house, "adam") == "Removed":
            break
    else:
        pytest.fail("each time it took a list to find out, or was seen as it died and not as it went")
    assert house.call("adam", "disk").result["result"] == "kept"
    assert len([one for one in hand.containers(house) if f"/{name}" in one["Names"]]) == 1


def _last_reason(house: House, user_id: str) -> str:
    """Why the container before this one ended: what a removal kills may be seen dead before it is gone."""
    owner = house.user_container(user_id)
    assert owner is not None
    assert owner.status.last_termination is not None
    return owner.status.last_termination.reason


def _lists_count(standing: Between) -> int:
    return sum("/containers/json" in line for line in standing.asked("GET"))


@pytest.mark.fault(4)
@pytest.mark.parametrize("failure", [Failure.HANG, Failure.ANSWER_500], ids=["silent", "dead"])
def test_without_a_single_event_the_world_still_becomes_as_declared(
    proxied: Proxied, hand: Hand, failure: Failure
) -> None:
    house, standing = proxied
    standing.fail(EVENTS, failure)
    user_id = f"deaf-{failure.name.lower()}".replace("_", "-")
    house.serve(user_id)
    name = house.container_name(user_id)
    old = hand.id_of(name)
    hand.remove(name)
    until(lambda: hand.id_of(name) not in (old, None), "there is another container", HEALED_S_MAX)
    house.serve(user_id)


@pytest.mark.fault(3)
def test_an_engine_that_answers_500_makes_everything_unknown_and_nothing_new(
    proxied: Proxied, hand: Hand
) -> None:
    house, standing = proxied
    house.serve("alice")
    old = hand.id_of(house.container_name("alice"))
    standing.fail(LOOKS, Failure.ANSWER_500)
    until(
        lambda: house.reason("alice", ConditionType.ENGINE_REACHABLE) == "Unknown NoAnswer", "it is unknown"
    )
    creates = len(standing.asked("POST"))
    hand.remove(house.container_name("alice"))
    refused = house.call("newcomer", "whoami")
    assert (refused.status, refused.message["reason"]) == (503, "EngineUnknown")
    assert "Unknown" in house.mcpgw("status").stdout
    assert len(standing.asked("POST")) == creates
    standing.mend()
    house.serve("alice")
    assert hand.id_of(house.container_name("alice")) not in (old, None)
    house.serve("newcomer")


@pytest.mark.fault(2)
def test_an_engine_that_hangs_slows_nobody_who_is_served(proxied: Proxied) -> None:
    house, standing = proxied
    house.serve("alice")
    standing.fail(EVERYTHING, Failure.HANG)
    for _ in range(50):
        asked_at = time.monotonic()
        assert house.call("alice", "counter").status == 200
        assert time.monotonic() - asked_at < PROMPT_S, "it waited for the engine"
    refused = house.call("latecomer", "whoami")
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert house.call("alice", "counter").status == 200
    standing.mend()
    house.serve("latecomer")


@pytest.mark.fault(10)
def test_a_container_whose_birth_was_never_answered_is_adopted(proxied: Proxied, hand: Hand) -> None:
    house, standing = proxied
    before = hand.ids(house)
    standing.fail(CREATE, Failure.ASK_AND_CLOSE)
    held: list[Answer] = []
    waiting = threading.Thread(target=lambda: held.append(house.call("nina", "whoami")))
    waiting.start()
    until(lambda: len(hand.ids(house) - before) == 1, "the engine has made it")
    standing.mend()
    waiting.join()
    house.serve("nina")
    assert len(hand.ids(house) - before) == 1


def test_our_own_orphan_is_collected_and_a_neighbours_and_a_strangers_stay(
    proxied: Proxied, hand: Hand
) -> None:
    house, standing = proxied
    house.serve("alice")
    installation = (house.homes / "installation").read_text()
    ours = hand.put(f"{house.project}-orphan", _nobodys(house, installation))
    neighbours = hand.put(f"{house.project}-neighbour", _nobodys(house, "another-one"))
    foreign = hand.put_foreign(f"{house.project}-foreign")

    def is_collected() -> bool:
        standing.mend()  # breaks the stream of events, after which a list comes sooner than by itself
        time.sleep(LIST_S)
        return hand.id_of(ours) is None

    until(is_collected, "our orphan is collected", COLLECTED_S_MAX)
    assert [line["container"] for line in house.log_lines("orphan.collected")] == [f"{house.project}-orphan"]
    assert hand.is_running(neighbours)
    assert hand.is_running(foreign)
    hand.remove(neighbours)
    assert house.call("alice", "whoami").status == 200


def _nobodys(house: House, installation: str) -> dict[str, str]:
    """The labels of a container whose Home and owner no store knows."""
    home = hostname(secrets.token_bytes(HOSTNAME_BYTES))
    return Identity(house.project, home, "uid-of-nobody", 1, "hash", 1, installation).labels()


@pytest.mark.fault(11)
def test_a_foreign_container_of_our_name_is_left_alone(proxied: Proxied, hand: Hand) -> None:
    house, _ = proxied
    house.write_manifest("fred.yaml", user_manifest("fred"))
    until(lambda: house.endpoint("fred"), "fred is served")
    house.call("fred", "disk", text="kept")
    name = house.container_name("fred")
    house.write_manifest("fred.yaml", user_manifest("fred", power="Stopped"))
    until(lambda: hand.id_of(name) is None, "fred's container is gone")
    foreign = hand.put_foreign(name)

    house.write_manifest("fred.yaml", user_manifest("fred"))
    until(lambda: house.reason("fred", ConditionType.DEGRADED) == "True NameTaken", "the name is taken")
    refused = house.call("fred", "whoami")
    assert (refused.status, refused.message["reason"]) == (503, "NameTaken")
    assert f"{name} is there that is not ours; rename or remove it" in house.mcpgw("status").stdout
    assert hand.id_of(name) == foreign
    assert hand.is_running(foreign)

    hand.remove(name)
    house.serve("fred")
    assert house.call("fred", "disk").result["result"] == "kept"


@pytest.mark.fault(1)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_engine_that_restarts_gets_its_containers_back(own: tuple[House, OwnEngine], end: str) -> None:
    house, engine = own
    users = [f"{end}-{number}" for number in range(4)]
    for user_id in users:
        house.serve(user_id)
        house.call(user_id, "disk", text=user_id)
        assert house.call(user_id, "counter").result["result"] == 1
    getattr(engine, end)()
    until(
        lambda: house.reason(users[0], ConditionType.ENGINE_REACHABLE) == "Unknown NoAnswer", "it is unknown"
    )
    assert house.reason(users[0], ConditionType.READY) == "Unknown EngineUnknown"
    engine.start()
    counted = 2 if engine.keeps_containers else 1
    for user_id in users:
        house.serve(user_id)
        assert house.call(user_id, "disk").result["result"] == user_id
        assert house.call(user_id, "counter").result["result"] == counted
    with hand_at(engine.engine) as hand:
        homes = {house.container_name(user_id) for user_id in users}
        found = [one for one in hand.containers(house) if one["Names"][0].removeprefix("/") in homes]
        assert len(found) == len(users)
        assert all(one["State"] == "running" for one in found)
    for user_id in users:
        assert len(house.incarnations(user_id)) == 1


@pytest.mark.fault(2)
def test_a_frozen_engine_holds_newcomers_alone(own: tuple[House, OwnEngine]) -> None:
    house, engine = own
    house.serve("alice")
    engine.freeze()
    try:
        assert house.call("latecomer", "whoami").status == 503
        assert house.call("alice", "whoami").status == 200
    finally:
        engine.thaw()
    house.serve("latecomer")


@pytest.fixture(scope="module", params=["docker", "podman"])
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[House, OwnEngine]]:
    """A house on an engine that nobody else uses."""
    with own_engine(request.param, tmp_path_factory.mktemp("engine")) as engine:
        settings = {
            "CONTAINER_ADDRESSING": "network",
            "CONTAINER_SUBNET_PREFIX": engine.subnet_prefix,
            "HOLD_TIMEOUT_S": str(HOLD_S),
        }
        with (
            opened(engine.engine, tmp_path_factory.mktemp("own"), settings) as house,
            hand_at(engine.engine) as hand,
        ):
            until(lambda: hand.has_network(house.project), "the project's network stands")
            engine.route()
            yield house, engine
            house.stop()
            engine.renew()
