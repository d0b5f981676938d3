"""What was stopped, or has lost its store, goes on with the same containers and the same data."""

import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from mcpgw.testing.house import House, PartName, until
from mcpgw.testing.workload import demo_template
from state.kinds.resource import ConditionType
from state.kinds.template import ContainerTemplate
from tests.e2e.aside import Aside
from tests.e2e.conftest import Opener
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

USERS = ("alice", "bob")
PARTS: tuple[PartName, ...] = ("gateway", "reconciler")


def lived_in(house: House) -> None:
    """Every user has something in memory and something on disk."""
    for user in USERS:
        house.serve(user)
        assert house.call(user, "counter").result["result"] == 1
        assert house.call(user, "disk", text=f"kept by {user}").status == 200


def assert_nothing_was_lost(house: House) -> None:
    """The same process still counts, and the data are the user's own."""
    for user in USERS:
        house.serve(user)
        assert house.call(user, "counter").result["result"] == 2
        assert house.call(user, "disk").result["result"] == f"kept by {user}"


def test_what_was_ended_in_order_is_adopted_as_it_is(open_house: Opener, hand: Hand) -> None:
    with open_house() as house:
        lived_in(house)
        before = hand.ids(house)
        assert (house.gateway.stop(), house.reconciler.stop()) == (0, 0)
        assert hand.ids(house) == before
        house.start()
        assert_nothing_was_lost(house)
        assert hand.ids(house) == before


def test_a_lost_store_is_rebuilt_from_the_claims_and_no_container_is_touched(
    open_house: Opener, hand: Hand
) -> None:
    with open_house() as house:
        lived_in(house)
        before = hand.ids(house)
        house.stop()
        shutil.rmtree(house.environment["STATE_DIR"])
        Path(house.environment["STATE_DIR"]).mkdir()
        house.start()
        until(lambda: all(house.endpoint(user) for user in USERS), "both are routed again")
        house.let_in()
        assert_nothing_was_lost(house)
        assert hand.ids(house) == before
        frozen = partial(house.reconcilers_condition, ConditionType.DESTRUCTION_FROZEN)
        said = until(frozen, "it says whether removals are held back")
        assert said.startswith("False"), "nothing is newer than a store that begins anew"


@pytest.mark.fault(16)
def test_whoever_comes_before_an_old_store_was_completed_finds_their_own_data(open_house: Opener) -> None:
    """The gateway, up sooner, takes them for somebody new."""
    with open_house() as house:
        house.serve("alice")
        house.stop()
        backup = shutil.copytree(house.environment["STATE_DIR"], house.folder / "backup")
        house.start()
        house.serve("bob")
        assert house.call("bob", "disk", text="kept by bob").status == 200
        house.stop()
        shutil.rmtree(house.environment["STATE_DIR"])
        shutil.copytree(backup, house.environment["STATE_DIR"])
        house.gateway.start()
        house.wait_ready("gateway")
        early = Aside(lambda: house.call("bob", "disk"))
        until(lambda: house.user_container("bob"), "bob is on record as somebody new")
        house.reconciler.start()
        early.end()
        house.serve("bob")
        assert house.call("bob", "disk").result["result"] == "kept by bob"


def test_what_is_killed_under_up_comes_back_without_a_hand(open_house: Opener, hand: Hand) -> None:
    with open_house(begin="up") as house:
        lived_in(house)
        before = hand.ids(house)
        for part in PARTS:
            killed = house.kill(part)
            until(lambda part=part, killed=killed: house.pid(part) not in (None, killed), f"the next {part}")
            house.wait_ready()
        assert_nothing_was_lost(house)
        assert hand.ids(house) == before


def test_a_store_removed_under_both_processes_is_noticed_and_rebuilt(open_house: Opener, hand: Hand) -> None:
    """They would go on writing into a file that nobody sees any more."""
    with open_house(begin="up") as house:
        lived_in(house)
        before, pids = hand.ids(house), {part: house.pid(part) for part in PARTS}
        for file in Path(house.environment["STATE_DIR"]).glob("state.db*"):
            file.unlink()
        for part, pid in pids.items():
            until(lambda part=part, pid=pid: house.pid(part) not in (None, pid), f"the next {part}")
        house.wait_ready()
        until(lambda: all(house.endpoint(user) for user in USERS), "both are routed again")
        house.let_in()
        assert_nothing_was_lost(house)
        assert hand.ids(house) == before
        whys = [line.get("why", "") for line in house.log_lines()]
        assert [why for why in whys if "was replaced while it was in use" in why]


def test_the_reconciler_is_ready_only_when_the_manifests_were_read_once(open_house: Opener) -> None:
    """Until then whoever signs in would be told that their template does not exist."""
    with open_house(begin="nothing") as house:
        is_over = threading.Event()

        def never_rest() -> None:
            rounds_count = 0
            while not is_over.wait(0.01):  # the folder's reader waits for a file to rest, up to a second
                rounds_count += 1
                text = demo_template(house.image, name="restless", env={"ROUND": str(rounds_count)})
                house.write_manifest("restless.yaml", text)

        writer = threading.Thread(target=never_rest)
        writer.start()
        try:
            house.reconciler.start()
            house.wait_ready("reconciler")
            assert house.read(lambda tx: tx.get(ContainerTemplate, "demo")) is not None
        finally:
            is_over.set()
            writer.join()
