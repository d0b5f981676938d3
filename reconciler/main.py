"""The reconciler process: settings in, an Operator out, until a signal or the loss of the lead.

It ends with 0 after a signal, and with EXIT_AGAIN when another start can help; what no other start can help
is raised.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
import uvloop
from aiohttp.web import AppRunner

from reconciler.core.addresses import AddressPool, own_addresses
from reconciler.core.ceiling import RUNTIME_DEFAULT, Ceiling
from reconciler.core.errors import TransientError
from reconciler.core.world import Site
from reconciler.core.zones import Zone
from reconciler.engine.door import EngineKind
from reconciler.engine.installation import OwnInstallation
from reconciler.engine.machine import Machine
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing, Engine, NetworkSpec
from reconciler.engine.sockets import candidates
from reconciler.loop.asking import HttpAsk
from reconciler.loop.directories import Directories, HostDirectories
from reconciler.loop.fence import fence_file
from reconciler.loop.gate import StartGate
from reconciler.loop.gauge import HostGauge
from reconciler.operator import Operator, Surroundings
from reconciler.private import serve
from reconciler.settings import STARTS_RESERVED_FOR_WAKES, ReconcilerSettings
from state.kinds.home import Home
from state.kinds.template import Egress
from state.manifests.follow import follow
from state.sealing import PrivateKey
from state.settings import SettingsError, manifest_variables, usable_directory
from state.store import open_store
from state.store.errors import StoreError
from state.store.kernel import FOLDER_MODE
from state.store.port import Store

EXIT_AGAIN = 1
ENGINE_AWAITED_S_MAX = 5.0

_log = structlog.get_logger(__name__)


def run(settings: ReconcilerSettings) -> int:
    """Run until a signal; the exit code.

    Raises SettingsError and TerminalError when somebody has to mend something first, StoreError when the
    store does not open. Each is one line for a person.
    """
    return uvloop.run(_run(settings))


@dataclass(slots=True)
class _Edges:
    store: Store
    engine: Engine
    ask: HttpAsk

    async def close(self) -> None:
        await self.engine.close()
        await self.store.close()


async def _run(settings: ReconcilerSettings) -> int:
    usable_directory("HOST_DATA_DIR", settings.host_data_dir)
    usable_directory("STATE_DIR", settings.state_dir, mode=FOLDER_MODE)
    edges = _Edges(
        await open_store(settings.store_url.get_secret_value()), await engine_of(settings), HttpAsk()
    )
    try:
        await _refuse_unusable_engine(edges.engine)
        return await _reconcile(settings, edges)
    finally:
        await edges.close()


async def engine_of(settings: ReconcilerSettings) -> Engine:
    """The engine of the settings, not asked yet. Raises TerminalError for an unusable address."""
    return await open_engine(engine_settings(settings))


def engine_settings(settings: ReconcilerSettings) -> EngineSettings:
    return EngineSettings(
        kind=EngineKind(settings.container_engine),
        socket=settings.engine_address,
        project=settings.container_project_name,
        networks={egress: zone.network for egress, zone in settings.zones.items()},
        addressing=Addressing(settings.container_addressing),
        emulated=settings.emulated_architectures,
    )


async def _refuse_unusable_engine(engine: Engine) -> None:
    """An engine that is no engine stops the start; one that does not answer may come back by itself."""
    try:
        async with asyncio.timeout(ENGINE_AWAITED_S_MAX):
            _log.info("engine.found", version=await engine.version())
    except (TransientError, TimeoutError) as error:
        _log.warning("engine.unanswering", why=str(error))


async def _reconcile(settings: ReconcilerSettings, edges: _Edges) -> int:
    directories = HostDirectories(settings.host_data_dir)
    await directories.belong_to(settings.container_project_name)
    await _refuse_absent_data(settings, edges.store, directories)
    engine = OwnInstallation(edges.engine, await directories.installation())
    key = await directories.key()
    operator = Operator(surroundings(settings, edges.store, engine, directories, edges.ask, key))
    manifests_read = asyncio.Event()
    private = await _private(settings, operator, manifests_read)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    reconciling = asyncio.create_task(operator.run())
    following = asyncio.create_task(_follow_manifests(settings, edges.store, operator, manifests_read))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({reconciling, following, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return 0 if stopped.done() else _why_ended(reconciling, following)
    finally:
        for task in (reconciling, following, stopped):
            task.cancel()
        await asyncio.gather(reconciling, following, stopped, return_exceptions=True)
        await private.cleanup()


async def _refuse_absent_data(
    settings: ReconcilerSettings, store: Store, directories: HostDirectories
) -> None:
    """A disk that is not mounted looks like a first start: people would get empty Homes.

    Raises SettingsError.
    """
    if await directories.is_known():
        return
    homes = await store.read(lambda tx: tx.list(Home))
    if kept := sum(home.status.last_incarnation > 0 for home in homes):
        raise SettingsError(
            f"HOST_DATA_DIR={settings.host_data_dir} is empty, though {kept} Homes with data are on record: "
            "mount what belongs there, or restore it from a backup. To begin anew, empty STATE_DIR, too"
        )


async def _follow_manifests(
    settings: ReconcilerSettings, store: Store, operator: Operator, manifests_read: asyncio.Event
) -> None:
    """Manifests are read by the leader alone, and not before lost claims were rebuilt."""
    await operator.led.wait()
    variables = manifest_variables(settings)
    await follow(
        settings.manifests_dir,
        store,
        variables,
        epoch=lambda: operator.leader.epoch,
        first_pass=manifests_read,
    )


def _why_ended(*tasks: "asyncio.Task[None]") -> int:
    """A task that ends by itself lost the lead or made a mistake: another start begins anew."""
    for task in tasks:
        error = task.exception() if task.done() and not task.cancelled() else None
        match error:
            case None:
                pass
            case StoreError():  # says itself what is wrong and how it is mended
                _log.error("reconciler.failed", why=str(error))
            case _:
                _log.error("reconciler.failed", exc_info=error)
    return EXIT_AGAIN


async def _private(
    settings: ReconcilerSettings, operator: Operator, manifests_read: asyncio.Event
) -> AppRunner:
    bind = settings.reconciler_private_bind
    try:
        return await serve(operator, manifests_read, bind.host, bind.port)
    except OSError as error:
        raise SettingsError(
            f"RECONCILER_PRIVATE_BIND={bind} cannot be listened on ({_reason(error)}); "
            "end what holds it, or choose another port"
        ) from None


def _reason(error: OSError) -> str:
    """The system's word for it: asyncio puts a sentence of its own in its place."""
    return os.strerror(error.errno) if error.errno else str(error)


def surroundings(
    settings: ReconcilerSettings,
    store: Store,
    engine: Engine,
    directories: Directories,
    ask: HttpAsk,
    key: PrivateKey,
) -> Surroundings:
    """The edges that ``settings`` ask for."""
    project = settings.container_project_name
    return Surroundings(
        store=store,
        engine=engine,
        directories=directories,
        ask=ask,
        site=Site(
            project,
            ceiling(settings),
            egress_proxy=str(settings.egress_proxy or ""),
            requires_isolation=settings.require_isolation,
        ),
        pools={egress: address_pool(settings, engine, zone) for egress, zone in settings.zones.items()},
        networks={egress: NetworkSpec.of(zone, project) for egress, zone in settings.zones.items()},
        gate=StartGate(settings.starts_at_once, STARTS_RESERVED_FOR_WAKES),
        holder=f"{socket.gethostname()}:{os.getpid()}",
        key=key,
        read_fence=fence_file(settings.fence_report),
        fence_trusted=settings.fence_trusted,
        gauge=HostGauge(settings.host_data_dir, lambda: engine.capabilities.layers_path),
        disk_free_bytes_min=settings.ceiling_disk_free_min,
        egress_refused=lambda: tuple(egress_refused(settings, engine)),
    )


def ceiling(settings: ReconcilerSettings) -> Ceiling:
    return Ceiling(
        images=settings.allowed_images,
        memory_bytes_max=settings.ceiling_memory,
        cpus_max=settings.ceiling_cpus,
        pids_max=settings.ceiling_pids,
        shm_bytes_max=settings.ceiling_shm,
        capabilities=settings.ceiling_capabilities,
        runtimes=(RUNTIME_DEFAULT, *settings.ceiling_runtimes),
        registries=settings.ceiling_registries,
        images_pinned=settings.ceiling_images_pinned,
        mounts=settings.ceiling_mounts,
        mounts_never=tuple(_never_mounted(settings)),
        disk_bytes_max=settings.ceiling_disk,
        retain_days_min=settings.retain_days_min,
        containers_max=settings.ceiling_containers,
        creates_per_minute_max=settings.ceiling_creates_per_minute,
    )


def _never_mounted(settings: ReconcilerSettings) -> Iterator[str]:
    """What would give the host or other users away, as it is written and where it leads."""
    own = (settings.host_data_dir, settings.state_dir, settings.manifests_dir)
    engines = (settings.docker_host, settings.podman_socket_path)
    sockets = (one.removeprefix("unix://") for one in engines if one.startswith(("/", "unix://")))
    usual = (path for kind in EngineKind for path in candidates(kind, Machine.this()))
    for path in (*map(str, own), *sockets, *map(str, usual)):
        yield path
        if (real := os.path.realpath(path)) != path:
            yield real


def egress_refused(settings: ReconcilerSettings, engine: Engine) -> Iterator[tuple[Egress, str]]:
    """Which zones cannot be had, as far as the engine has told what it is."""
    for zone in settings.zones.values():
        if zone.is_internal and not engine.capabilities.reaches_addresses:
            yield (
                zone.egress,
                f"security.egress {zone.egress} needs containers that are reached at their own addresses; "
                "this engine's are not (it is elsewhere, or rootless): use an engine of root's on the "
                "reconciler's own Linux system, or say egress: Internet",
            )
        elif zone.egress is Egress.PROXY and settings.egress_proxy is None:
            like = own_addresses(zone.subnet)[-1]
            yield (
                zone.egress,
                f"security.egress Proxy needs EGRESS_PROXY: attach your proxy to network {zone.network} with "
                f"an address of its own, set it to that, like http://{like}:3128, and start again",
            )


def address_pool(settings: ReconcilerSettings, engine: Engine, zone: Zone) -> AddressPool:
    """The zone's addresses. An internal network publishes no port, so there they are its own, always."""
    if not engine.capabilities.fixed_address:
        return AddressPool("engine")
    if zone.is_internal or settings.container_addressing == "network":
        return AddressPool("network", subnet=str(zone.subnet))
    ports = settings.container_port_range
    return AddressPool("publish", ports=range(ports.first, ports.last + 1))
