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


def make_ready(engine_name: EngineName, address: str = "", *, with_demo_image: bool = True) -> Ready:
    """Set up what is missing. ``address`` as the settings say. BootstrapError's text is the line to show."""
    engine = ensure_engine(engine_name, address)
    return Ready(engine, ensure_demo_image(engine) if with_demo_image else None)


def ensure_engine(name: EngineName, address: str = "") -> Engine:
    """An engine of that name that answers; installed and started where there is none and it may be.

    At ``address`` and nowhere else, where one is given.
    """
    match name:
        case "docker":
            return ensure_docker(address)
        case "podman":
            return ensure_podman(address)
        case _:
            assert_never(name)
