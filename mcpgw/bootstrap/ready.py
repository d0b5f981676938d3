"""What has to be there before the program can run: the engine of the settings, and the demo's image.

`mcpgw up` calls this first. It decides nothing about what then runs.
"""

from dataclasses import dataclass
from typing import assert_never

from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.bootstrap.engine_api import Engine, EngineName
from mcpgw.bootstrap.podman import ensure_podman


@dataclass(frozen=True)
class Ready:
    """An engine that answers, and the demo image that it has (None where a workload of one's own is set)."""

    engine: Engine
    demo_image: str | None


def make_ready(engine_name: EngineName, *, with_demo_image: bool = True) -> Ready:
    """Set up what is missing. BootstrapError's text is the one line to show."""
    engine = ensure_engine(engine_name)
    return Ready(engine, ensure_demo_image(engine) if with_demo_image else None)


def ensure_engine(name: EngineName) -> Engine:
    """An engine of that name that answers; installed and started where there is none and it may be."""
    match name:
        case "docker":
            return ensure_docker()
        case "podman":
            return ensure_podman()
        case _:
            assert_never(name)
