"""Our own processes as an operator starts them, and the ways to hurt them that an operator would not choose.

Next: :mod:`mcpgw.testing.house`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STOP_S_MAX = 30.0


@dataclass(slots=True)
class Program:
    """``mcpgw <verb>``, with everything it says in one log."""

    verb: str
    environment: Mapping[str, str]
    folder: Path
    log: IO[bytes]
    running: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()  # a program that runs it otherwise than as ourselves

    def start(self) -> None:
        assert not self.runs, f"{self.verb} runs already"
        self.running = subprocess.Popen(  # noqa: S603 (our own program, no shell)
            (*self.prefix, sys.executable, "-m", "mcpgw", self.verb),
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    @property
    def runs(self) -> bool:
        return self.running is not None and self.running.poll() is None

    @property
    def pid(self) -> int:
        assert self.running is not None, f"{self.verb} was not started"
        return self.running.pid

    def kill(self) -> None:
        """`kill -9` of the whole process group: nothing of it gets to tidy up."""
        if self.running is not None and self.runs:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait(STOP_S_MAX)

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL for what does not heed it; the exit code, None if it never ran."""
        if self.running is None:
            return None
        if self.runs:
            self.running.terminate()
            try:
                self.running.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.running.returncode

    def children(self) -> dict[int, str]:
        """The pids of its children, each with its command line."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return {int(pid): _command_line(int(pid)) for pid in listed.split()}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""  # it ended meanwhile
