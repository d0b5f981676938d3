"""An engine of the test's own, which may be killed, stopped and started again: nobody else's containers fall.

It lives in a network namespace, like an engine on another machine: beside the machine's own, a second Docker
would take down the other's bridge. Containers are reached at their own addresses, over one link.
"""

import os
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from mcpgw.bootstrap import daemon, debian
from mcpgw.bootstrap.command import environment, found
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.engine_api import Engine, EngineName, answers
from mcpgw.bootstrap.podman import ensure_podman, settings_file
from mcpgw.testing.waiting import until
from tests.engines import RealEngine

COMMAND_S_MAX = 30.0
LINK_SECOND_OCTETS = range(212, 218)
"""10.<this>.x.0/24 is the link, 10.<this>.x+1.0/24 the containers'."""


class OwnEngine(ABC):
    name: ClassVar[EngineName]
    keeps_containers: ClassVar[bool]
    """Whether containers run on while the service is away."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self._name = f"e{secrets.token_hex(4)}"
        self._link = f"10.{secrets.choice(LINK_SECOND_OCTETS)}.{secrets.randbelow(127) * 2}"
        first, second, third = self._link.split(".")
        self.subnet_prefix = f"{first}.{second}.{int(third) + 1}"
        self.url = f"unix://{folder}/engine.sock"
        self.engine = RealEngine(self.name, self.url, "")
        self._log = (folder / "service.log").open("ab")
        self._service: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _words(self) -> Sequence[str]:
        """The service's command line."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _await_the_last(self) -> None:  # noqa: B027 - only Docker leaves something
        """Return once nothing of an earlier service is left that would keep the next one from starting."""

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
        self.engine = RealEngine(self.name, self.url, ensure_demo_image(Engine(self.name, self.url)))

    def route(self) -> None:
        """The way to the containers; only once their network stands, for it would collide with the route."""
        _ip("route", "add", f"{self.subnet_prefix}.0/24", "via", f"{self._link}.2")

    def start(self) -> None:
        self._await_the_last()
        self._service = subprocess.Popen(
            ("nsenter", f"--net=/run/netns/{self._name}", *self._words()),
            env=environment(self._environment()),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        until(lambda: answers(self.url), f"{self.name} answers; its log is in {self.folder}")

    def kill(self) -> None:
        """`kill -9` of the service."""
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """As a package's upgrade does."""
        self._signal(signal.SIGTERM)
        self._wait()

    def freeze(self) -> None:
        """Connections are still taken, and nothing is answered any more."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def renew(self) -> None:  # noqa: B027 - only Docker needs it
        """See to it that everything can be removed."""

    def close(self) -> None:
        self.thaw()
        self.stop()
        self._log.close()
        _ip("netns", "del", self._name)  # the link goes with it, and the route with the link
        self._sweep()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _sweep(self) -> None:
        _end_all_of(self.folder)
        for point in _mounts_below(self.folder):
            subprocess.run(("umount", "--lazy", "--quiet", point), check=False, timeout=COMMAND_S_MAX)

    def _signal(self, number: int) -> None:
        assert self._service is not None, "it was started"
        if self._service.poll() is None:
            os.kill(self._service.pid, number)

    def _wait(self) -> None:
        assert self._service is not None, "it was started"
        self._service.wait(COMMAND_S_MAX)


class OwnDocker(OwnEngine):
    """Its end is its containers' end, whether it is stopped or killed."""

    name = "docker"
    keeps_containers = False

    def _words(self) -> Sequence[str]:
        folders = {"data-root": "data", "exec-root": "run", "pidfile": "docker.pid"}
        return (
            *("dockerd", "-H", self.url),
            *(f"--{option}={self.folder}/{name}" for option, name in folders.items()),
            *("--bridge=none", "--iptables=false", "--ip-forward=true"),
            *self._options,
        )

    def _await_the_last(self) -> None:
        for file, program in (("docker.pid", "dockerd"), ("run/containerd/containerd.pid", "containerd")):
            until(partial(_is_over, self.folder / file, program), f"the old {program} is gone")

    def renew(self) -> None:
        """Stop, and start without the mounts that a killed daemon left: they make removals fail as busy."""
        self.stop()
        self._sweep()
        self.start()


class OwnPodman(OwnEngine):
    """No daemon: what answers is a service, and each container has a keeper of its own that outlives it."""

    name = "podman"
    keeps_containers = True

    def open(self) -> None:
        ensure_podman()
        # Locks in shared memory would be those of the machine's own Podman, and a first start frees them all.
        lock = '[engine]\nlock_type = "file"\n'
        settings = settings_file().read_text()
        settings = settings.replace("[engine]\n", lock) if "[engine]\n" in settings else settings + lock
        self._settings.write_text(settings)
        super().open()

    @property
    def _settings(self) -> Path:
        return self.folder / "containers.conf"

    def _words(self) -> Sequence[str]:
        folders = {"root": "data", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "networks"}
        return (
            "podman",
            *(f"--{option}={self.folder}/{name}" for option, name in folders.items()),
            *("--cgroup-manager=cgroupfs", *self._options),
            *("system", "service", "--time=0", self.url),
        )

    def _environment(self) -> Mapping[str, str]:
        return {"CONTAINERS_CONF": str(self._settings)}


OWN: Mapping[EngineName, type[OwnEngine]] = {"docker": OwnDocker, "podman": OwnPodman}


@contextmanager
def own_engine(name: EngineName, folder: Path, *options: str) -> Iterator[OwnEngine]:
    """``options`` are the service's own."""
    engine = OWN[name](folder, *options)
    try:
        engine.open()
        yield engine
    finally:
        engine.close()


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
    """The mount points below the folder, the innermost first: a killed engine leaves some."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)
