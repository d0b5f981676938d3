"""Starts an engine's daemon in the background where no service manager would, and waits until it answers.

The daemon outlives us: it has a session of its own, its words go to a log file in the cache, and a later
run finds it by its socket. Knows nothing of Docker or Podman; `docker` and `podman` call it.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcpgw.bootstrap.command import environment, run
from mcpgw.bootstrap.engine_api import answers
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir
from mcpgw.bootstrap.progress import say, step

ANSWER_MAX_S = 90.0
POLL_S = 0.1
LOG_MAX_BYTES = 16 * 1024 * 1024
DETACHED = ("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh")
"""The shell ends at once, so that the daemon is nobody's child and a later death leaves no zombie of ours."""
SYSTEMD_RUNS = Path("/run/systemd/system")


def start(name: str, words: Sequence[str], *, url: str, env: Mapping[str, str] | None = None) -> None:
    """Start the daemon and return when an engine answers at `url`."""
    log = cache_dir("logs") / f"{name}.log"
    say(f"starting {name} in the background (log: {log})")
    pid = _spawned(words, log, env)
    with step(f"waiting for {name}"):
        _wait_until_it_answers(name, url, log, pid)


def start_service(unit: str, *, url: str) -> None:
    """Have systemd start the unit and return when an engine answers at `url`."""
    say(f"starting {unit} with systemctl")
    mend = f"Run `systemctl status {unit}` to see why"
    run(("systemctl", "start", unit), mend=mend)
    deadline = time.monotonic() + ANSWER_MAX_S
    with step(f"waiting for {unit}"):
        while not answers(url):
            if time.monotonic() > deadline:
                raise BootstrapError(f"{unit} runs, but nothing answers at {url}", mend=mend)
            time.sleep(POLL_S)


def has_systemd() -> bool:
    """Whether this machine was booted with systemd. Source: sd_booted(3)."""
    return SYSTEMD_RUNS.is_dir()


def forget_stale_pid_file(pid_file: Path, program: str) -> int | None:
    """Remove a pid file whose process is gone or another program by now; else the pid of what runs."""
    try:
        pid = int(pid_file.read_text("ascii").strip() or "0")
    except (OSError, ValueError):
        return None
    if _program_of(pid) == program:
        return pid
    say(f"removing {pid_file}, left by a {program} that is gone")
    pid_file.unlink(missing_ok=True)
    return None


def _program_of(pid: int) -> str | None:
    """The name of what runs as `pid`; None for nothing, and for a dead one that nobody has collected yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(") ")
    return None if rest.startswith("Z") else name


def _spawned(words: Sequence[str], log: Path, env: Mapping[str, str] | None) -> int:
    mode = "ab" if log.exists() and log.stat().st_size < LOG_MAX_BYTES else "wb"
    with log.open(mode) as file:
        shell = subprocess.run(  # noqa: S603 - the words are ours, and the shell only passes them on
            (*DETACHED, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment(env),
            cwd="/",
            start_new_session=True,
            check=True,
        )
    return int(shell.stdout)


def _wait_until_it_answers(name: str, url: str, log: Path, pid: int) -> None:
    deadline = time.monotonic() + ANSWER_MAX_S
    mend = f"Look into {log}"
    while not answers(url):
        if _program_of(pid) is None:
            raise BootstrapError(f"{name} ended at once: {_last_line(log)}", mend=mend)
        if time.monotonic() > deadline:
            raise BootstrapError(f"{name} does not answer at {url} after {ANSWER_MAX_S:.0f} s", mend=mend)
        time.sleep(POLL_S)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
