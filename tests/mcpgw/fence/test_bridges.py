"""A bridge's MAC address stays what it is while containers come and go, as long as the fence is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.testing.waiting import until
from tests.mcpgw.fence.rig import PROJECT, kept
from tests.netns import Host, host

SERVICES, INTERNET, FOREIGN = f"br-{PROJECT}-s", f"br-{PROJECT}", "br-foreign"
LOWEST, LOWER = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def machine() -> Iterator[Host]:
    with host() as made:
        yield made


def make(machine: Host, bridge: str) -> None:
    machine.ip("link", "add", bridge, "type", "bridge")
    machine.ip("link", "set", bridge, "up")


def join(machine: Host, bridge: str, name: str, mac: str) -> None:
    machine.ip("link", "add", name, "address", mac, "type", "veth", "peer", "name", f"{name}-in")
    machine.ip("link", "set", name, "master", bridge, "up")


def mac(machine: Host, bridge: str) -> str:
    words = machine.run("ip", "-o", "link", "show", bridge).split()
    return words[words.index("link/ether") + 1]


def keeps(machine: Host, bridge: str) -> bool:
    """Whether the kernel was told which it has: then no port changes it."""
    own = mac(machine, bridge)
    join(machine, bridge, "probe", LOWEST)
    changed = mac(machine, bridge)
    machine.ip("link", "del", "probe")
    return changed == own


@pytest.mark.parametrize("bridge", [INTERNET, SERVICES])
def test_it_stays_on_a_bridge_that_was_there_and_on_one_that_is_made_again(
    machine: Host, tmp_path: Path, bridge: str
) -> None:
    make(machine, bridge)
    join(machine, bridge, "first", LOWER)
    assert not keeps(machine, bridge), "left alone"
    own = mac(machine, bridge)
    with kept(machine, tmp_path):
        until(lambda: keeps(machine, bridge), "the bridge that was there")
        assert mac(machine, bridge) == own, "nobody on it has to learn another"
        machine.ip("link", "del", "first")
        assert mac(machine, bridge) == own
        machine.ip("link", "del", bridge)
        make(machine, bridge)
        until(lambda: keeps(machine, bridge), "the one made again")
    assert keeps(machine, bridge), "by itself, whoever looks after it"


def test_a_bridge_of_somebody_else_is_left_alone(machine: Host, tmp_path: Path) -> None:
    make(machine, FOREIGN)
    with kept(machine, tmp_path):
        make(machine, INTERNET)
        until(lambda: keeps(machine, INTERNET), "ours")
        assert not keeps(machine, FOREIGN)
