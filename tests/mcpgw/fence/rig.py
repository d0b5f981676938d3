"""A host of containers that consists of namespaces: bridges as an engine makes them, and hosts around it.

Everybody echoes what is sent to them, over TCP and UDP, so that who reaches whom can be asked from anywhere.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from mcpgw.fence.ruleset import Ruleset, ruleset
from mcpgw.testing.waiting import until
from reconciler.core.zones import Zone, zones
from state.kinds.template import Egress
from state.setting_values import ProxyUrl
from tests.netns import Host, host

ROOT = Path(__file__).resolve().parents[3]
PROJECT = "fenced"
SUBNET = IPv4Network("10.211.7.0/24")
PORT = 8000
PROXY = ProxyUrl(IPv4Address("10.211.8.3"), PORT)
GATEWAY = IPv4Address("10.211.7.2")
LAN_HERE, LAN = "192.168.77.1", "192.168.77.2"
PUBLIC_HERE, PUBLIC = "203.0.113.1", "203.0.113.2"
METADATA_HERE, METADATA = "169.254.169.253", "169.254.169.254"
# One of each private range, all of which the LAN has too.
ELSEWHERE = ("10.9.9.9", "100.64.9.9", "168.63.129.16", "172.16.9.9", "192.0.0.9", "198.18.9.9")
OWN6 = "fd00:7::1"
PROBE_S_MAX = 2.0
BRIDGE_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

ECHO = """
import asyncio, socket, sys
class Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, address): self.transport.sendto(data, address)
async def echo(reader, writer):
    while data := await reader.read(1024):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    loop = asyncio.get_running_loop()
    for port in map(int, sys.argv[1:]):
        listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        await asyncio.start_server(echo, sock=listening)
        await loop.create_datagram_endpoint(Udp, local_addr=("::", port))
    await asyncio.Event().wait()
asyncio.run(main())
"""
PROBE = """
import asyncio, json, socket, sys
targets, within_s = json.loads(sys.argv[1]), float(sys.argv[2])
async def reaches(kind, to, port, source):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                if source: sock.bind((source, 0))
                if kind == "tcp":
                    await loop.sock_connect(sock, (to, port))
                    await loop.sock_sendall(sock, b"x")
                else:  # whoever has several addresses answers from any of them
                    await loop.sock_sendto(sock, b"x", (to, port))
                return await loop.sock_recv(sock, 1) == b"x"
        except (OSError, TimeoutError):
            return False
async def main():
    print(json.dumps(await asyncio.gather(*(reaches(*one) for one in targets))))
asyncio.run(main())
"""
_CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as sock:
    for line in sys.stdin:
        try:
            sock.sendall(b"x")
            print(sock.recv(1) == b"x", flush=True)
        except OSError:
            print(False, flush=True)
"""


@dataclass(frozen=True)
class To:
    """Where a packet goes, and the address it says it comes from."""

    address: str
    port: int = PORT
    kind: str = "tcp"
    source: str = ""


@dataclass
class Scene:
    """``machine`` has the bridges; the others are by their names."""

    machine: Host
    zones: dict[Egress, Zone]
    hosts: dict[str, Host] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def rules(
        self,
        *,
        trusted: Collection[IPv4Address] = (GATEWAY,),
        proxy: ProxyUrl | None = PROXY,
        resolvers: Collection[IPv4Address] = (IPv4Address(LAN),),
        names_at_bridge: bool = False,
    ) -> Ruleset:
        return ruleset(
            PROJECT,
            self.zones,
            trusted=trusted,
            proxy=proxy,
            resolvers=resolvers,
            names_at_bridge=names_at_bridge,
        )

    def fence(self, rules: Ruleset) -> None:
        self.machine.run("nft", rules.text())

    def to(self, name: str, port: int = PORT, kind: str = "tcp", source: str = "") -> To:
        return To(self.addresses[name], port, kind, source)

    def reached(self, by: str, *targets: To) -> list[To]:
        """Which of the targets echo what ``by`` sends to them."""
        who = self.machine if by == "machine" else self.hosts[by]
        return answering(targets, who.run(sys.executable, *probe(targets)))

    @contextmanager
    def call(self, by: str, to: To) -> Iterator["Call"]:
        """A connection that stays open."""
        words = (*_inside(self.hosts[by]), sys.executable, "-c", _CALL, to.address, str(to.port))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield Call(process)
            process.kill()


def probe(targets: Sequence[To]) -> tuple[str, ...]:
    """What any Python has to be given to ask them all at once."""
    asked = json.dumps([[one.kind, one.address, one.port, one.source] for one in targets])
    return ("-c", PROBE, asked, str(PROBE_S_MAX))


def answering(targets: Sequence[To], printed: str) -> list[To]:
    """Which of them did, by what the probe printed."""
    return [target for target, is_reached in zip(targets, json.loads(printed), strict=True) if is_reached]


@dataclass
class Call:
    process: "subprocess.Popen[str]"

    def echoes(self) -> bool:
        """Whether what is sent now comes back."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip() == "True"


@contextmanager
def scene() -> Iterator[Scene]:
    """Containers alice and bob, proxied and closed; the proxy; the gateway; a LAN, a cloud's metadata, the
    public internet."""
    with ExitStack() as ends:
        machine = ends.enter_context(host())
        made = Scene(machine, zones(PROJECT, SUBNET))
        machine.forward()
        for zone in made.zones.values():
            machine.ip("link", "add", zone.bridge, "type", "bridge")
            machine.ip("addr", "add", f"{zone.subnet[1]}/{zone.subnet.prefixlen}", "dev", zone.bridge)
            machine.ip("link", "set", zone.bridge, "up")
        machine.ip("addr", "add", f"{OWN6}/64", "dev", made.zones[Egress.INTERNET].bridge, "nodad")
        inside = {
            "alice": (Egress.INTERNET, 11),
            "bob": (Egress.INTERNET, 12),
            "gateway": (Egress.INTERNET, 2),
            "proxied": (Egress.PROXY, 11),
            "proxy": (Egress.PROXY, 3),
            "closed": (Egress.NONE, 11),
            "neighbour": (Egress.NONE, 12),
        }
        for name, (egress, number) in inside.items():
            _attach(made, ends, name, made.zones[egress], number)
        made.hosts["alice"].ip("addr", "add", "fd00:7::11/64", "dev", "eth0", "nodad")
        for name, here, there in (
            ("lan", LAN_HERE, LAN),
            ("public", PUBLIC_HERE, PUBLIC),
            ("metadata", METADATA_HERE, METADATA),
        ):
            _link(made, ends, name, here, there)
        for address in ELSEWHERE:
            made.hosts["lan"].ip("addr", "add", f"{address}/32", "dev", "eth0")
            machine.ip("route", "add", f"{address}/32", "via", LAN)
        for one in (machine, *made.hosts.values()):
            _serve(one, ends, PORT, 53)
        for name in made.hosts:
            until(lambda name=name: made.reached(name, To("127.0.0.1")), f"{name} echoes")  # type: ignore[misc]
        yield made


def bridges_see_routing(machine: Host, *, is_on: bool) -> None:
    """Whether what passes between two ports of a bridge meets the rules for what is routed, too."""
    machine.run("sysctl", "-q", "-w", f"net.bridge.bridge-nf-call-iptables={int(is_on)}")


def run_verb(machine: Host, folder: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """`mcpgw fence …` as root of the machine."""
    return subprocess.run(
        (*_inside(machine), sys.executable, "-m", "mcpgw", "fence", *words),
        cwd=folder,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def environment(folder: Path, **settings: str) -> dict[str, str]:
    own = {
        "CONTAINER_PROJECT_NAME": PROJECT,
        "CONTAINER_SUBNET_PREFIX": str(SUBNET),
        "CONTAINER_ADDRESSING": "network",
        "STATE_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **own, **settings}


def _attach(made: Scene, ends: ExitStack, name: str, zone: Zone, number: int) -> None:
    one, address = ends.enter_context(host()), zone.subnet[number]
    port = f"v{name[:6]}{number}"
    made.machine.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", one.name)
    made.machine.ip("link", "set", port, "master", zone.bridge, "up")
    _address(one, f"{address}/{zone.subnet.prefixlen}", str(zone.subnet[1]))
    made.hosts[name], made.addresses[name] = one, str(address)


def _link(made: Scene, ends: ExitStack, name: str, here: str, there: str) -> None:
    one = ends.enter_context(host())
    made.machine.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", one.name)
    made.machine.ip("addr", "add", f"{here}/30", "dev", name)
    made.machine.ip("link", "set", name, "up")
    _address(one, f"{there}/30", here)
    made.hosts[name], made.addresses[name] = one, there


def _address(one: Host, address: str, router: str) -> None:
    one.ip("addr", "add", address, "dev", "eth0")
    one.ip("link", "set", "eth0", "up")
    one.ip("route", "add", "default", "via", router)


def _serve(one: Host, ends: ExitStack, *ports: int) -> None:
    words = (*_inside(one), sys.executable, "-c", ECHO, *map(str, ports))
    server = ends.enter_context(subprocess.Popen(words))
    ends.callback(server.kill)


def _inside(one: Host) -> tuple[str, ...]:
    return ("nsenter", f"--net=/run/netns/{one.name}")


@contextmanager
def kept(machine: Host, folder: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`mcpgw fence --keep`, once it says that the fence stands."""
    words = (*_inside(machine), sys.executable, "-m", "mcpgw", "fence", "--keep")
    with (folder / "keep.log").open("wb") as log:
        keeping = subprocess.Popen(
            words, cwd=folder, env=environment(folder, **settings), stdout=log, stderr=log
        )
    try:
        until(lambda: "the fence stands" in said(folder) or keeping.poll() is not None, "it stands")
        yield keeping
    finally:
        keeping.kill()
        keeping.wait()


def said(folder: Path) -> str:
    return (folder / "keep.log").read_text()
