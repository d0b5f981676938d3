"""Gateways as processes of their own: how each is told what it is, started on a core, awaited and ended.

Next: :mod:`bench.people`, who are known to one; :mod:`bench.fronts` and :mod:`bench.sign_ins`, which start
them.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.load import LOAD_CORE

PROXY_CORE = "0"
START_S_MAX = 30.0
STOP_S_MAX = 15.0
POLL_S = 0.05
ROOT = Path(__file__).parents[1]


class Processes:
    """What was started in one folder, whose ``processes.log`` has their words. `stop` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, core: str, *words: str, says: bool = False, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """On one core. ``says``: what it prints is read by whoever started it."""
        environment = {**os.environ, **(settings or {}), "PYTHONPATH": str(ROOT)}
        with (self._folder / "processes.log").open("a") as log:
            started = subprocess.Popen(
                ("taskset", "-c", core, *words),
                cwd=self._folder,
                env=environment,
                stdout=subprocess.PIPE if says else log,
                stderr=log,
                text=True,
            )
        self._started.append(started)
        return started

    def start_upstream(self, port: int) -> subprocess.Popen[str]:
        """The container that users share; it accepts connections when this returns."""
        upstream = self.start(LOAD_CORE, sys.executable, "-m", "bench.upstream", str(port), says=True)
        assert upstream.stdout is not None and upstream.stdout.readline() == "listening\n"
        return upstream

    def start_gateway(self, settings: Mapping[str, str]) -> subprocess.Popen[str]:
        """Not ready yet: :func:`until_ready`."""
        return self.start(PROXY_CORE, sys.executable, "-m", "mcpgw", "gateway", settings=settings)

    def stop(self) -> None:
        """Each by its own handle, the last one first."""
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S_MAX)


def settings_of(folder: Path, port: int, private: int) -> dict[str, str]:
    """The environment of a gateway whose state is in ``folder``, which is made."""
    (folder / "state").mkdir(parents=True)
    return {
        "CONTAINER_PROJECT_NAME": f"b{secrets.token_hex(5)}",
        "HOST_DATA_DIR": str(folder / "homes"),
        "STATE_DIR": str(folder / "state"),
        "STORE_URL": f"sqlite:///{folder}/state/state.db",
        "MANIFESTS_DIR": str(folder),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{private}",
        "GATEWAY_WORKERS": "1",
        "DEFAULT_TEMPLATE": "bench",
    }


def until_ready(private: int) -> None:
    until(lambda: _is_ready(private), "the gateway is ready")


def until_accepts(port: int) -> None:
    until(lambda: _accepts(port), f"port {port} accepts connections")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited {START_S_MAX:g} s in vain until {what}"
        time.sleep(POLL_S)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(private: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{private}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
