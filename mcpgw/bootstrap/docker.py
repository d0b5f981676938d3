"""Finds the Docker that answers, or installs and starts one.

Looks where it is told (by DOCKER_HOST, or by `mcpgw up`, which knows all the usual sockets) and nowhere else
then; otherwise where it would start one. A `docker` program alone is only a client, so its presence decides
nothing. Next: `mcpgw.bootstrap.daemon`.
"""

import json
import os
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.bootstrap.daemon import ANSWER_MAX_S, forget_stale_pid_file, has_systemd, start, start_service
from mcpgw.bootstrap.engine_api import Engine, answers, named_engine
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import only_one
from mcpgw.bootstrap.progress import step

SOCKET = Path("/var/run/docker.sock")
URL = f"unix://{SOCKET}"
PACKAGES = ("docker.io", "iptables")
PID_FILES = (
    (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
    (Path("/var/run/docker.pid"), "dockerd"),
)
"""containerd's too: dockerd waits in vain for whatever process has taken a dead containerd's number."""
DAEMON_SETTINGS = Path("/etc/docker/daemon.json")
ADDRESS_POOLS = ("base=172.17.0.0/16,size=16", "base=172.20.0.0/14,size=24")
"""The first is the default bridge's; the second gives 1,024 networks, where Docker's own pools end at 30."""


def ensure_docker(address: str = "") -> Engine:
    """A Docker that answers; installed and started if there is none. BootstrapError says the mend.

    ``address`` is what the settings say; empty, DOCKER_HOST of the environment counts.
    """
    if address := address or os.environ.get("DOCKER_HOST", ""):
        return named_engine("docker", "DOCKER_HOST", address)
    with only_one("docker"):
        return Engine("docker", URL) if answers(URL) else _started()


def _started() -> Engine:
    _refuse_if_not_ours_to_talk_to()
    if found("dockerd") is None:
        debian.install(PACKAGES, why="Docker")
    if os.geteuid() != 0:
        raise BootstrapError("Docker does not run, and starting it takes root", mend=_start_mend())
    if not answers(URL):
        _start()
    return Engine("docker", URL)


def _refuse_if_not_ours_to_talk_to() -> None:
    if SOCKET.exists() and not os.access(SOCKET, os.R_OK | os.W_OK):
        raise BootstrapError(
            f"{SOCKET} may not be used by this user",
            mend="Run `sudo usermod -aG docker $USER`, sign in anew, and start again",
        )


def _start_mend() -> str:
    command = "sudo systemctl start docker" if has_systemd() else "sudo dockerd"
    return f"Run `{command}` and start again"


def _start() -> None:
    if has_systemd():
        start_service("docker", url=URL)
        return
    running = [
        pid
        for file, program in PID_FILES
        if (pid := forget_stale_pid_file(file, program)) and program == "dockerd"
    ]
    if running:
        _wait_for_one_that_starts(running[0])
        return
    program = found("dockerd")
    if program is None:
        raise BootstrapError(
            "docker.io is installed, but dockerd is nowhere",
            mend="Run `apt-get install --reinstall docker.io`",
        )
    start("dockerd", (program, *pool_flags()), url=URL)


def _wait_for_one_that_starts(pid: int) -> None:
    with step(f"waiting for the dockerd that runs already (pid {pid})"):
        if not answers(URL, ANSWER_MAX_S):
            raise BootstrapError(
                f"dockerd runs (pid {pid}) but does not answer at {URL}",
                mend=f"Run `kill {pid}` and start again",
            )


def pool_flags() -> list[str]:
    """Our address pools, unless the machine's settings have some: dockerd refuses to have them twice."""
    try:
        settings = json.loads(DAEMON_SETTINGS.read_text("utf-8"))
    except (OSError, ValueError):
        settings = {}
    if "default-address-pools" in settings or "bip" in settings:
        return []
    return [word for pool in ADDRESS_POOLS for word in ("--default-address-pool", pool)]
