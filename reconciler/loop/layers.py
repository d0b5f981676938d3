"""What containers write outside of their mounts, as the engine counts it.

An engine walks through every file for that, and a container may have made so many, or so deep ones, that it
does not come to an end. Once may be a slow disk; an engine that answers all the same, but not this, and not
the next time either, was asked of more than can be counted. Podman holds a container while it counts, so
that its list waits as well: it is not asked again before the next round.
Next: :mod:`reconciler.loop.disk`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.errors import ActionError, OutcomeUnknownError
from reconciler.engine.port import COUNT_TIMEOUT_S, ENGINE_TIMEOUT, LAYER_UNCOUNTABLE, Engine

BEYOND = {
    ENGINE_TIMEOUT: f"more files than the engine counts in {COUNT_TIMEOUT_S:g} s",
    LAYER_UNCOUNTABLE: "files that the engine cannot count, such as too many directories in each other",
}
FAILED_MAX = 256  # containers that are remembered


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
        self._failed: deque[str] = deque(maxlen=FAILED_MAX)  # containers that were not counted the last time

    async def use(self, container_id: str) -> LayerUse | None:
        try:
            size_bytes = await self._engine.layer_bytes(container_id)
        except OutcomeUnknownError as error:
            if error.reason not in BEYOND or not await self._answers():
                return None
            if container_id in self._failed:
                return LayerUse(0, BEYOND[error.reason])
            self._failed.append(container_id)
            return None
        except ActionError:
            return None
        if container_id in self._failed:
            self._failed.remove(container_id)
        return None if size_bytes is None else LayerUse(size_bytes)

    async def _answers(self) -> bool:
        try:
            await self._engine.ping()
        except ActionError:
            return False
        return True
