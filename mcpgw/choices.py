"""What `mcpgw up` chose for this machine, so that the operator's verbs see the same: engine and image.

A file in the state directory, written at every start, below whatever the settings say. Others may write to
that folder too, and verbs are run by root: the file has to be root's or the reader's own, only these choices
count, and nothing is waited for.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from reconciler.engine.door import EngineKind
from state.fence import ROOT_UID

_FILE = "up.json"
_NAMES = frozenset({"DEMO_IMAGE", *(kind.setting for kind in EngineKind)})
_BYTES_MAX = 16 << 10
_PEEK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def write_choices(state_dir: Path, choices: Mapping[str, str]) -> None:
    """Raises OSError where the directory cannot be written."""
    (state_dir / _FILE).write_text(json.dumps(dict(choices)))


def read_choices(state_dir: Path) -> dict[str, str]:
    """Nothing where `mcpgw up` never ran, or its file cannot be read."""
    try:
        found = json.loads(_text(state_dir / _FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in items if name in _NAMES and isinstance(value, str)}


def _text(path: Path) -> str:
    """Raises OSError, ValueError."""
    with os.fdopen(os.open(path, _PEEK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (ROOT_UID, os.geteuid()):
            raise ValueError(f"{path} is nothing that `mcpgw up` left here")
        return file.read(_BYTES_MAX).decode()
