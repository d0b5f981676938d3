"""The Reconciler object: the project's networks are kept, and what holds for everybody is told.

The network of everybody who may go to the internet stands before anything is created on it; the others come
with the first template that asks for them. A collision is told until it is mended.
Next: :mod:`reconciler.controllers.logs`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

import structlog

from reconciler.controllers.freeze import Freeze
from reconciler.core.confinement import ENFORCED, Confinement
from reconciler.core.errors import ActionError
from reconciler.core.isolation import Isolation
from reconciler.core.orphans import world_epoch
from reconciler.loop.actuator import ACTOR, Hands
from state.kinds.report import Reconciler, ReconcilerSpec, ReconcilerStatus
from state.kinds.resource import Condition, Conditions, ConditionType, Metadata, Truth
from state.kinds.template import ContainerTemplate, Egress
from state.store.errors import Fenced, StoreError
from state.store.port import Tx

TELL_RETRY_S = 1.0
RENEW_PERIOD_S = 15.0  # also between two tries to make the network

_log = structlog.get_logger(__name__)


class Report:
    """One a reconciler process, while it leads."""

    def __init__(
        self, hands: Hands, freeze: Freeze, now: Callable[[], datetime], on_engine: Callable[[], None]
    ) -> None:
        self._hands = hands
        self._on_engine = on_engine  # it was asked what it is
        self._freeze = freeze
        self._now = now
        self._network_message = ""
        self._renewal = asyncio.Event()
        self.networks_were_tried = asyncio.Event()  # what is created needs one, and waits no longer than this

    async def run(self) -> None:
        """Keep the networks and tell, for ever. Raises Fenced."""
        while True:
            await self.keep_networks()
            self._renewal.clear()
            await self.tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_PERIOD_S):
                    await self._renewal.wait()

    def renew_soon(self) -> None:
        """Something that is told has changed."""
        self._renewal.set()

    async def keep_networks(self) -> None:
        """Make those that are missing of the ones that are asked for; what stands in their way is told.

        Also of what is refused so far: a proxy has to be attached to its network before it can be set.
        """
        asked = {one.spec.security.egress for one in self._hands.cache.all(ContainerTemplate)}
        zones = [one for one in Egress if one is Egress.INTERNET or one in asked]
        self._network_message = await self._hands.networks.keep(zones)
        self.networks_were_tried.set()

    async def tell_at_last(self) -> None:
        """Put on record what holds, however long the store is silent. Raises Fenced."""
        while True:
            if await self.tell():
                return
            await asyncio.sleep(TELL_RETRY_S)

    async def tell(self) -> bool:
        """Put on record what holds; whether that could be done. Raises Fenced."""
        hands, epoch = self._hands, self._hands.leader.epoch
        newest, engine = world_epoch(hands.observer.containers()), await self._engine_version()
        self._on_engine()
        conditions = self._conditions()

        def write(tx: Tx) -> None:
            tx.fence(epoch)
            project = hands.site.project
            current = tx.get(Reconciler, project) or tx.create(
                Reconciler(metadata=Metadata(name=project), spec=ReconcilerSpec(project=project))
            )
            status = ReconcilerStatus(
                engine=engine or current.status.engine,
                epoch=epoch,
                world_epoch=current.status.world_epoch if hands.observer.unknown else newest,
                sealing_key=str(hands.key.public),
                conditions=Conditions.merged(current.status.conditions, conditions),
            )
            tx.update_status(current.replaced(status=status))

        try:
            await hands.store.transact(write, actor=ACTOR)
        except Fenced:
            raise
        except StoreError as error:
            _log.warning("report.unwritten", why=str(error))
            return False
        return True

    async def _engine_version(self) -> str:
        try:
            return await self._hands.engine.version()
        except ActionError:
            return ""

    def _conditions(self) -> tuple[Condition, ...]:
        unknown, frozen, now = self._hands.observer.unknown, self._freeze.finding, self._now()
        limits = () if unknown else (_limits_enforced(self._hands.engine.capabilities.confinement, now),)
        return (
            *limits,
            _engine_reachable(unknown, now),
            _degraded(self._network_message, self._hands.disk.full, now),
            _isolated(self._hands.fence.isolation, now),
            _destruction_frozen(frozen, now),
        )


def _engine_reachable(unknown: str, now: datetime) -> Condition:
    truth = Truth.UNKNOWN if unknown else Truth.TRUE
    return _condition(
        ConditionType.ENGINE_REACHABLE, truth, "NoAnswer" if unknown else "Answers", unknown, now
    )


def _limits_enforced(found: Confinement, now: datetime) -> Condition:
    truth = Truth.TRUE if found.reason == ENFORCED else Truth.FALSE
    return _condition(ConditionType.LIMITS_ENFORCED, truth, found.reason, found.message, now)


def _degraded(network_message: str, disk_message: str, now: datetime) -> Condition:
    if network_message:
        return _condition(ConditionType.DEGRADED, Truth.TRUE, "NetworkUnusable", network_message, now)
    if disk_message:
        return _condition(ConditionType.DEGRADED, Truth.TRUE, "DiskFull", disk_message, now)
    return _condition(ConditionType.DEGRADED, Truth.FALSE, "AsExpected", "", now)


def _destruction_frozen(reason: str, now: datetime) -> Condition:
    if reason:
        return _condition(ConditionType.DESTRUCTION_FROZEN, Truth.TRUE, "StoreLooksOld", reason, now)
    return _condition(ConditionType.DESTRUCTION_FROZEN, Truth.FALSE, "StoreIsCurrent", "", now)


def _isolated(isolation: Isolation, now: datetime) -> Condition:
    truth = Truth.TRUE if isolation.is_fenced else Truth.FALSE
    return _condition(ConditionType.ISOLATED, truth, isolation.reason, isolation.message, now)


def _condition(of: ConditionType, truth: Truth, reason: str, message: str, now: datetime) -> Condition:
    return Condition(type=of, status=truth, reason=reason, message=message[:1024], since=now)
