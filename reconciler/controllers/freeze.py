"""Whether anything may be removed at all: after every list the world is compared with the store.

A store that was restored from an old backup would take for nobody's what is only newer than itself, and for
outdated what was edited since. Found once, it stays so until somebody decides, whatever is adopted meanwhile.
Next: :mod:`reconciler.controllers.orphans`.
"""

import structlog

from reconciler.core.container import ObservedContainer
from reconciler.core.errors import TransientError
from reconciler.core.orphans import NOT_COMPARED, freeze_reason, is_ahead, leap_reason, world_epoch
from reconciler.loop.actuator import Hands
from state.kinds.home import Home
from state.kinds.report import Reconciler
from state.kinds.resource import ConditionType
from state.store.port import Tx

_log = structlog.get_logger(__name__)


def let_the_store_rule(tx: Tx) -> int:
    """Raise the epoch above every label that was seen; the epoch, or 0 where no reconciler ever reported."""
    raised = 0
    for reconciler in tx.list(Reconciler):
        raised = max(reconciler.status.world_epoch, reconciler.status.epoch, reconciler.spec.epoch_min) + 1
        tx.update_spec(reconciler.replaced(spec=reconciler.spec.model_copy(update={"epoch_min": raised})))
    return raised


class Freeze:
    """Shared by everyone who removes. ``reason`` says why nothing may be; "" where it may."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self.reason = NOT_COMPARED
        self.is_news = False  # something was found that has yet to be put on record
        self._standing = ""  # what was found before, by this process or by one before it
        self._thawed_epoch = 0  # labels below it prove nothing: somebody let the store rule over them

    @property
    def finding(self) -> str:
        """The reason, as far as the world was ever compared."""
        return self.reason if self.reason != NOT_COMPARED else self._standing

    @property
    def is_judged(self) -> bool:
        return self.reason != NOT_COMPARED

    def begin(self, report: Reconciler | None) -> None:
        """Take over what is on record from the reconcilers before."""
        self._thawed_epoch, self._standing = 0, ""
        if report is None:
            return
        self._thawed_epoch = report.spec.epoch_min
        frozen = report.status.condition(ConditionType.DESTRUCTION_FROZEN)
        if frozen is not None and frozen.is_true and report.status.epoch >= report.spec.epoch_min:
            self._standing = frozen.message

    async def judge(self) -> None:
        """Compare anew.

        Raises ActionError when it cannot be told whose claims are on disk, when the epoch is none that
        anybody came to, or when somebody else leads by now: what a successor makes is newer than whoever it
        succeeded, and proves nothing.
        """
        hands, before = self._hands, self._standing
        hands.leader.require()
        containers = hands.observer.containers()
        newest = world_epoch(containers)
        if leapt := leap_reason(newest, hands.leader.epoch):
            self.reason = NOT_COMPARED
            raise TransientError("EpochImplausible", leapt)
        # As it was when they were listed: while the disk is read, a container may be adopted.
        homes = [(one, self._home(one)) for one in containers if one.identity is not None]
        claimed = await hands.directories.claimed() if any(home is None for _, home in homes) else set()
        ahead = [one.name for one, home in homes if self._is_ahead(one, home, claimed)]
        found = freeze_reason(newest, hands.leader.epoch, ahead)
        self.reason = self._standing = before or found
        if self.reason and not before:
            _log.error("destruction.frozen", why=self.reason)
            self.is_news = True

    def _is_ahead(self, container: ObservedContainer, home: Home | None, claimed: set[str]) -> bool:
        identity = container.identity
        if identity is None or identity.epoch < self._thawed_epoch:
            return False
        return is_ahead(container, home, claimed_on_disk=identity.home in claimed)

    def _home(self, container: ObservedContainer) -> Home | None:
        identity = container.identity
        return self._hands.cache.get(Home, identity.home if identity is not None else "")
