"""A bridge's MAC address stays what it is while containers come and go, as long as the fence is kept."""

import asyncio
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.fence import bridges
from mcpgw.testing.waiting import until
from tests.mcpgw.fence.rig import PROJECT, kept, said
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
    """Whether it was asked to take an address: then no port changes it. Source: Linux, NET_ADDR_SET."""
    path = f"/sys/class/net/{bridge}/addr_assign_type"
    words = ("ip", "netns", "exec", machine.name, "cat", path)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip() == "3"


@pytest.mark.parametrize("bridge", [INTERNET, SERVICES])
def test_it_stays_on_a_bridge_that_was_there_and_on_one_that_is_made_again(
    machine: Host, tmp_path: Path, bridge: str
) -> None:
    """The project's other bridges are not there."""
    make(machine, bridge)
    join(machine, bridge, "first", LOWER)
    own = mac(machine, bridge)
    join(machine, bridge, "lower", LOWEST)
    assert mac(machine, bridge) != own, "left alone"
    machine.ip("link", "del", "lower")
    with kept(machine, tmp_path):
        until(lambda: keeps(machine, bridge), "the bridge that was there")
        machine.ip("link", "del", "first")
        join(machine, bridge, "lower", LOWEST)
        assert mac(machine, bridge) == own, "nobody on it has to learn another"
        machine.ip("link", "del", bridge)
        make(machine, bridge)
        until(lambda: keeps(machine, bridge), "the one made again")
    own = mac(machine, bridge)
    machine.ip("link", "set", "lower", "master", bridge)
    assert mac(machine, bridge) == own, "by itself, whoever looks after it"
    assert "may change" not in said(tmp_path)


def test_a_bridge_of_somebody_else_is_left_alone(machine: Host, tmp_path: Path) -> None:
    make(machine, FOREIGN)
    with kept(machine, tmp_path):
        make(machine, INTERNET)
        until(lambda: keeps(machine, INTERNET), "ours")
        assert not keeps(machine, FOREIGN)


async def test_what_cannot_be_done_is_said_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    tries = 0

    def refuse() -> list[tuple[int, str]]:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(bridges.socket, "if_nameindex", refuse)
    monkeypatch.setattr(bridges, "AGAIN_S", 0.01)
    keeping = asyncio.create_task(bridges.keep_addresses(["br-x"], lines.append))
    async with asyncio.timeout(30):
        while tries < 3:
            await asyncio.sleep(0.01)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert lines == ["the bridges' MAC addresses may change ([Errno 24] Too many open files)"]
