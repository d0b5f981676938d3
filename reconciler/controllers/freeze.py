"""Whether anything may be removed at all: after every list the world is compared with the store.

A store that was restored from an old backup would take for nobody's what is only newer than itself.
Next: :mod:`reconciler.controllers.orphans`.
"""

import structlog

from reconciler.core.container import ObservedContainer
from reconciler.core.orphans import NOT_COMPARED, freeze_reason, is_ahead, world_epoch
from reconciler.loop.actuator import Hands
from state.kinds.home import Home

_log = structlog.get_logger(__name__)


class Freeze:
    """Shared by everyone who removes. ``reason`` says why nothing may be; "" where it may."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self.reason = NOT_COMPARED
        self.thawed_epoch = 0  # from this epoch on somebody lets the store rule, whatever it lacks

    @property
    def finding(self) -> str:
        """The reason, once the world was compared at all."""
        return self.reason if self.reason != NOT_COMPARED else ""

    async def judge(self) -> None:
        """Compare anew. Raises ActionError when it cannot be told whose claims are on disk."""
        hands = self._hands
        containers = hands.observer.containers()
        unknown = any(self._home(one) is None for one in containers if one.identity is not None)
        claimed = await hands.directories.claimed() if unknown else set()
        ahead = [one.name for one in containers if self._is_ahead(one, claimed)]
        store_rules = self.thawed_epoch >= hands.leader.epoch
        reason = freeze_reason(world_epoch(containers), hands.leader.epoch, () if store_rules else ahead)
        if reason and not self.finding:
            _log.error("destruction.frozen", why=reason)
        self.reason = reason

    def _is_ahead(self, container: ObservedContainer, claimed: set[str]) -> bool:
        name = container.identity.home if container.identity is not None else ""
        return is_ahead(container, self._home(container), claimed_on_disk=name in claimed)

    def _home(self, container: ObservedContainer) -> Home | None:
        identity = container.identity
        return self._hands.cache.get(Home, identity.home if identity is not None else "")
