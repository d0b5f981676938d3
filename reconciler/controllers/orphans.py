"""Collects containers of ours that belong to nobody, after a grace, and nothing else.

Next: :mod:`reconciler.controllers.recovery`.
"""

from collections.abc import Callable

import structlog

from reconciler.controllers.freeze import Freeze
from reconciler.core.errors import ActionError
from reconciler.core.orphans import orphan_reason
from reconciler.loop.actuator import Hands
from state.kinds.home import Home

GRACE_S = 60.0  # a store that is being rebuilt, or a watch that lags, gets this long to name an owner
COLLECTED_AT_ONCE_MAX = 10

_log = structlog.get_logger(__name__)


class Orphans:
    """Remembers since when each container looked like an orphan."""

    def __init__(self, hands: Hands, freeze: Freeze, clock: Callable[[], float]) -> None:
        self._hands = hands
        self._freeze = freeze
        self._clock = clock
        self._since: dict[str, float] = {}

    async def collect(self) -> None:
        """Remove what has been an orphan for longer than the grace; a few at a time."""
        hands, now = self._hands, self._clock()
        if hands.observer.unknown or self._freeze.reason:
            self._since.clear()
            return
        owners = hands.cache.owner_uids()
        found: dict[str, str] = {}
        for one in hands.observer.containers():
            home = hands.cache.get(Home, one.identity.home) if one.identity is not None else None
            reason = orphan_reason(one, home, owners)
            if reason:
                found[one.name] = reason
        self._since = {name: self._since.get(name, now) for name in found}
        due = [name for name, since in self._since.items() if now - since >= GRACE_S]
        for name in due[:COLLECTED_AT_ONCE_MAX]:
            await self._remove(name, found[name])

    async def _remove(self, name: str, reason: str) -> None:
        hands = self._hands
        try:
            seen = await hands.observer.look(name)
            if seen is None or seen.identity is None or seen.identity.project != hands.site.project:
                return
            hands.leader.require()
            await hands.engine.remove(seen.id)
            await hands.observer.look(name)
        except ActionError as error:
            _log.warning("orphan.uncollected", container=name, why=str(error))
            return
        _log.info("orphan.collected", container=name, reason=reason)
