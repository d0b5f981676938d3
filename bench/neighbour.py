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
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import docker

from bench.attacks import INSIDE, OUTSIDE
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
TOLD_S_MAX = 20.0
API_VERSION = "1.41"
ATTACKER, OTHERS = "mallory", ("bob", "carol")


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
        f"{len(ratios[worst])} rounds in turns, without a fence; without an attack {calm}; "
        f"ratio by attack: {told}"
    )
    beside = {f"{name} ratio": tuple(each) for name, each in ratios.items()} | {
        f"{attack}, {engine}, done per s": tuple(each)
        for engine, taken in measured.items()
        for attack, each in taken.force.items()
    }
    return [Sample("isolation.neighbour", tuple(ratios[worst]), how, beside)]


@dataclass(frozen=True, slots=True)
class _Measured:
    """On one engine. By attack and round: the ratio, and what the attack did in a second."""

    calm_ms: list[float]
    ratios: dict[str, list[float]]
    force: dict[str, list[float]]


def _measured(engine: Engine, rounds: int) -> _Measured:
    image, port = ensure_demo_image(engine), free_port()
    # Reached from inside as well, so that the flood of connections arrives: no fence stands here.
    settings = {"GATEWAY_BIND": f"0.0.0.0:{port}", "GATEWAY_ORIGIN": f"http://localhost:{port}"}
    names = (*INSIDE, *OUTSIDE)
    measured = _Measured([], {name: [] for name in names}, {name: [] for name in names})
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), engine, image, settings) as built:
        for user in (ATTACKER, *OTHERS):
            built.serve(user)
        api = docker.APIClient(base_url=engine.url, version=API_VERSION)
        for _ in range(rounds):
            for name, ratios in measured.ratios.items():
                built.serve(ATTACKER)
                time.sleep(SETTLE_S)
                calm_ms = _median_ms(built)
                if name in INSIDE:
                    attack = _from_inside(api, built, INSIDE[name], port)
                else:
                    attack = _from_outside(OUTSIDE[name], port)
                with attack as progress:
                    before, began_at = progress.beyond(0), time.monotonic()
                    ratios.append(_median_ms(built) / calm_ms)
                    done = progress.beyond(before) - before
                    measured.force[name].append(done / (time.monotonic() - began_at))
                measured.calm_ms.append(calm_ms)
        api.close()
    return measured


class _Progress:
    """What an attack says that it has done so far."""

    def __init__(self, printed: Iterable[bytes]) -> None:
        self._latest = 0
        Thread(target=self._read, args=(printed,), daemon=True).start()

    def beyond(self, before: int) -> int:
        """The latest, once it is more than ``before``: an attack that comes to nothing measures nothing."""
        return until(lambda: self._latest if self._latest > before else 0, "the attack goes on", TOLD_S_MAX)

    def _read(self, printed: Iterable[bytes]) -> None:
        text = b""
        with suppress(Exception):  # it ends with its container
            for piece in printed:
                *lines, text = (text + piece).split(b"\n")
                self._latest = max([self._latest, *map(int, lines)])


@contextmanager
def _from_inside(api: docker.APIClient, built: House, script: str, port: int) -> Iterator[_Progress]:
    """While the attacker's container runs the script; it ends with its container, which is made anew."""
    name = built.container_name(ATTACKER)
    [network] = api.inspect_container(name)["NetworkSettings"]["Networks"].values()
    text = script.format(seconds=ATTACK_S, host=network["Gateway"], port=port)
    made = api.exec_create(name, ["python3", "-c", text])
    try:
        yield _Progress(api.exec_start(made["Id"], stream=True))
    finally:
        # A container that ran out of memory may have been made anew meanwhile, and is a calm one then.
        until(lambda: _is_removed(api, name), "the attacker's container is gone")


@contextmanager
def _from_outside(script: str, port: int) -> Iterator[_Progress]:
    """While a process beside the gateway runs the script."""
    text = script.format(seconds=ATTACK_S, host="127.0.0.1", port=port)
    with subprocess.Popen((sys.executable, "-c", text), stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            yield _Progress(attacker.stdout)
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
