"""A Docker of the test's own, which may be killed, stopped and started again: nobody else's containers fall.

It lives in a network namespace, like an engine on another machine: beside the machine's own, a second daemon
would take down the other's bridge. Containers are reached at their own addresses, over one link.
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from mcpgw.bootstrap import daemon, debian
from mcpgw.bootstrap.command import found
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.engine_api import Engine, answers
from mcpgw.testing.waiting import until
from tests.engines import RealEngine

COMMAND_S_MAX = 30.0
LINK_SECOND_OCTETS = range(212, 218)
"""10.<this>.x.0/24 is the link, 10.<this>.x+1.0/24 the containers'."""


class OwnDocker:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"e{secrets.token_hex(4)}"
        self._link = f"10.{secrets.choice(LINK_SECOND_OCTETS)}.{secrets.randbelow(127) * 2}"
        first, second, third = self._link.split(".")
        self.subnet_prefix = f"{first}.{second}.{int(third) + 1}"
        self.url = f"unix://{folder}/docker.sock"
        self.engine = RealEngine("docker", self.url, "")
        self._log = (folder / "dockerd.log").open("ab")
        self._daemon: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        if found("ip") is None:
            debian.install(("iproute2",), why="a network namespace")
        here, there = f"{self._name}a", f"{self._name}b"
        _ip("netns", "add", self._name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self._name)
        _ip("addr", "add", f"{self._link}.1/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", self._name, "addr", "add", f"{self._link}.2/30", "dev", there)
        _ip("-n", self._name, "link", "set", there, "up")
        _ip("-n", self._name, "link", "set", "lo", "up")
        _ip("-n", self._name, "route", "add", "default", "via", f"{self._link}.1")
        self.start()
        self.engine = RealEngine("docker", self.url, ensure_demo_image(Engine("docker", self.url)))

    def route(self) -> None:
        """The way to the containers; only once their network stands, for it would collide with the route."""
        _ip("route", "add", f"{self.subnet_prefix}.0/24", "via", f"{self._link}.2")

    def start(self) -> None:
        folders = {"data-root": "data", "exec-root": "run", "pidfile": "docker.pid"}
        for file, program in (("docker.pid", "dockerd"), ("run/containerd/containerd.pid", "containerd")):
            until(partial(_is_over, self._folder / file, program), f"the old {program} is gone")
        self._daemon = subprocess.Popen(
            (
                *("nsenter", f"--net=/run/netns/{self._name}", "dockerd", "-H", self.url),
                *(f"--{option}={self._folder}/{name}" for option, name in folders.items()),
                *("--bridge=none", "--iptables=false", "--ip-forward=true"),
            ),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        until(lambda: answers(self.url), f"dockerd answers; its log is in {self._folder}")

    def kill(self) -> None:
        """`kill -9` of the daemon."""
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """As a package's upgrade does: its containers are stopped too."""
        self._signal(signal.SIGTERM)
        self._wait()

    def freeze(self) -> None:
        """Connections are still taken, and nothing is answered any more."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def renew(self) -> None:
        """Stop, and start without the mounts that a killed daemon left: they make removals fail as busy."""
        self.stop()
        self._sweep()
        self.start()

    def close(self) -> None:
        self.thaw()
        self.stop()
        self._log.close()
        _ip("netns", "del", self._name)  # the link goes with it, and the route with the link
        self._sweep()
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def _sweep(self) -> None:
        _end_all_of(self._folder)
        for point in _mounts_below(self._folder):
            subprocess.run(("umount", "--lazy", "--quiet", point), check=False, timeout=COMMAND_S_MAX)

    def _signal(self, number: int) -> None:
        assert self._daemon is not None, "it was started"
        if self._daemon.poll() is None:
            os.kill(self._daemon.pid, number)

    def _wait(self) -> None:
        assert self._daemon is not None, "it was started"
        self._daemon.wait(COMMAND_S_MAX)


@contextmanager
def own_docker(folder: Path) -> Iterator[OwnDocker]:
    docker = OwnDocker(folder)
    try:
        docker.open()
        yield docker
    finally:
        docker.close()


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, timeout=COMMAND_S_MAX)


def _is_over(pid_file: Path, program: str) -> bool:
    """Whether the program is gone; a pid file that it left would keep the next one from starting."""
    return daemon.forget_stale_pid_file(pid_file, program) is None


def _end_all_of(folder: Path) -> None:
    """Kill what a killed daemon left running: the containers' keepers, and the containers with them."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{folder}/run/".encode() in (process / "cmdline").read_bytes():
                children = (process / "task" / process.name / "children").read_text().split()
                for pid in (*children, process.name):
                    os.kill(int(pid), signal.SIGKILL)


def _mounts_below(folder: Path) -> list[str]:
    """The mount points below the folder, the innermost first: a killed dockerd leaves some."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)
