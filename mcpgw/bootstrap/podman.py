"""Finds a Podman service that answers, or installs Podman and starts its service.

Podman has no daemon; what answers its API is `podman system service`. Where we start it, it reads a
`containers.conf` of our own, which holds only what this machine needs to differ in.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.bootstrap.daemon import start
from mcpgw.bootstrap.engine_api import Engine, answers, named_engine
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.rights import CAP_SYS_RESOURCE, has_capability

PACKAGES = ("podman", "runc", "netavark", "aardvark-dns", "iptables")
SYSTEM_SOCKET = Path("/run/podman/podman.sock")
PID_MAX = Path("/proc/sys/kernel/pid_max")
CGROUP_V2_MARK = Path("/sys/fs/cgroup/cgroup.controllers")
INIT_PROGRAMS = (
    "/usr/libexec/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/bin/docker-init",
    "/usr/bin/tini",
)


def ensure_podman(address: str = "") -> Engine:
    """A Podman service that answers; installed and started if there is none.

    ``address`` is what the settings say; empty, PODMAN_SOCKET_PATH of the environment counts.
    """
    if address := address or os.environ.get("PODMAN_SOCKET_PATH", ""):
        return named_engine("podman", "PODMAN_SOCKET_PATH", address)
    with only_one("podman"):
        return _running() or _started()


def settings_file() -> Path:
    """The `containers.conf` of our service, written. Give it to `podman` through CONTAINERS_CONF."""
    path = cache_dir("podman") / "containers.conf"
    path.write_text(_settings(), "utf-8")
    return path


def _socket() -> Path:
    if os.geteuid() == 0:
        return SYSTEM_SOCKET
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")) / "podman" / "podman.sock"


def _running() -> Engine | None:
    url = f"unix://{_socket()}"
    return Engine("podman", url) if answers(url) else None


def _started() -> Engine:
    if found("podman") is None:
        debian.install(PACKAGES, why="Podman")
    program = found("podman")
    if program is None:
        raise BootstrapError(
            "podman is installed, but the program is nowhere", mend="Run `apt-get install --reinstall podman`"
        )
    socket = _socket()
    try:
        socket.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BootstrapError(
            f"{socket.parent} cannot be made ({error.strerror}): this user has no runtime directory",
            mend="Run `sudo loginctl enable-linger $USER` and sign in anew, or set XDG_RUNTIME_DIR to a "
            "directory of yours",
        ) from error
    url = f"unix://{socket}"
    words = (program, "system", "service", "--time=0", url)
    start("podman", words, url=url, env={"CONTAINERS_CONF": str(settings_file())})
    return Engine("podman", url)


def _settings() -> str:
    """What this machine needs beyond Podman's defaults, as TOML."""
    containers, engine, network = [], [], []
    if not _may_raise_limits():
        limits = (f'"{name}={most}:{most}"' for name, most in _limits())
        containers.append(f"default_ulimits = [{', '.join(limits)}]")
    if not CGROUP_V2_MARK.exists() and found("runc"):
        engine.append('runtime = "runc"')  # crun refuses the hybrid layout
    if init := next((program for program in INIT_PROGRAMS if Path(program).exists()), None):
        containers.append(f'init_path = "{init}"')
        engine.append(f'init_path = "{init}"')
    if Path("/usr/lib/podman/netavark").exists():
        network.append('network_backend = "netavark"')
    tables = {"containers": containers, "engine": engine, "network": network}
    return "".join(
        f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in tables.items() if lines
    )


def _limits() -> Iterator[tuple[str, int]]:
    """Which are soft and hard at once (Podman's API swaps the two), and no higher than our own.

    Processes are counted by user, who is the same in all containers: together they may have as many as the
    machine. To that the service lowers its own limit, and nothing above it can be had. Source: tried, 4.3.
    """
    pids_max = int(PID_MAX.read_text())
    for name, kind, most in (
        ("nofile", resource.RLIMIT_NOFILE, 4096),
        ("nproc", resource.RLIMIT_NPROC, pids_max),
    ):
        hard = resource.getrlimit(kind)[1]
        yield name, most if hard == resource.RLIM_INFINITY else min(most, hard)


def _may_raise_limits() -> bool:
    """Whether we have CAP_SYS_RESOURCE, without which no hard limit may be raised."""
    return has_capability(CAP_SYS_RESOURCE)
