"""Decides what the demo's environment variables mean. Nothing else here reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How one demo server is to behave."""

    port: int = 8080
    data_dir: Path = Path("/data")
    startup_delay_s: float = 0.0
    controls_allowed: bool = False
    """Whether `POST /control` may make the server fail on demand. Only tests want that."""


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that PORT, DATA_DIR, DEMO_STARTUP_DELAY_S and DEMO_CONTROLS ask for."""
    return Settings(
        port=int(environ.get("PORT", "8080")),
        data_dir=Path(environ.get("DATA_DIR", "/data")),
        startup_delay_s=float(environ.get("DEMO_STARTUP_DELAY_S", "0")),
        controls_allowed=environ.get("DEMO_CONTROLS") == "1",
    )
