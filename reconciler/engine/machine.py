"""The machine that we run on, as far as it decides where engines listen and how they are started.

Next: :mod:`reconciler.engine.door` and :mod:`reconciler.engine.sockets`.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

NO_HOME = Path("/nonexistent")  # Source: Debian Policy 9.2.3


@dataclass(frozen=True, slots=True)
class Machine:
    """``system`` is as in sys.platform."""

    system: str
    uid: int
    home: Path
    runtime_dir: Path  # XDG_RUNTIME_DIR, or where it usually is

    @staticmethod
    def this() -> "Machine":
        uid = os.getuid()
        runtime_dir = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
        return Machine(sys.platform, uid, _home(), Path(runtime_dir))

    @property
    def is_mac(self) -> bool:
        return self.system == "darwin"

    @property
    def own_podman(self) -> Path:
        """The socket of a Podman service of this user's own."""
        return self.runtime_dir / "podman" / "podman.sock"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an account, as in a container
        return NO_HOME
