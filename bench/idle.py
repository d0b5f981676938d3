"""``idle.cpu_percent.200``: what gateway and reconciler use with 200 real containers and nobody there.

CPU time of both processes over five minutes, from the kernel's own accounting, with their probes running.
"""

import concurrent.futures
import os
import tempfile
import time
from pathlib import Path

from bench.engines import first_answer_s
from bench.results import Sample
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.testing.house import House, house

CONTAINERS = 200
CONTAINERS_QUICK = 20
WATCHED_S = 300.0
WATCHED_QUICK_S = 20.0
CALLS_AT_ONCE = 8
SETTLE_S = 20.0
SETTINGS = {"CONTAINER_PORT_RANGE": "21000-21499"}  # a house for tests has fewer ports than containers here
# The demo template of a real manifest probes every 15 s; the house's own is quicker for tests.
PERIOD = "periodSeconds: 15"


def run(_out: Path, *, quick: bool) -> list[Sample]:
    engine = ensure_docker()
    image = ensure_demo_image(engine)
    count = CONTAINERS_QUICK if quick else CONTAINERS
    watched_s = WATCHED_QUICK_S if quick else WATCHED_S
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), engine, image, SETTINGS) as built:
        _relax_probes(built)
        with concurrent.futures.ThreadPoolExecutor(CALLS_AT_ONCE) as calls:
            list(calls.map(lambda number: first_answer_s(built, f"idle{number}"), range(count)))
        time.sleep(SETTLE_S)
        gateway, reconciler = _cpu_percents(built, watched_s)
    how = (
        f"both processes, {count} containers, liveness every 15 s, over {watched_s:.0f} s; "
        f"the gateway {gateway:.2f} %, the reconciler {reconciler:.2f} %"
    )
    beside = {"gateway %": (gateway,), "reconciler %": (reconciler,)}
    return [Sample("idle.cpu_percent.200", (gateway + reconciler,), how, beside)]


def _relax_probes(built: House) -> None:
    path = built.folder / "manifests" / "demo.yaml"
    text = path.read_text()
    relaxed = text.replace(
        "liveness: {http: /health, periodSeconds: 1", f"liveness: {{http: /health, {PERIOD}"
    )
    assert relaxed != text, "the house's template changed; adapt this benchmark"
    path.write_text(relaxed)


def _cpu_percents(built: House, seconds: float) -> tuple[float, float]:
    """Of the gateway and of the reconciler."""
    gateway, reconciler = _family(built.gateway.pid), _family(built.reconciler.pid)
    before_s = sum(map(_cpu_s, gateway)), sum(map(_cpu_s, reconciler))
    time.sleep(seconds)
    after_s = sum(map(_cpu_s, gateway)), sum(map(_cpu_s, reconciler))
    return 100.0 * (after_s[0] - before_s[0]) / seconds, 100.0 * (after_s[1] - before_s[1]) / seconds


def _family(pid: int) -> list[int]:
    """A process and its children, such as gateway workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _cpu_s(pid: int) -> float:
    """User and system time. Source: proc(5), /proc/pid/stat, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
