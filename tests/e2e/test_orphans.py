"""What nobody owns is collected if it is ours, and nothing else is, however much it looks alike."""

import secrets

import pytest

from mcpgw.testing.house import House, until
from reconciler.core.container import Identity
from state.kinds.home import HOSTNAME_BYTES, hostname
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

COLLECTED_S_MAX = 240.0  # a minute's grace, and two lists that come every 45 s
NOBODYS = "uid-of-nobody"


def labels(house: House, installation: str) -> dict[str, str]:
    """Of a container whose Home and owner no store knows."""
    home = hostname(secrets.token_bytes(HOSTNAME_BYTES))
    return Identity(house.project, home, NOBODYS, 1, "hash", 1, installation).labels()


def test_our_own_orphan_goes_and_a_neighbours_and_a_strangers_stay(docker_house: House, hand: Hand) -> None:
    house = docker_house
    house.serve("alice")
    installation = (house.homes / "installation").read_text()
    ours = hand.put(f"{house.project}-orphan", labels(house, installation))
    neighbours = hand.put(f"{house.project}-neighbour", labels(house, "another-one"))
    foreign = hand.put_foreign(f"{house.project}-foreign")
    until(lambda: hand.id_of(ours) is None, "our orphan is collected", COLLECTED_S_MAX)
    assert [line["container"] for line in house.log_lines("orphan.collected")] == [f"{house.project}-orphan"]
    assert hand.is_running(neighbours)
    assert hand.is_running(foreign)
    assert house.call("alice", "whoami").status == 200
