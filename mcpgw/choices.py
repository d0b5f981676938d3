"""What `mcpgw up` chose for this machine, so that the operator's verbs see the same: engine and image.

A file in the state directory, written at every start, below whatever the settings say.
"""

import json
from collections.abc import Mapping
from pathlib import Path

_FILE = "up.json"


def write_choices(state_dir: Path, choices: Mapping[str, str]) -> None:
    """Raises OSError where the directory cannot be written."""
    (state_dir / _FILE).write_text(json.dumps(dict(choices)))


def read_choices(state_dir: Path) -> dict[str, str]:
    """Nothing where `mcpgw up` never ran, or its file cannot be read."""
    try:
        found = json.loads((state_dir / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
