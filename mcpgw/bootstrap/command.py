"""Runs other programs: bounded, their words kept, and a failure told in one line."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import append

COMMAND_MAX_S = 900.0
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LAST_WORDS_MAX_CHARS = 300


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with the system's program folders in PATH: daemons live in folders that users lack."""
    path = os.environ.get("PATH", "").split(os.pathsep)
    path += [folder for folder in SYSTEM_PATH if folder not in path]
    return {**os.environ, **(extra or {}), "PATH": os.pathsep.join(filter(None, path))}


def found(program: str) -> str | None:
    """Where the program is, the system's folders included; None if nowhere."""
    return shutil.which(program, path=environment()["PATH"])


def run(
    words: Sequence[str],
    *,
    mend: str,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = COMMAND_MAX_S,
) -> str:
    """The program's output; BootstrapError with its last words when it fails, hangs or is missing."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours, and no shell reads them
            words,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise BootstrapError(f"{words[0]} is not installed", mend=mend) from error
    except subprocess.TimeoutExpired as error:
        raise BootstrapError(
            f"`{' '.join(words)}` did not end within {timeout_s:.0f} s", mend=mend
        ) from error
    if log is not None:
        append(log, f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise BootstrapError(f"`{_short(words)}` failed: {_last_words(done)}{_see(log)}", mend=mend)
    return done.stdout


def _short(words: Sequence[str]) -> str:
    """The command as one would type it: without `-o key=value`, and not endless."""
    said = [word for i, word in enumerate(words) if word != "-o" and (i == 0 or words[i - 1] != "-o")]
    text = " ".join(said)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("e:", "error"))] or lines[-1:]
    return (telling[0] if telling else f"exit code {done.returncode}")[:LAST_WORDS_MAX_CHARS]


def _see(log: Path | None) -> str:
    return "" if log is None else f" (see {log})"
