"""What containers write outside of their mounts, as the engine counts it.

An engine walks through every file for that, and a container may have made so many that it does not come to
an end: an engine that answers all the same, but twice not this, was asked of more than can be counted.
Next: :mod:`reconciler.loop.disk`.
"""

from dataclasses import dataclass
from typing import Protocol

from reconciler.core.errors import ActionError, OutcomeUnknownError
from reconciler.engine.port import COUNT_TIMEOUT_S, Engine

BEYOND = f"more files than the engine counts in {COUNT_TIMEOUT_S:g} s"
TIMED_OUT = "EngineTimeout"
ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class LayerUse:
    bytes_used: int
    beyond: str = ""  # what there is too much of to be counted, "" if it was


class Layers(Protocol):
    async def use(self, container_id: str) -> LayerUse | None:
        """What the container wrote outside of its mounts; None if nobody can tell."""
        ...


class EngineLayers:
    """Asked of an engine, of one container at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def use(self, container_id: str) -> LayerUse | None:
        for _ in range(ATTEMPTS):
            try:
                size_bytes = await self._engine.layer_bytes(container_id)
            except OutcomeUnknownError as error:
                if error.reason != TIMED_OUT or not await self._answers():
                    return None
            except ActionError:
                return None
            else:
                return None if size_bytes is None else LayerUse(size_bytes)
        return LayerUse(0, BEYOND)

    async def _answers(self) -> bool:
        """Whether the engine answers at all; not of that container, which it may hold while it counts."""
        try:
            await self._engine.version()
        except ActionError:
            return False
        return True
