"""Carries out one action: intent on record, engine call, outcome on record, a look at what came of it.

Decides nothing. Every mutation asks first whether we still lead. An answer that never came leaves the
record as it was; the next pass looks by name and goes on from there.
Next: :mod:`reconciler.controllers.user_containers`, which plans what is carried out here.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar, assert_never

import structlog

from reconciler.core.actions import (
    Action,
    Adopt,
    Answer,
    ClaimHome,
    Create,
    End,
    FetchImage,
    Forget,
    Intend,
    Quarantine,
    Release,
    Remove,
    Retire,
    Route,
    Sleep,
    Start,
    Tombstone,
    Unroute,
    Wake,
    WriteFiles,
)
from reconciler.core.addresses import AddressPool, is_of, pick_address, widen
from reconciler.core.container import ObservedContainer, Placement
from reconciler.core.errors import ActionError, NameConflictError, TerminalError, TransientError
from reconciler.core.log_text import readable_tail
from reconciler.core.one_time import is_one_time
from reconciler.core.target import failed_hash
from reconciler.core.trouble import OVERTAKEN
from reconciler.core.world import Site, World
from reconciler.engine.port import Engine
from reconciler.loop import records
from reconciler.loop.cache import Cache
from reconciler.loop.directories import Claim, Directories
from reconciler.loop.disk import Disk
from reconciler.loop.fence import Fence
from reconciler.loop.gate import CreationRate, Creations, StartGate
from reconciler.loop.home_files import files_at_birth, write_files_now
from reconciler.loop.images import Images
from reconciler.loop.leader import Leader
from reconciler.loop.mounts import HostMounts
from reconciler.loop.networks import Networks
from reconciler.loop.observer import Observer
from reconciler.loop.records import Written
from reconciler.loop.unsealing import unsealed
from state.kinds.home import HOSTNAME_BYTES, Home, Owner, hostname
from state.kinds.incarnation import Incarnation
from state.kinds.resource import Key
from state.kinds.template import Egress
from state.kinds.user_container import LOG_TAIL_CHARS_MAX, UserContainer
from state.sealing import PrivateKey
from state.store.errors import AlreadyExists, BarrierTimeout, Conflict, NotFound, StoreError
from state.store.port import Store, Tx

BARRIER_TIMEOUT_S = 15.0  # longer than a dead gateway worker's lease
STOP_GRACE_S = 10.0
LAST_WORDS_LINES_MAX = 40
LAST_WORDS_S_MAX = 2.0  # nobody's requests go to a dead container any longer for the sake of its log
STORE_CHANGED_RETRY_S = 0.05
ADDRESS_AVOIDED_S = 60.0
PHANTOM_LOOKS = 3
PHANTOM_LOOK_S = 0.2
ADDRESSES_AVOIDED_MAX = 1024
ACTOR = "reconciler"

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Hands:
    """Everything that acting needs: the edges of the world."""

    store: Store
    engine: Engine
    cache: Cache
    observer: Observer
    directories: Directories
    images: Images
    leader: Leader
    gate: StartGate
    rate: CreationRate
    site: Site
    pools: Mapping[Egress, AddressPool]
    networks: Networks
    fence: Fence
    disk: Disk
    key: PrivateKey  # opens users' secrets
    clock: Callable[[], float]
    mounts: HostMounts = field(default_factory=HostMounts)
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    avoided: dict[str, float] = field(default_factory=dict)  # address → until, taken by somebody else
    next_address: dict[Egress, int] = field(default_factory=dict)  # where the search for a free one begins
    intending_count: int = 0  # intents under way to the store
    creations: Creations = field(default_factory=Creations)


class Actuator:
    """Carries out actions; one at a time for a key, many keys side by side."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def carry_out(self, world: World, action: Action, *, urgent: bool) -> None:
        """Raises ActionError (retry or not) when the action did not take place, or may not have."""
        self._hands.leader.require()
        try:
            await self._dispatch(world, action, urgent=urgent)
        except (Conflict, NotFound) as stale:
            message = f"the store changed meanwhile: {stale}"
            raise TransientError("StoreChanged", message, STORE_CHANGED_RETRY_S) from stale
        except AlreadyExists as taken:
            # Whose it is nobody else is told: who knows a Home's name may use its link routes.
            _log.info("action.overtaken", action=type(action).__name__, why=str(taken))
            message = "what it needs was just taken by somebody else; another is tried at once"
            raise TransientError(OVERTAKEN, message, STORE_CHANGED_RETRY_S) from taken
        except BarrierTimeout as late:
            raise TransientError("BarrierTimeout", str(late)) from late
        except StoreError as error:
            raise TransientError("StoreUnavailable", str(error)) from error

    async def _dispatch(self, world: World, action: Action, *, urgent: bool) -> None:
        owner = world.user_container
        match action:
            case ClaimHome():
                await self._claim(world)
            case FetchImage(wanted):
                self._hands.images.fetch(wanted.spec.image, wanted.pull)
            case Intend():
                await self._intend(owner, action)
            case Create():
                async with self._hands.gate.place(urgent=urgent):
                    await self._create(world, action)
            case Start():
                async with self._hands.gate.place(urgent=urgent):
                    await self._start(world, action)
            case Adopt():
                await self._adopt(world, action)
            case Route():
                await self._route(world, action)
            case WriteFiles():
                await write_files_now(self._hands.directories, world, action, self._write)
            case Unroute():
                await self._write(lambda tx: records.unroute(tx, owner))
            case Retire():
                await self._retire(world, action)
            case Remove():
                await self._remove(action)
            case Quarantine(incarnation):
                await self._write(lambda tx: records.quarantine(tx, incarnation))
            case Release(incarnation):
                await self._release(incarnation)
            case Answer():
                await self._write(lambda tx: records.answer(tx, action))
            case Sleep():
                await self._write(lambda tx: records.sleep(tx, owner, action))
                _log.info("user_container.slept", user_container=owner.name)
            case Wake():
                await self._write(lambda tx: records.wake(tx, owner, action))
                _log.info("user_container.woken", user_container=owner.name)
            case End(used_at):
                await self._write(lambda tx: records.end(tx, owner, used_at))
                _log.info("user_container.ended", user_container=owner.name, used_at=str(used_at))
            case Tombstone():
                await self._tombstone(world, action)
            case Forget():
                await self._forget(owner)
            case _:
                assert_never(action)

    # --- birth -------------------------------------------------------------------------------------

    async def _claim(self, world: World) -> None:
        owner, one_time = world.user_container, is_one_time(world)
        name = hostname(self._hands.random_bytes(HOSTNAME_BYTES))
        await self._write(lambda tx: records.claim_home(tx, owner, name, one_time=one_time))
        _log.info("home.claimed", home=name, user_container=owner.name)

    async def _intend(self, owner: UserContainer, action: Intend) -> None:
        hands = self._hands
        own = {one.spec.address for one in action.supersedes}
        address = self._pick(action.home, own, action.wanted.spec.egress)
        self._refuse_one_too_many(action)
        hands.rate.spend()
        epoch, project = hands.leader.epoch, hands.site.project
        superseded = tuple(one for one in action.supersedes if one.spec.address == address)
        action = replace(action, supersedes=superseded)
        hands.intending_count += 1
        try:
            await self._write(
                lambda tx: records.intend(tx, owner, action, address=address, project=project, epoch=epoch)
            )
        finally:
            hands.intending_count -= 1
        hands.creations.intended(action.home.name, action.home.status.last_incarnation + 1)
        for one in superseded:
            hands.cache.drop(Key(kind=Incarnation.kind, name=one.name))

    def _refuse_one_too_many(self, action: Intend) -> None:
        """Many keys are planned on one picture: each may be below the ceiling, and all of them above it."""
        hands = self._hands
        most = hands.site.ceiling.containers_max
        there = hands.cache.count(Incarnation) - len(action.supersedes) + hands.intending_count
        if there >= most:
            message = f"{there} of CEILING_CONTAINERS ({most}) containers are there or on their way"
            raise TransientError("CapacityReached", message)

    def _pick(self, home: Home, own: set[str], egress: Egress) -> str:
        """The Home's own address if its zone has it and it is free, else another one of the zone's."""
        hands, pool = self._hands, self._hands.pools[egress]
        now = hands.clock()
        hands.avoided = {address: until for address, until in hands.avoided.items() if until > now}
        taken = hands.cache.taken_addresses

        def is_free(address: str) -> bool:
            return (address not in taken or address in own) and address not in hands.avoided

        if egress not in hands.next_address:
            hands.next_address[egress] = self._after_the_newest(pool)
        address = pick_address(pool, is_free, home.status.address, hands.next_address[egress])
        if address is None:
            setting = "CONTAINER_PORT_RANGE" if pool.kind == "publish" else "CONTAINER_SUBNET_PREFIX"
            message = f"all {len(pool)} addresses are taken: {widen(setting)}"
            raise TransientError("AddressesExhausted", message, retry_after_s=15.0)
        if address != home.status.address:  # the next one begins behind it: many may pick at the same time
            hands.next_address[egress] = pool.after(address)
        return address

    def _after_the_newest(self, pool: AddressPool) -> int:
        """Behind the newest Home's address: what was freed before this process began goes on resting."""
        homes = self._hands.cache.all(Home)
        placed = [home for home in homes if home.status.address and is_of(pool, home.status.address)]
        if not placed:
            return 0
        newest = max(placed, key=lambda home: home.metadata.created_at or datetime.min.replace(tzinfo=UTC))
        return pool.after(newest.status.address)

    async def _create(self, world: World, action: Create) -> None:
        hands, incarnation = self._hands, action.incarnation
        home = world.home
        assert home is not None and home.spec.owner is not None, "only a claimed home gets a container"
        # The claim is written for whoever keeps no data, too: it gives the Home back when the store is lost.
        claim = _claim_of(home, home.spec.owner, world)
        spec = unsealed(action.spec, world, hands.key)
        spec = replace(spec, mounts=await hands.mounts.resolved(spec.mounts, hands.site.ceiling))
        await hands.networks.ensure(spec.egress)
        hands.leader.require()  # the wait for a turn may have been long: a successor may have buried the Home
        data_path = await hands.directories.prepare(claim, action.spec.user)
        files = await files_at_birth(hands.directories, world, home, action.spec.user)
        mounted = data_path if action.spec.data_mount_path else ""
        placement = Placement(incarnation.spec.container_name, incarnation.spec.address, mounted)
        hands.leader.require()
        self._require_fence()
        hands.creations.begin(
            incarnation, hands.observer.count, hands.site.ceiling.containers_max, hands.rate
        )
        try:
            self._refuse_foreign_address(incarnation, spec.egress)
            container_id = await hands.engine.create(spec, placement, action.identity)
            await hands.observer.look(placement.container_name)  # from here on it counts as one that is shown
        except NameConflictError as conflict:
            await self._look_into_conflict(placement.container_name, conflict)
            return
        except ActionError as error:
            if error.reason == "ImageMissing" and world.wanted is not None:
                hands.images.forget(action.spec.image, world.wanted.pull)
            if error.reason == "NetworkMissing":
                hands.networks.doubt()
            await self._give_up_address(world.user_container, incarnation, error)
            if await self._is_spec_given_up(world, incarnation, error):
                return
            raise
        finally:
            hands.creations.end()
        await self._write(
            lambda tx: (records.mark(tx, incarnation, container_id, started_at=None), *files(tx))
        )
        _log.info("container.created", container=placement.container_name, incarnation=incarnation.name)

    def _refuse_foreign_address(self, incarnation: Incarnation, egress: Egress) -> None:
        """An intent is the store's word, which somebody else may have written; or the settings named another
        pool by then. Without one, the engine would choose, a trusted one maybe. The incarnation starts over.
        """
        address, pool = incarnation.spec.address, self._hands.pools[egress]
        is_own = not address if pool.kind == "engine" else is_of(pool, address)
        if not is_own:
            raise TransientError("AddressInUse", f"“{address}” is none of the addresses for egress {egress}")

    def _require_fence(self) -> None:
        """What was planned may have waited long, and the fence may be gone since. Raises TransientError."""
        isolation = self._hands.fence.isolation
        if self._hands.site.requires_isolation and isolation.message:
            raise TransientError("NotIsolated", isolation.message)

    async def _look_into_conflict(self, name: str, conflict: NameConflictError) -> None:
        """Somebody has the name. What can be seen, the next pass judges; a phantom is removed by name."""
        for _ in range(PHANTOM_LOOKS):  # somebody may be about to take the name, or to leave it
            if await self._hands.observer.look(name) is not None:
                return
            await asyncio.sleep(PHANTOM_LOOK_S)
        self._hands.leader.require()
        await self._hands.engine.remove(name)
        raise TransientError(
            "PhantomName", f"the engine holds the name of a container it does not show: {conflict}"
        )

    async def _give_up_address(
        self, owner: UserContainer, incarnation: Incarnation, error: ActionError
    ) -> None:
        """An address that somebody else took is avoided for a while, and the incarnation starts over."""
        hands = self._hands
        if error.reason != "AddressInUse":
            return
        if len(hands.avoided) < ADDRESSES_AVOIDED_MAX:
            hands.avoided[incarnation.spec.address] = hands.clock() + ADDRESS_AVOIDED_S
        _log.warning("address.avoided", address=incarnation.spec.address, why=str(error))
        retirement = Retire(incarnation, "Error", None)
        await self._write(lambda tx: records.retire(tx, owner, retirement, str(error)))

    async def _is_spec_given_up(self, world: World, incarnation: Incarnation, error: ActionError) -> bool:
        """What the engine will never run is rolled back from, where there is something to go back to."""
        failed = failed_hash(world, incarnation.spec.spec_hash, crashed=False)
        if failed is None or not isinstance(error, TerminalError):
            return False
        retirement = Retire(incarnation, "Error", None, failed_spec_hash=failed)
        await self._write(lambda tx: records.retire(tx, world.user_container, retirement, str(error)))
        _log.warning("spec.given_up", incarnation=incarnation.name, why=str(error))
        return True

    async def _start(self, world: World, action: Start) -> None:
        hands, incarnation = self._hands, action.incarnation
        hands.leader.require()
        self._require_fence()
        try:
            await hands.engine.start(action.container_id)
        except ActionError as error:
            if error.reason == "NetworkMissing":
                hands.networks.doubt()
            await self._give_up_address(world.user_container, incarnation, error)
            if await self._is_spec_given_up(world, incarnation, error):
                return
            raise
        await hands.observer.look(incarnation.spec.container_name)
        await self._write(lambda tx: (records.mark(tx, incarnation, action.container_id, started_at=tx.now),))
        _log.info(
            "container.started", container=incarnation.spec.container_name, incarnation=incarnation.name
        )

    async def _adopt(self, world: World, action: Adopt) -> None:
        address = self._address_of(action.container)
        port = world.wanted.spec.port if world.wanted is not None else action.container.endpoint_port
        owner = world.user_container
        await self._write(lambda tx: records.adopt(tx, owner, action, address=address, port=port))
        _log.info("container.adopted", container=action.container.name)

    def _address_of(self, container: ObservedContainer) -> str:
        """The address, in the pool's own spelling, that an unrecorded container holds."""
        if container.address:
            return container.address
        match self._hands.pools[Egress.INTERNET].kind:  # the others' containers say theirs on a label
            case "publish":
                return (
                    f"{container.endpoint_host}:{container.endpoint_port}" if container.endpoint_port else ""
                )
            case "network":
                return container.endpoint_host
            case "engine":
                return ""

    # --- life ---------------------------------------------------------------------------------------

    async def _route(self, world: World, action: Route) -> None:
        wanted, ran = world.wanted, action.incarnation.spec.spec_hash
        good = wanted.spec if wanted is not None and wanted.hash == ran else None
        await self._write(lambda tx: records.route(tx, world.user_container, action, good))
        _log.info(
            "route.opened", incarnation=action.incarnation.name, user_container=world.user_container.name
        )

    # --- the way out ----------------------------------------------------------------------------------

    async def _retire(self, world: World, action: Retire) -> None:
        tail = await self._last_words(action.container)
        if action.reason == "Stopped":
            await self.note_claim(world)
        await self._write(lambda tx: records.retire(tx, world.user_container, action, tail))
        _log.info("incarnation.retired", incarnation=action.incarnation.name, reason=action.reason)

    async def note_claim(self, world: World) -> bool:
        """Put on disk who is stopped, and what users filled in: a store rebuilt from claims starts nobody who
        is stopped, and loses no values. Whether that could be done: a full disk is no obstacle.
        """
        home = world.home
        if home is None or home.spec.owner is None:
            return False
        self._hands.leader.require()  # a successor may have put the data aside
        try:
            await self._hands.directories.record(_claim_of(home, home.spec.owner, world))
        except ActionError as error:
            _log.warning("claim.unwritten", home=home.name, why=str(error))
            return False
        return True

    async def _last_words(self, container: ObservedContainer | None) -> str:
        if container is None:
            return ""
        try:
            async with asyncio.timeout(LAST_WORDS_S_MAX):
                printed = await self._hands.engine.logs(container.id, LAST_WORDS_LINES_MAX)
        except (ActionError, TimeoutError) as error:
            return f"(no logs: {str(error) or 'the engine is slow'})"
        return readable_tail(printed, lines_max=LAST_WORDS_LINES_MAX, bytes_max=LOG_TAIL_CHARS_MAX)

    async def _remove(self, action: Remove) -> None:
        hands = self._hands
        if action.behind_barrier:
            revision = action.incarnation.status.unrouted_revision if action.incarnation is not None else 0
            await hands.store.barrier(revision or await hands.store.revision(), BARRIER_TIMEOUT_S)
            hands.leader.require()
            await hands.engine.stop(action.container.id, STOP_GRACE_S)
        hands.leader.require()
        await hands.engine.remove(action.container.id)
        await hands.observer.look(action.container.name)
        _log.info("container.removed", container=action.container.name)

    async def _release(self, incarnation: Incarnation) -> None:
        hands = self._hands
        await hands.store.barrier(incarnation.status.unrouted_revision, BARRIER_TIMEOUT_S)
        epoch = hands.leader.epoch
        await hands.store.transact(_fenced(epoch, lambda tx: records.release(tx, incarnation)), actor=ACTOR)
        hands.cache.drop(Key(kind=Incarnation.kind, name=incarnation.name))

    async def _tombstone(self, world: World, action: Tombstone) -> None:
        """On disk first: a Home rebuilt from its claim must not come back to life.

        What the user filled in is of no use to anybody any more, and does not wait for the data's end.
        """
        home, until = action.home, action.retain_until
        assert home.spec.owner is not None, "only an owned home is tombstoned"
        claim = _claim_of(home, home.spec.owner, world)
        await self._hands.directories.record(
            claim.model_copy(update={"values": {}, "tombstoned_at": world.now, "retain_until": until})
        )
        await self._write(lambda tx: records.tombstone(tx, action))
        _log.info("home.tombstoned", home=home.name, retain_until=str(until))

    async def _forget(self, owner: UserContainer) -> None:
        hands = self._hands
        epoch = hands.leader.epoch
        await hands.store.transact(_fenced(epoch, lambda tx: records.forget(tx, owner)), actor=ACTOR)
        hands.cache.drop(Key(kind=UserContainer.kind, name=owner.name))
        _log.info("user_container.forgotten", user_container=owner.name)

    async def _write(self, fn: Callable[[Tx], Written]) -> None:
        """One fenced transaction, and the cache learns what it wrote."""
        for obj in await self._hands.store.transact(_fenced(self._hands.leader.epoch, fn), actor=ACTOR):
            self._hands.cache.put(obj)


def _claim_of(home: Home, owner: Owner, world: World) -> Claim:
    spec, inputs = world.user_container.spec, world.inputs
    return Claim(
        home=home.name,
        template=spec.template,
        owner=owner,
        one_time=home.spec.one_time,
        power=spec.power,
        overrides=spec.overrides,
        values=inputs.spec.values if inputs is not None else {},
    )


def _fenced(epoch: int, fn: Callable[[Tx], T]) -> Callable[[Tx], T]:
    def run(tx: Tx) -> T:
        tx.fence(epoch)
        return fn(tx)

    return run
