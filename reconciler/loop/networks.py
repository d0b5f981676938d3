"""The project's networks: made before anything is created on them, and made again where somebody removed one.

Decides nothing: which zone somebody is in says their spec, and what stands in a network's way the engine.
Next: :mod:`reconciler.loop.actuator`.
"""

import asyncio
from collections.abc import Collection, Mapping

import structlog

from reconciler.core.errors import ActionError, TransientError
from reconciler.engine.port import Engine, NetworkSpec
from state.kinds.template import Egress

_log = structlog.get_logger(__name__)


class Networks:
    """One network a zone, asked of the engine no oftener than need be."""

    def __init__(self, engine: Engine, specs: Mapping[Egress, NetworkSpec]) -> None:
        self._engine = engine
        self._specs = specs
        self._standing: set[Egress] = set()
        self._refused: dict[Egress, str] = {}  # why one could not be made when that was last tried
        self._making = asyncio.Lock()  # two who make the same one at once would collide with each other

    async def ensure(self, egress: Egress) -> None:
        """Have the zone's network. Raises TransientError: no spec is at fault, and time may mend it."""
        if egress in self._standing:
            return
        async with self._making:
            if egress not in self._standing:
                await self._look(egress)

    async def keep(self, zones: Collection[Egress]) -> str:
        """Have all of these, whatever was known of them; why that cannot be, "" if it can."""
        for egress in zones:
            try:
                async with self._making:
                    await self._look(egress)
            except TransientError:
                continue  # noted, and told below
        return "; ".join(self._refused[egress] for egress in zones if egress in self._refused)

    def doubt(self) -> None:
        """The engine says that one is not there: look before the next container is created on any."""
        self._standing.clear()

    async def _look(self, egress: Egress) -> None:
        try:
            await self._engine.ensure_network(self._specs[egress])
        except ActionError as error:
            if self._refused.get(egress) != str(error):
                _log.error("network.unusable", network=self._specs[egress].name, why=str(error))
            self._refused[egress] = str(error)
            self._standing.discard(egress)
            retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
            raise TransientError(error.reason, str(error), retry_after_s) from error
        self._refused.pop(egress, None)
        self._standing.add(egress)
