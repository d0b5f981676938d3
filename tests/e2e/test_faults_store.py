"""The store is locked, two reconcilers want it, a worker sleeps through an address's end."""

import http.client
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from mcpgw.testing.calls import META, mcp_headers
from mcpgw.testing.house import House, free_port, until
from mcpgw.testing.ports import container_ports
from mcpgw.testing.programs import Program
from tests.e2e.aside import Aside
from tests.e2e.conftest import HOLD_S, opened
from tests.e2e.hand import Hand
from tests.e2e.statefile import live_workers, locked
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

LEASE_S = 10.0


@pytest.mark.fault(15)
def test_a_locked_store_stops_nobody_who_is_served_and_makes_nothing_unrecorded(
    real_engine: RealEngine, tmp_path: Path, hand: Hand
) -> None:
    with opened(real_engine, tmp_path, {"HOLD_TIMEOUT_S": str(HOLD_S)}, begin="up") as house:
        house.serve("alice")
        house.serve("bob")
        bobs = house.container_name("bob")
        before, id_before = hand.ids(house), hand.id_of(bobs)
        with locked(house):
            hand.remove(bobs)
            newcomer = Aside(lambda: house.call("newcomer", "whoami"))
            for _ in range(50):  # known routes work for as long as the workers' leases run
                assert house.call("alice", "counter").status == 200
            told = newcomer.end().answer
            assert told is not None
            assert (told.status, told.message["reason"]) == (503, "StoreUnavailable")
            assert hand.ids(house) == before - {id_before}  # made anew only once that can be put on record
        for name in ("newcomer", "alice", "bob"):
            house.serve(name)
        assert len(hand.ids(house)) == 3
        assert "Traceback" not in house.log_path.read_text()


@pytest.fixture
def second(shared_house: House) -> Iterator[Program]:
    """Another reconciler of the same house, not started yet."""
    bind = {"RECONCILER_PRIVATE_BIND": f"127.0.0.1:{free_port()}"}
    first = shared_house.reconciler
    program = replace(first, environment={**first.environment, **bind}, running=None)
    yield program
    program.stop()


@pytest.mark.fault(19)
@pytest.mark.fault(20)
def test_of_two_reconcilers_one_acts_and_one_that_slept_has_nothing_to_say(
    shared_house: House, second: Program, hand: Hand
) -> None:
    house = shared_house
    house.serve("alice")
    second.start()
    until(lambda: house.log_lines("leadership.awaited"), "the second one waits")
    os.kill(house.reconciler.pid, signal.SIGSTOP)
    try:
        until(lambda: len(house.log_lines("leadership.acquired")) == 2, "the second one leads")
        house.serve("bob")
        alice = hand.id_of(house.container_name("alice"))
        hand.remove(house.container_name("alice"))
        until(
            lambda: hand.id_of(house.container_name("alice")) not in (alice, None), "alice's is there again"
        )
    finally:
        os.kill(house.reconciler.pid, signal.SIGCONT)
    until(lambda: not house.reconciler.runs, "the first one ends")
    house.serve("carol")
    names = [one["Names"][0] for one in hand.containers(house)]
    assert len(names) == len(set(names)) == 3
    house.reconciler.start()
    until(lambda: len(house.log_lines("leadership.awaited")) >= 2, "the first one waits now")


@pytest.mark.fault(37)
def test_an_address_rests_until_a_sleeping_worker_can_no_longer_use_it(
    real_engine: RealEngine, tmp_path: Path
) -> None:
    """Two addresses for three users; a worker that knew the old holder of one wakes up after the change."""
    ports = container_ports()
    settings = {
        "GATEWAY_WORKERS": "2",
        "HOLD_TIMEOUT_S": str(HOLD_S),
        "CONTAINER_PORT_RANGE": f"{ports.start}-{ports.start + 1}",
    }
    with opened(real_engine, tmp_path, settings) as house, ExitStack() as stack:
        house.serve("stayer")
        gone = house.serve("leaver")
        lines = [stack.enter_context(_Line(house, "leaver")) for _ in range(12)]
        for line in lines:
            line.ask()
            assert gone in line.answer()
        worker = _busiest_worker(house)
        until(lambda: len(live_workers(house)) == 2, "both workers are alive")
        os.kill(worker, signal.SIGSTOP)
        asleep_at = time.monotonic()
        try:
            for line in lines:
                line.ask()  # the sleeping worker gets to read some of them when it wakes up
            leaver = house.user_container("leaver")
            assert leaver is not None
            house.delete_users(leaver.name)
            newcomer = Aside(lambda: house.call("newcomer", "whoami"))
            until(lambda: house.incarnations("newcomer"), "the newcomer gets the address")
            assert len(live_workers(house)) == 1
            assert time.monotonic() - asleep_at < 6 * LEASE_S
            name = house.serve("newcomer")
            assert any(line.is_unanswered for line in lines), "the sleeping worker has read none of some"
        finally:
            os.kill(worker, signal.SIGCONT)
        newcomer.end()
        assert not any(name in line.answer() for line in lines)


class _Line:
    """A connection that is kept open, on which a user asks who answers."""

    def __init__(self, house: House, user_id: str) -> None:
        host, port = house.environment["GATEWAY_BIND"].split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=6 * LEASE_S)
        self._headers = {**mcp_headers("tools/call", "whoami"), **house.headers(user_id)}

    def ask(self) -> None:
        params = {"name": "whoami", "arguments": {}, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        self._connection.request("POST", "/mcp", json.dumps(body), self._headers)

    @property
    def is_unanswered(self) -> bool:
        return not select.select([self._connection.sock], [], [], 0)[0]

    def answer(self) -> str:
        """What came; nothing where the connection was broken off."""
        try:
            return self._connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _busiest_worker(house: House) -> int:
    """The one of the gateway's workers that has the most connections."""
    workers = [pid for pid, line in house.gateway.children().items() if "spawn_main" in line]
    return max(workers, key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir())))
