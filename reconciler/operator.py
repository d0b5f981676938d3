"""The operator: joins store, engine and controllers, and gives every key its turn.

What may wake a key: a change in the store, a change at the engine, a probe's finding, an image's arrival,
the passing of time, and the resync. None of them carries a meaning; each is only a reason to look.
:mod:`reconciler.main` makes one of these out of settings.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

import structlog

from reconciler.controllers.freeze import Freeze
from reconciler.controllers.homes import Homes
from reconciler.controllers.logs import Logs
from reconciler.controllers.orphans import Orphans
from reconciler.controllers.recovery import lost_claims, recover_claims
from reconciler.controllers.report import Report
from reconciler.controllers.user_containers import Turn, UserContainers, system_jitter
from reconciler.core.addresses import AddressPool
from reconciler.core.container import ObservedContainer
from reconciler.core.errors import ActionError
from reconciler.core.isolation import FenceAsked, beyond_fences
from reconciler.core.orphans import world_epoch
from reconciler.core.world import Site
from reconciler.engine.port import Engine, NetworkSpec
from reconciler.loop.actuator import Hands
from reconciler.loop.cache import WATCHED, Cache
from reconciler.loop.directories import Directories
from reconciler.loop.disk import Allowance, Disk
from reconciler.loop.fence import Fence, ReadFence, no_fence
from reconciler.loop.gate import CreationRate, StartGate
from reconciler.loop.gauge import Gauge, NoGauge
from reconciler.loop.images import Images
from reconciler.loop.layers import EngineLayers
from reconciler.loop.leader import Leader
from reconciler.loop.networks import Networks
from reconciler.loop.observer import LIST_PERIOD_TROUBLED_S, Observer
from reconciler.loop.prober import Ask, Prober
from reconciler.loop.queue import KeyQueue, Priority
from state.kinds.app import App
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.log_view import LogView
from state.kinds.report import Reconciler
from state.kinds.request import Request
from state.kinds.resource import Resource
from state.kinds.template import ContainerTemplate, Egress
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs
from state.sealing import PrivateKey
from state.store.errors import Fenced, StoreError
from state.store.port import Batch, Store

WORKERS: dict["Controller", int] = {
    "user": 256,  # passes under way at once; most of them wait for the engine
    "home": 1,  # data are deleted one Home after the other, and no user's turn waits for it
}
TURNS_IN_A_ROW_MAX = 32  # then the key goes to the back, so that nobody starves
STORE_RETRY_S = 1.0
CRASHED_PASS_RETRY_S = 60.0

Controller = Literal["user", "home"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The edges that an operator is given; tests and simulations give twins."""

    store: Store
    engine: Engine
    directories: Directories
    ask: Ask
    site: Site
    pools: Mapping[Egress, AddressPool]
    networks: Mapping[Egress, NetworkSpec]
    gate: StartGate
    holder: str
    key: PrivateKey  # opens users' secrets
    read_fence: ReadFence = no_fence
    fence_trusted: tuple[IPv4Address, ...] = ()
    gauge: Gauge = field(default_factory=NoGauge)
    disk_free_bytes_min: int = 0
    egress_refused: Callable[[], tuple[tuple[Egress, str], ...]] = tuple  # what cannot be had, and why
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] | None = None  # None: the running loop's
    lease_clock: Callable[[], float] | None = None  # None: one that suspends do not stop
    jitter: Callable[[], float] = system_jitter


class Operator:
    """One reconciler process's work, from taking the lead to giving it back."""

    def __init__(self, around: Surroundings) -> None:
        loop = asyncio.get_running_loop()
        clock = around.clock or loop.time
        self._around = around
        self._queues: dict[Controller, KeyQueue[str]] = {"user": KeyQueue(), "home": KeyQueue()}
        self.cache = Cache()
        self.leader = (
            Leader(around.store, around.holder, around.lease_clock)
            if around.lease_clock is not None
            else Leader(around.store, around.holder)
        )
        self.observer = Observer(around.engine, self._containers_changed)
        self.observer.on_listed = self._listed
        self.prober = Prober(around.ask, around.now, self._health_changed)
        self._images = Images(around.engine, around.now, self._image_changed)
        self.hands = Hands(
            store=around.store,
            engine=around.engine,
            cache=self.cache,
            observer=self.observer,
            directories=around.directories,
            images=self._images,
            leader=self.leader,
            gate=around.gate,
            rate=CreationRate(around.site.ceiling.creates_per_minute_max, clock),
            site=replace(around.site, key_id=around.key.public.id),
            pools=around.pools,
            networks=Networks(around.engine, around.networks),
            fence=Fence(
                around.read_fence,
                FenceAsked(
                    frozenset(IPv4Network(one.subnet) for one in around.networks.values()),
                    frozenset(around.fence_trusted),
                    around.site.egress_proxy,
                ),
                around.now,
                beyond=lambda: beyond_fences(around.engine.capabilities),
                on_change=self._halt_changed,
            ),
            disk=Disk(
                around.gauge,
                EngineLayers(around.engine),
                around.disk_free_bytes_min,
                self._allowances,
                on_room=self._halt_changed,
                on_use=self._wake_home_of,
            ),
            key=around.key,
            clock=clock,
        )
        self.freeze = Freeze(self.hands)
        self.users = UserContainers(self.hands, self.freeze, self.prober, around.now, around.jitter)
        self._homes = Homes(self.hands, self.freeze, around.now)
        self._orphans = Orphans(self.hands, self.freeze, clock)
        self._logs = Logs(self.hands, around.now)
        self._report = Report(self.hands, self.freeze, around.now, self._heed_engine)
        self._heed_engine()
        self._synced = asyncio.Event()
        self._may_work = asyncio.Event()  # synced, and the world was compared or cannot be seen
        self.led = asyncio.Event()  # the lead was taken, and what was lost is rebuilt
        self._thawed = asyncio.Event()
        self._collecting: asyncio.Task[None] | None = None
        self._seen = False

    async def run(self) -> None:
        """Lead and reconcile until cancelled, or until the leadership is lost (then it returns)."""
        await self._take_the_lead()
        self.led.set()
        try:
            await self._run_led()
        finally:
            for queue in self._queues.values():
                queue.close()
            await self._stop_collecting()
            await self.prober.close()
            await self._images.close()
            self._around.gauge.close()
            self._around.directories.close()
            await self._resign()

    def is_synced(self) -> bool:
        """The store was read, and what it says is being worked on."""
        return self._synced.is_set()

    def queue_length(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def is_settled(self) -> bool:
        """Synced, and no key waits for a turn or has one."""
        return self._synced.is_set() and all(queue.is_idle() for queue in self._queues.values())

    async def _take_the_lead(self) -> None:
        """Lead, with what the store forgot rebuilt from disk.

        If that is everything, the epoch is above every label: the store begins with the world as it is.
        """
        around = self._around
        await self._acquire()
        lost = await lost_claims(around.store, around.directories)
        if not lost.claims:
            return
        epoch_min = await self._epoch_found() + 1 if lost.is_everything else 0
        await recover_claims(
            around.store, lost, project=around.site.project, epoch=self.leader.epoch, epoch_min=epoch_min
        )
        if epoch_min:
            await self.leader.resign()
            await self._acquire()

    async def _acquire(self) -> None:
        """Lead, in an epoch that nobody who thawed finds too low, and take over what is on record by then."""
        await self.leader.acquire(_epoch_min(await self._read_report()))
        # Waiting for the lead may have taken days, and somebody may have thawed meanwhile.
        while _epoch_min(report := await self._read_report()) > self.leader.epoch:
            await self.leader.resign()
            await self.leader.acquire(_epoch_min(report))
        self.freeze.begin(report)

    async def _read_report(self) -> Reconciler | None:
        project = self._around.site.project
        return await self._around.store.read(lambda tx: tx.get(Reconciler, project))

    async def _epoch_found(self) -> int:
        """The world's epoch, once the engine tells: a guess would freeze what is rebuilt."""
        await self.observer.list()
        while self.observer.unknown:
            await asyncio.sleep(LIST_PERIOD_TROUBLED_S)
            await self.leader.acquire()
            await self.observer.list()
        return world_epoch(self.observer.containers())

    async def _run_led(self) -> None:
        await asyncio.gather(self.hands.fence.look(), self.hands.disk.look())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._follow_store()),
                    group.create_task(self._report.run()),
                    group.create_task(self._logs.run()),
                    group.create_task(self.hands.fence.run()),
                    group.create_task(self.hands.disk.run()),
                    group.create_task(self.observer.run()),
                    *(
                        group.create_task(self._work(one))
                        for one in self._queues
                        for _ in range(WORKERS[one])
                    ),
                ]
                await self._until_over()
                for task in tasks:
                    task.cancel()
        except* Fenced as fenced:  # a write was refused before the lease's own renewal told of the loss
            _log.error("leadership.lost", why=str(fenced.exceptions[0]))

    async def _until_over(self) -> None:
        """Until the lead is lost, or somebody asked for a higher epoch: then another start begins with it."""
        keeping, thawed = asyncio.create_task(self.leader.keep()), asyncio.create_task(self._thawed.wait())
        try:
            await asyncio.wait({keeping, thawed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            keeping.cancel()
            thawed.cancel()

    async def _stop_collecting(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
            await asyncio.gather(self._collecting, return_exceptions=True)

    async def _resign(self) -> None:
        try:
            await self.leader.resign()
        except StoreError as error:
            _log.warning("leadership.unreturned", why=str(error))

    # --- what wakes a key ---------------------------------------------------------------------------

    async def _follow_store(self) -> None:
        while True:
            try:
                async for batch in self._around.store.watch(WATCHED):
                    self._apply(batch)
            except StoreError as error:
                _log.warning("store.unwatched", why=str(error))
            await asyncio.sleep(STORE_RETRY_S)

    def _apply(self, batch: Batch) -> None:
        for key in batch.removed:
            gone = self.cache.drop(key)
            if gone is not None:
                self._wake_for(gone)
        for obj in batch.objects:
            if self.cache.put(obj):
                self._wake_for(obj)
        if not self._synced.is_set():
            self._synced.set()
            if self.observer.was_listed:  # else it soon is, or is known not to answer
                self._listed()

    def _wake_for(self, obj: Resource) -> None:
        match obj:
            case UserContainer():
                is_urgent = obj.metadata.is_deleted
                self._wake_user(obj.name, Priority.URGENT if is_urgent else Priority.CREATE)
            case ContainerTemplate():
                for name in self.cache.users_of(obj.name):
                    self._wake_user(name, Priority.ROLLOUT)
            case App():
                for name in self.cache.users_of_app(obj.name):
                    self._wake_user(name, Priority.RESYNC)
            case Home():
                self._wake_home(obj)
            case Request():
                self._wake_user(obj.spec.user_container, Priority.URGENT)
            case UserInputs() | UserHeaders():
                self._wake_user(obj.name, Priority.CREATE)
            case Incarnation():
                self._wake_owner(obj.spec.user_container)
            case LogView():
                self._logs.wake()
            case Reconciler() if self._asks_for_another_epoch(obj):
                self._thawed.set()
            case _:
                pass

    def _asks_for_another_epoch(self, report: Reconciler) -> bool:
        """By the project's own record, as no restart would come to what another one asks for."""
        return report.name == self._around.site.project and report.spec.epoch_min > self.leader.epoch

    def _wake_user(self, name: str, priority: Priority) -> None:
        self._queues["user"].add(name, priority)

    def _wake_home(self, home: Home) -> None:
        if home.status.tombstoned_at is not None:
            self._queues["home"].add(home.name, Priority.RESYNC)
        elif home.spec.owner is not None:
            self._wake_owner(home.spec.owner.uid)

    def _wake_owner(self, uid: str, priority: Priority = Priority.CREATE) -> None:
        owner = self.cache.user_container_of(uid)
        if owner is not None:
            self._wake_user(owner.name, priority)

    def _containers_changed(self, containers: Iterable[ObservedContainer]) -> None:
        for one in containers:
            if one.identity is not None:
                self._wake_owner(one.identity.user_container)

    def _health_changed(self, incarnation: str) -> None:
        record = self.cache.get(Incarnation, incarnation)
        if record is not None:
            self._wake_owner(record.spec.user_container, Priority.HEALTH)

    def _allowances(self) -> dict[str, Allowance]:
        return self.users.allowances()

    def _wake_home_of(self, home: str) -> None:
        found = self.cache.get(Home, home)
        if found is not None:
            self._wake_home(found)

    def _halt_changed(self) -> None:
        """Whether anything may be made is another matter now."""
        self._report.renew_soon()
        self.resync(Priority.CREATE)

    def _heed_engine(self) -> None:
        """What can be had with it, which it may have told only now: it was down, or is another one."""
        ceiling, refused = self.hands.site.ceiling, self._around.egress_refused()
        if refused != ceiling.egress_refused:
            self.hands.site = replace(self.hands.site, ceiling=replace(ceiling, egress_refused=refused))
            self.resync(Priority.CREATE)

    def _image_changed(self, _reference: str) -> None:
        self.resync(Priority.CREATE)

    def _listed(self) -> None:
        """After every list: resync, judge whether anything may be removed, collect what nobody owns."""
        if self._seen is bool(self.observer.unknown):
            self._seen = not self.observer.unknown
            self._report.renew_soon()
        if not self._synced.is_set():
            return
        if self.observer.unknown:
            self._may_work.set()  # people are told, and nothing else
            self.resync(Priority.RESYNC)
            return
        if not self.freeze.is_judged or self.freeze.is_news:
            self._may_work.clear()  # what is adopted would wipe out the traces of what the store forgot
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._try_to_collect())

    async def collect(self) -> int:
        """What follows a list: whether anything may be removed, a resync, and what nobody owns or keeps.

        How many users were not settled. Raises ActionError, Fenced.
        """
        await self.freeze.judge()
        if self.freeze.is_news:
            self._may_work.clear()
            await self._report.tell_at_last()
            self.freeze.is_news = False
        self._may_work.set()
        unsettled = self.resync(Priority.RESYNC)
        for home in self.cache.all(Home):
            if home.status.tombstoned_at is not None:
                self._wake_home(home)
        await self._orphans.collect()
        return unsettled

    async def _try_to_collect(self) -> None:
        try:
            await self.collect()
        except ActionError as error:
            _log.warning("collection.failed", reason=error.reason, message=str(error))
            if not self.freeze.is_judged:  # nobody is worked for until it is
                await asyncio.sleep(LIST_PERIOD_TROUBLED_S)
                self.observer.list_soon()
        except Fenced as fenced:  # the lead is lost, and whoever keeps it finds out
            _log.warning("collection.failed", reason="Fenced", message=str(fenced))

    def resync(self, priority: Priority) -> int:
        """Give a turn to every key for which there is something to do or to tell; how many there were."""
        unsettled = [one.name for one in self.cache.all(UserContainer) if not self._is_settled(one.name)]
        for name in unsettled:
            self._wake_user(name, priority)
        return len(unsettled)

    def _is_settled(self, name: str) -> bool:
        """One user's record that makes no sense keeps nobody else from being looked at: its pass tells."""
        try:
            return self.users.is_settled(name)
        except Exception:
            return False

    # --- whose turn it is ---------------------------------------------------------------------------

    async def _work(self, controller: Controller) -> None:
        queue = self._queues[controller]
        while True:
            name, priority = await queue.take()
            try:
                await self._report.networks_were_tried.wait()
                await self._may_work.wait()  # last: it is taken back while a list is judged
                await self._turn(controller, name, priority)
            finally:
                queue.done(name)

    async def _turn(self, controller: Controller, name: str, priority: Priority) -> None:
        for _ in range(TURNS_IN_A_ROW_MAX):
            turn = await self._guarded(controller, name, urgent=priority is Priority.URGENT)
            if not turn.again:
                self._later(controller, name, turn.look_again_at)
                return
        await asyncio.sleep(0)  # actions that never wait must not keep the lease from being renewed
        self._queues[controller].add(name, Priority.RESYNC)

    async def _guarded(self, controller: Controller, name: str, *, urgent: bool) -> Turn:
        """A mistake of ours in one key's pass is logged and tried again later; the others go on."""
        try:
            return await self._reconcile(controller, name, urgent=urgent)
        except Fenced:
            raise
        except Exception:
            _log.exception("pass.crashed", controller=controller, key=name)
            return Turn(look_again_at=self._around.now() + timedelta(seconds=CRASHED_PASS_RETRY_S))

    async def _reconcile(self, controller: Controller, name: str, *, urgent: bool) -> Turn:
        with structlog.contextvars.bound_contextvars(key=name):
            if controller == "user":
                return await self.users.reconcile(name, urgent=urgent)
            return await self._homes.reconcile(name)

    def _later(self, controller: Controller, name: str, at: datetime | None) -> None:
        if at is not None:
            delay_s = (at - self._around.now()).total_seconds()
            self._queues[controller].add_after(name, delay_s, Priority.CREATE)


def _epoch_min(report: Reconciler | None) -> int:
    return report.spec.epoch_min if report is not None else 0
