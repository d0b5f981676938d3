"""The end of tombstoned data: purged once its retention is over, and not a moment earlier.

Next: :mod:`reconciler.controllers.freeze`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from reconciler.controllers.freeze import Freeze
from reconciler.controllers.user_containers import DONE, Turn
from reconciler.core.errors import ActionError, TransientError
from reconciler.loop.actuator import ACTOR, Hands
from state.kinds.home import Home
from state.kinds.incarnation import IncarnationNames
from state.kinds.resource import Key
from state.store.errors import Fenced, StoreError
from state.store.port import Tx

RETRY_S = 10.0
_log = structlog.get_logger(__name__)


class Homes:
    """Passes over tombstoned Homes, by name."""

    def __init__(self, hands: Hands, freeze: Freeze, now: Callable[[], datetime]) -> None:
        self._hands = hands
        self._freeze = freeze
        self._now = now

    async def reconcile(self, name: str) -> Turn:
        """Purge what is due; otherwise say when it will be."""
        home, now = self._hands.cache.get(Home, name), self._now()
        if home is None or home.status.tombstoned_at is None or home.status.retain_until is None:
            return DONE
        if not self.may_purge(home, now):
            return Turn(look_again_at=max(home.status.retain_until, now + timedelta(seconds=RETRY_S)))
        try:
            await self._purge(home)
        except Fenced:
            raise
        except (ActionError, StoreError) as error:
            _log.warning("home.unpurged", home=name, why=str(error))
            return Turn(look_again_at=self._now() + timedelta(seconds=_retry_s(error)))
        return DONE

    def may_purge(self, home: Home, now: datetime) -> bool:
        """Retention is over, nobody owns it, the engine is known to show nothing of it, nothing is frozen."""
        if home.status.tombstoned_at is None or home.status.retain_until is None or self._freeze.reason:
            return False
        owner = home.spec.owner
        if owner is not None and self._hands.cache.user_container_of(owner.uid) is not None:
            return False
        view = self._hands.observer.view(
            self._container_name(home), home.name, owner.uid if owner is not None else ""
        )
        return view.containers == () and home.status.retain_until <= now

    async def _purge(self, home: Home) -> None:
        """The directory first: a record without data is harmless, data without a record is lost."""
        hands = self._hands
        hands.leader.require()
        await hands.directories.purge(home.name, self._now())
        hands.leader.require()
        await hands.engine.remove_data(self._container_name(home))
        epoch = hands.leader.epoch

        def forget(tx: Tx) -> None:
            tx.fence(epoch)
            current = tx.get(Home, home.name)
            if current is not None and current.uid == home.uid:
                tx.delete(current)

        await hands.store.transact(forget, actor=ACTOR)
        hands.cache.drop(Key(kind=Home.kind, name=home.name))
        _log.info("home.purged", home=home.name)

    def _container_name(self, home: Home) -> str:
        return IncarnationNames.container(self._hands.site.project, home.name)


def _retry_s(error: ActionError | StoreError) -> float:
    asked_s = error.retry_after_s if isinstance(error, TransientError) else None
    return RETRY_S if asked_s is None else asked_s
