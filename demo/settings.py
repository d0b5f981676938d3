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
    greeting: str = ""
    """What the front page says, if its user filled it in."""
    token: str = ""
    """A secret of its user's; the front page says only how long it is."""
    controls_allowed: bool = False
    """Whether `POST /control` may make the server fail on demand. Only tests want that."""
    conformance: bool = False
    """Whether to be the server that the MCP conformance suite wants, too."""
    getgather: bool = False
    """Whether to have the pages and the tools of mcp-getgather, too. Only tests want that."""
    allowed_hosts: tuple[str, ...] = ()
    """The Host headers (`name:port`, `name:*`) to take at /mcp. Empty: any, since the gateway has looked."""


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that PORT, DATA_DIR and the DEMO_… variables ask for."""
    return Settings(
        port=int(environ.get("PORT", "8080")),
        data_dir=Path(environ.get("DATA_DIR", "/data")),
        startup_delay_s=float(environ.get("DEMO_STARTUP_DELAY_S", "0")),
        greeting=environ.get("DEMO_GREETING", ""),
        token=environ.get("DEMO_TOKEN", ""),
        controls_allowed=environ.get("DEMO_CONTROLS") == "1",
        conformance=environ.get("DEMO_CONFORMANCE") == "1",
        getgather=environ.get("DEMO_GETGATHER") == "1",
        allowed_hosts=tuple(environ.get("DEMO_ALLOWED_HOSTS", "").split()),
    )
