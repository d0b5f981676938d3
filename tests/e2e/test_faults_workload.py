"""The workload dies, crashes for ever, never gets ready or falls ill, or its user goes: what people see."""

import json
import re
import time
from typing import Any

import pytest

from mcpgw.testing.calls import ask
from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template, user_manifest
from state.kinds.home import Home
from state.kinds.resource import ConditionType
from state.kinds.user_container import UserContainer
from tests.e2e.aside import Aside
from tests.e2e.conftest import HOLD_S
from tests.e2e.hand import Hand
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

TOO_MUCH_MIB = 600


def control(endpoint: str, **what: Any) -> None:
    """Tell the workload to do itself harm, past the gateway."""
    answer = ask(
        "POST", f"{endpoint}/control", {"Content-Type": "application/json"}, json.dumps(what).encode()
    )
    assert answer.status == 200, answer.body


def owner_of(house: House, user_id: str) -> UserContainer:
    owner = house.user_container(user_id)
    assert owner is not None
    return owner


@pytest.mark.fault(6)
def test_a_container_killed_for_memory_says_so_and_is_paced(
    impatient_house: House, real_engine: RealEngine
) -> None:
    house = impatient_house
    house.serve("gluttonous")
    for times in (1, 2):
        endpoint = until(lambda: house.endpoint("gluttonous"), "it is served")
        control(endpoint, allocate_mib=TOO_MUCH_MIB)
        until(
            lambda times=times: owner_of(house, "gluttonous").status.restart_count == times,
            f"it died {times} times",
        )
    status = owner_of(house, "gluttonous").status
    assert status.last_termination is not None
    # Podman says nothing but how it ended.
    reason = "OOMKilled" if real_engine.name == "docker" else "Error"
    assert (status.last_termination.reason, status.last_termination.exit_code) == (reason, 137)
    until(lambda: house.reason("gluttonous", ConditionType.DEGRADED) == "True CrashLoop", "it has to wait")
    told = house.mcpgw("status").stdout
    assert reason in told
    assert re.search(r"limit (is )?256 MiB", told)
    assert "2 times" in told


@pytest.mark.fault(7)
def test_a_crash_loop_is_told_at_once_and_ends_with_a_mended_spec(impatient_house: House) -> None:
    house = impatient_house
    house.write_manifest("cass.yaml", user_manifest("cass", overrides={"env": {"PORT": "none"}}))
    until(lambda: house.user_container("cass"), "cass is declared")
    waited = house.call("cass", "whoami")
    assert waited.status == 503
    until(lambda: house.reason("cass", ConditionType.DEGRADED) == "True CrashLoop", "it has to wait")
    told = house.call("cass", "whoami")
    assert (told.status, told.message["reason"]) == (503, "CrashLoop")
    assert 5 <= int(told.headers["retry-after"]) <= 300
    assert "ended with Error" in told.message["detail"]
    explained = house.mcpgw("explain", "cass").stdout
    assert "last end: Error, exit code 1" in explained
    assert "PORT" in explained  # its last words

    house.write_manifest("cass.yaml", user_manifest("cass"))
    house.serve("cass")


@pytest.mark.fault(25)
def test_what_never_gets_ready_ends_in_503_on_time(impatient_house: House) -> None:
    house = impatient_house
    house.write_manifest(
        "never.yaml",
        demo_template(house.image, name="never", env={"DEMO_STARTUP_DELAY_S": "600"}, startup_s=2),
    )
    house.write_manifest("nora.yaml", user_manifest("nora", template="never"))
    until(lambda: house.user_container("nora"), "nora is declared")
    asked_at = time.monotonic()
    told = house.call("nora", "whoami")
    assert told.status == 503
    assert time.monotonic() - asked_at < 2 * HOLD_S, "once nothing can come of it, or at the deadline"
    assert int(told.headers["retry-after"]) >= 1
    until(lambda: _last_end(house, "nora") == "NeverReady", "the deadline has passed")
    assert house.endpoint("nora") == ""


@pytest.mark.fault(25)
def test_an_edit_that_never_gets_ready_is_rolled_back(impatient_house: House) -> None:
    house = impatient_house
    good = demo_template(house.image, name="rolled", startup_s=4)
    house.write_manifest("rolled.yaml", good)
    house.write_manifest("rosa.yaml", user_manifest("rosa", template="rolled"))
    until(lambda: house.endpoint("rosa"), "rosa is served")
    house.call("rosa", "disk", text="kept")
    bad = demo_template(house.image, name="rolled", startup_s=4, env={"DEMO_STARTUP_DELAY_S": "600"})
    house.write_manifest("rolled.yaml", bad)
    until(lambda: house.reason("rosa", ConditionType.DEGRADED) == "True RolledBack", "it is rolled back")
    house.serve("rosa")
    assert house.call("rosa", "disk").result["result"] == "kept"
    assert "RolledBack" in house.mcpgw("status").stdout


def _last_end(house: House, user_id: str) -> str:
    last = owner_of(house, user_id).status.last_termination
    return last.reason if last is not None else ""


@pytest.mark.fault(26)
def test_the_ill_are_unrouted_and_the_recovered_routed_again(impatient_house: House, hand: Hand) -> None:
    house = impatient_house
    house.write_manifest("frail.yaml", demo_template(house.image, name="frail", period_s=0.5, failures=10))
    house.write_manifest("flora.yaml", user_manifest("flora", template="frail"))
    endpoint = until(lambda: house.endpoint("flora"), "flora is served")
    container = hand.id_of(house.container_name("flora"))
    control(endpoint, health="fail")
    until(lambda: house.endpoint("flora") == "", "flora is unrouted")
    assert house.reason("flora", ConditionType.READY) == "False Unhealthy"
    held = Aside(lambda: house.call("flora", "whoami"))
    control(endpoint, health="ok")
    answer = held.end().answer
    assert answer is not None
    assert answer.status == 200
    assert hand.id_of(house.container_name("flora")) == container


@pytest.mark.fault(28)
@pytest.mark.fault(29)
def test_a_user_who_is_deleted_in_the_middle_of_a_call_gets_not_another_byte(
    impatient_house: House, hand: Hand
) -> None:
    house = impatient_house
    house.serve("dora")
    house.call("dora", "disk", text="old data")
    old = owner_of(house, "dora")
    name, home = house.container_name("dora"), old.status.home
    slow = Aside(lambda: house.call("dora", "slow", steps=600, interval_s=0.1, label="doomed"))
    until(lambda: house.call("dora", "calls", label="doomed").result["calls"], "the call is under way")
    house.write(lambda tx: tx.delete(_current(tx.get(UserContainer, old.name))))
    until(lambda: slow.is_over, "the call was cut off")
    assert slow.answer is None or b'"result"' not in slow.answer.body
    until(lambda: hand.id_of(name) is None, "the container is gone")
    until(lambda: house.user_container("dora") is None, "the user container is forgotten")
    kept = house.read(lambda tx: tx.get(Home, home))
    assert kept is not None
    assert kept.status.tombstoned_at is not None
    assert (house.homes / home / "data" / "note.txt").read_text() == "old data"

    house.serve("dora")
    assert owner_of(house, "dora").uid != old.uid
    assert house.call("dora", "disk").result["result"] == ""


def _current(owner: UserContainer | None) -> UserContainer:
    assert owner is not None
    return owner
