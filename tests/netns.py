"""Another host, as far as the network goes: a namespace of the test's own, linked to this one or to others.

What is in one of them sees its own interfaces, routes and rules alone; it goes with the test.
"""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.testing.waiting import until

COMMAND_S_MAX = 30.0
ANSWER_S_MAX = 3
OUTSIDE = IPv4Network("203.0.113.0/24")
"""Looks public, and is nobody's. Source: RFC 5737, TEST-NET-3."""

_SERVE = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"outside")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", {port}), Answer).serve_forever()
"""
_ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout={seconds}).read().decode())"


@dataclass
class Host:
    """``name`` is the namespace's; what is run in it ends with it."""

    name: str
    _ends: ExitStack = field(default_factory=ExitStack)

    def run(self, *command: str) -> str:
        """What a command prints that is run there. Raises CalledProcessError."""
        return _run("nsenter", f"--net=/run/netns/{self.name}", *command)

    def ip(self, *words: str) -> None:
        _run("ip", "-n", self.name, *words)

    def forward(self) -> None:
        """Be a router."""
        self.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

    def masquerade(self, interface: str) -> None:
        """Let what goes out by the interface come from its own address."""
        chain = f"type nat hook postrouting priority 100; oifname {interface} masquerade;"
        self.run("nft", f"table ip nat {{ chain out {{ {chain} }}; }}")

    def serve(self, port: int) -> None:
        """Answer GET with 200 and "outside" at all of its addresses."""
        command = ("nsenter", f"--net=/run/netns/{self.name}", sys.executable, "-c", _SERVE.format(port=port))
        server = self._ends.enter_context(subprocess.Popen(command))
        self._ends.callback(server.kill)
        until(lambda: self.get(f"http://127.0.0.1:{port}/") == "outside", f"{self.name} answers")

    def get(self, url: str) -> str:
        """What a GET from there is answered; "" if it is not."""
        ask = _ASK.format(seconds=ANSWER_S_MAX)
        try:
            return self.run(sys.executable, "-c", ask, url).strip()
        except subprocess.CalledProcessError:
            return ""

    def close(self) -> None:
        self._ends.close()
        _run("ip", "netns", "del", self.name)  # its links go with it


@contextmanager
def host() -> Iterator[Host]:
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("sysctl", "procps")):
        if found(program) is None:
            debian.install((package,), why="hosts of a test's own")
    made = Host(f"h{secrets.token_hex(4)}")
    _run("ip", "netns", "add", made.name)
    try:
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        made.close()


@contextmanager
def host_outside() -> Iterator[tuple[Host, IPv4Address]]:
    """A host that this one has a route to, at an address that looks public; it knows the way back."""
    here, there = secrets.choice(list(OUTSIDE.subnets(new_prefix=30))).hosts()
    with host() as made:
        mine, theirs = f"{made.name}a", f"{made.name}b"
        _run("ip", "link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", made.name)
        _run("ip", "addr", "add", f"{here}/30", "dev", mine)
        _run("ip", "link", "set", mine, "up")
        made.ip("addr", "add", f"{there}/30", "dev", theirs)
        made.ip("link", "set", theirs, "up")
        made.ip("route", "add", "default", "via", str(here))
        yield made, there


def attach(made: Host, bridge: str, address: str) -> str:
    """Put the host on one of this system's bridges; what its interface is called there."""
    mine, theirs = f"{made.name}c", f"{made.name}d"
    _run("ip", "link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", made.name)
    _run("ip", "link", "set", mine, "master", bridge, "up")
    made.ip("addr", "add", address, "dev", theirs)
    made.ip("link", "set", theirs, "up")
    return theirs


def link(one: Host, address: str, other: Host, other_address: str) -> None:
    """A cable between two of them."""
    first, second = f"{one.name}e", f"{other.name}f"
    _run("ip", "link", "add", first, "netns", one.name, "type", "veth", "peer", second, "netns", other.name)
    for end, name, at in ((one, first, address), (other, second, other_address)):
        end.ip("addr", "add", at, "dev", name)
        end.ip("link", "set", name, "up")


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMMAND_S_MAX)
    return done.stdout
