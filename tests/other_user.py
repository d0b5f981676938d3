"""Another user of this machine, who needs no account: what tests run as somebody without root's rights."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65_534


@dataclass(frozen=True)
class OtherUser:
    uid: int = NOBODY

    @property
    def words(self) -> tuple[str, ...]:
        """What runs a program as them. They may read everything: a checkout may be in somebody's home."""
        reads = "+dac_read_search"
        return (*self.bare_words, f"--inh-caps={reads}", f"--ambient-caps={reads}")

    @property
    def bare_words(self) -> tuple[str, ...]:
        """Likewise, with no right that is not theirs."""
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")

    def give(self, folder: Path) -> None:
        """The folder, and everything in it."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that others may enter; each run of pytest closes the folder that all its own are in."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)
