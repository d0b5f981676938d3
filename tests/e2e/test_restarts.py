"""What was stopped, or has lost its store, goes on with the same containers and the same data."""

import shutil
from pathlib import Path

import pytest

from mcpgw.testing.house import House, until
from tests.e2e.conftest import Opener
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

USERS = ("alice", "bob")


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
