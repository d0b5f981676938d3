"""``isolation.neighbour``: what other users notice while one user's container does its worst.

Real containers on Docker behind the real gateway: the median latency of the others' calls during each
attack, over the same without any, in turns. The worst attack's ratio is the figure. Calls are paced: users
who call as fast as they are answered would take the whole machine themselves, and a ratio would only tell
that it is shared.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from bench.results import Sample
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.testing.house import House, house, until
from mcpgw.testing.ports import free_port

ROUNDS = 5
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
ATTACKS = {
    "fork bomb": _FORK_BOMB,
    "memory bomb": _MEMORY_BOMB,
    "log flood": _LOG_FLOOD,
    "disk fill": _DISK_FILL,
    "connection flood": _CONNECTION_FLOOD,
}


def run(_out: Path, *, quick: bool) -> list[Sample]:
    engine = ensure_docker()
    image = ensure_demo_image(engine)
    port = free_port()
    # Reached from inside as well, so that the flood of connections arrives: no fence stands here.
    settings = {"GATEWAY_BIND": f"0.0.0.0:{port}", "GATEWAY_ORIGIN": f"http://localhost:{port}"}
    calm: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in ATTACKS}
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), engine, image, settings) as built:
        for user in (ATTACKER, *OTHERS):
            built.serve(user)
        api = docker.APIClient(base_url=engine.url, version=API_VERSION)
        for _ in range(ROUNDS_QUICK if quick else ROUNDS):
            for name, script in ATTACKS.items():
                built.serve(ATTACKER)
                time.sleep(SETTLE_S)
                before_ms = _median_ms(built)
                with _attacking(api, built, script, port):
                    ratios[name].append(_median_ms(built) / before_ms)
                calm.append(before_ms)
        api.close()
    worst = max(ratios, key=lambda name: statistics.median(ratios[name]))
    told = ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in ratios.items())
    how = (
        f"{len(OTHERS)} users' calls by way of the gateway, each {1 / PACE_S:g} a second, Docker, "
        f"{len(ratios[worst])} rounds in turns; "
        f"without an attack {statistics.median(calm):.1f} ms; ratio by attack: {told}"
    )
    beside = {f"{name} ratio": tuple(each) for name, each in ratios.items()}
    return [Sample("isolation.neighbour", tuple(ratios[worst]), how, beside)]


@contextmanager
def _attacking(api: docker.APIClient, built: House, script: str, port: int) -> Iterator[None]:
    """While the attacker's container runs the script; it ends with its container, which is made anew."""
    name = built.container_name(ATTACKER)
    [network] = api.inspect_container(name)["NetworkSettings"]["Networks"].values()
    text = script.format(seconds=ATTACK_S, gateway=network["Gateway"], port=port)
    made = api.exec_create(name, ["python3", "-c", text])
    api.exec_start(made["Id"], detach=True)
    time.sleep(SETTLE_S)
    try:
        yield
    finally:
        # A container that ran out of memory may have been made anew meanwhile, and is a calm one then.
        until(lambda: _is_removed(api, name), "the attacker's container is gone")


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

    users = [threading.Thread(target=use, args=(user,)) for user in OTHERS]
    for one in users:
        one.start()
    for one in users:
        one.join()
    return statistics.median(taken)
