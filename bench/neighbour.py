"""``isolation.neighbour``: what other users notice while one user's container does its worst.

Real containers of each engine behind the real gateway: the median latency of the others' calls during each
attack, over the same without any, in turns. Some attacks are a container's, some come from outside; each has
to be under way still when it was measured. The worst one's ratio is the figure. Calls are paced: users who
call as fast as they are answered would take the whole machine themselves, and a ratio would only tell that it
is shared. So is what comes from outside, as whoever sends it runs on this machine too.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from bench.results import Sample
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.bootstrap.engine_api import Engine
from mcpgw.bootstrap.podman import ensure_podman
from mcpgw.testing.house import House, house, until
from mcpgw.testing.ports import free_port

ROUNDS = 3
ROUNDS_QUICK = 1
MEASURED_S = 4.0
PACE_S = 0.05  # between the beginnings of a user's calls
SETTLE_S = 1.0
ATTACK_S = 60
API_VERSION = "1.41"
ATTACKER, OTHERS = "mallory", ("bob", "carol")

_FORK_BOMB = """
import os, time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    try:
        if os.fork() == 0:
            while time.monotonic() < until:
                pass
            os._exit(0)
    except OSError:
        time.sleep(0.001)
"""
_MEMORY_BOMB = """
import os, time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    if os.fork() == 0:
        held = []
        while True:
            held.append(bytearray(b"x") * (1 << 20))
    os.wait()
"""
_LOG_FLOOD = """
import time
until = time.monotonic() + {seconds}
with open("/proc/1/fd/1", "wb", buffering=0) as out:
    while time.monotonic() < until:
        out.write((b"x" * 1023 + b"\\n") * 64)
"""
_DISK_FILL = """
import os, time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    with open("/data/fill", "wb", buffering=0) as file:
        for _ in range(256):
            file.write(bytes(1 << 20))
    os.unlink("/data/fill")
"""
_CONNECTION_FLOOD = """
import socket, time
until = time.monotonic() + {seconds}
held = []
while time.monotonic() < until:
    try:
        one = socket.create_connection(("{gateway}", {port}), 1)
        one.send(b"GET / HTTP/1.1\\r\\n")
        held.append(one)
    except OSError:
        time.sleep(0.01)
    if len(held) > 2000:
        for one in held:
            one.close()
        held.clear()
"""
# From outside, at the public port. Each says a line once all of it is there.
_HELD = """
import resource, socket, time
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held, told = [], False
until = time.monotonic() + {seconds}
def hold():
    one = socket.create_connection(("127.0.0.1", {port}), 5)
    one.setblocking(False)
    one.send({begins})
    held.append(one)
while time.monotonic() < until:
    try:
        while len(held) < {count}:
            hold()
        if not told:
            print("held", flush=True)
            told = True
    except OSError:
        pass
    for one in list(held):
        try:
            one.send({drips})
        except OSError:
            held.remove(one)
    time.sleep(1)
"""
_REFUSED = """
import socket, time
until = time.monotonic() + {seconds}
heads = (
    b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n",
    b"POST /mcp HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 4\\r\\nContent-Length: 5\\r\\n\\r\\nabcd",
    b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: a\\r\\n b\\r\\n\\r\\n",
    b"POST /mcp HTTP/1.1\\r\\nHost: localhost\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n",
    b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: " + b"x" * (1 << 20) + b"\\r\\n\\r\\n",
    b"GET /%2e%2e/..%2f HTTP/1.1\\r\\nHost: evil.example\\r\\nOrigin: https://evil.example\\r\\n\\r\\n",
)
sent = 0
while time.monotonic() < until:
    try:
        with socket.create_connection(("127.0.0.1", {port}), 5) as one:
            one.sendall(heads[sent % len(heads)])
            one.recv(1)
    except OSError:
        pass
    sent += 1
    if sent == len(heads):
        print("sent", flush=True)
    time.sleep(1 / {per_s})
"""
INSIDE = {
    "fork bomb": _FORK_BOMB,
    "memory bomb": _MEMORY_BOMB,
    "log flood": _LOG_FLOOD,
    "disk fill": _DISK_FILL,
    "connection flood": _CONNECTION_FLOOD,
}
OUTSIDE = {
    "10,000 idle connections": _HELD.replace("{count}", "10_000")
    .replace("{begins}", 'b""')
    .replace("{drips}", 'b""'),
    "500 slow clients": _HELD.replace("{count}", "500")
    .replace("{begins}", 'b"POST /mcp HTTP/1.1\\r\\nX: "')
    .replace("{drips}", 'b"x"'),
    "100 malformed requests a second": _REFUSED.replace("{per_s}", "100"),
}


def run(_out: Path, *, quick: bool) -> list[Sample]:
    measured = {
        one.name: _measured(one, ROUNDS_QUICK if quick else ROUNDS)
        for one in (ensure_docker(), ensure_podman())
    }
    ratios = {
        f"{attack}, {engine}": each
        for engine, taken in measured.items()
        for attack, each in taken.ratios.items()
    }
    worst = max(ratios, key=lambda name: statistics.median(ratios[name]))
    told = ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in ratios.items())
    calm = ", ".join(
        f"{statistics.median(taken.calm_ms):.1f} ms ({name})" for name, taken in measured.items()
    )
    how = (
        f"{len(OTHERS)} users' calls by way of the gateway, each {1 / PACE_S:g} a second, "
        f"{len(ratios[worst])} rounds in turns; without an attack {calm}; ratio by attack: {told}"
    )
    beside = {f"{name} ratio": tuple(each) for name, each in ratios.items()}
    return [Sample("isolation.neighbour", tuple(ratios[worst]), how, beside)]


@dataclass(frozen=True, slots=True)
class _Measured:
    """On one engine; ``ratios`` by attack, one of each round."""

    calm_ms: list[float]
    ratios: dict[str, list[float]]


def _measured(engine: Engine, rounds: int) -> _Measured:
    image, port = ensure_demo_image(engine), free_port()
    # Reached from inside as well, so that the flood of connections arrives: no fence stands here.
    settings = {"GATEWAY_BIND": f"0.0.0.0:{port}", "GATEWAY_ORIGIN": f"http://localhost:{port}"}
    measured = _Measured([], {name: [] for name in (*INSIDE, *OUTSIDE)})
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), engine, image, settings) as built:
        for user in (ATTACKER, *OTHERS):
            built.serve(user)
        api = docker.APIClient(base_url=engine.url, version=API_VERSION)
        for _ in range(rounds):
            for name, ratios in measured.ratios.items():
                built.serve(ATTACKER)
                time.sleep(SETTLE_S)
                calm_ms = _median_ms(built)
                attack = (
                    _from_inside(api, built, INSIDE[name], port)
                    if name in INSIDE
                    else _from_outside(OUTSIDE[name], port)
                )
                with attack:
                    ratios.append(_median_ms(built) / calm_ms)
                measured.calm_ms.append(calm_ms)
        api.close()
    return measured


@contextmanager
def _from_inside(api: docker.APIClient, built: House, script: str, port: int) -> Iterator[None]:
    """While the attacker's container runs the script; it ends with its container, which is made anew."""
    name = built.container_name(ATTACKER)
    [network] = api.inspect_container(name)["NetworkSettings"]["Networks"].values()
    text = script.format(seconds=ATTACK_S, gateway=network["Gateway"], port=port)
    made = api.exec_create(name, ["python3", "-c", text])
    api.exec_start(made["Id"], detach=True)
    time.sleep(SETTLE_S)
    try:
        yield
        assert api.exec_inspect(made["Id"])["Running"], "the attack was over before it was measured"
    finally:
        # A container that ran out of memory may have been made anew meanwhile, and is a calm one then.
        until(lambda: _is_removed(api, name), "the attacker's container is gone")


@contextmanager
def _from_outside(script: str, port: int) -> Iterator[None]:
    """While a process beside the gateway runs the script."""
    text = script.format(seconds=ATTACK_S, port=port)
    with subprocess.Popen((sys.executable, "-c", text), stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            assert attacker.stdout.readline(), "the attack never began"
            yield
            assert attacker.poll() is None, "the attack was over before it was measured"
        finally:
            attacker.kill()


def _is_removed(api: docker.APIClient, name: str) -> bool:
    try:
        api.remove_container(name, force=True)
    except docker.errors.NotFound:
        return True
    except docker.errors.APIError:
        return False  # another removal is under way
    return True


def _median_ms(built: House) -> float:
    """Of the calls that all the others make at the same time, each at its pace."""
    taken: list[float] = []
    until_at = time.monotonic() + MEASURED_S

    def use(user: str) -> None:
        while time.monotonic() < until_at:
            began_at = time.monotonic()
            answer = built.call(user, "echo", text="hello")
            assert answer.result["result"] == "hello", "the others are served"
            taken.append((time.monotonic() - began_at) * 1000)
            time.sleep(max(0.0, began_at + PACE_S - time.monotonic()))

    with ThreadPoolExecutor(len(OTHERS)) as users:
        list(users.map(use, OTHERS))
    return statistics.median(taken)
