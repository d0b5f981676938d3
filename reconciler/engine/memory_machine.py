"""A pretend machine: containers, volumes and events in memory, on whatever clock it is given.

Decides what happens *to* containers: programs that end, addresses that are handed out again at once,
removals that take their time. Deterministic: it draws no random number and reads no clock of its own.
Engines of several projects may share one machine, and it outlives them. Every change is one synchronous
step, so a crash at any await finds it whole. Next: :mod:`reconciler.engine.memory`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from reconciler.core.container import (
    ContainerSpec,
    ContainerState,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
)
from reconciler.core.errors import NameConflictError, TerminalError, TransientError
from reconciler.engine.memory_addresses import MemoryAddresses
from reconciler.engine.memory_profile import Profile, Workload, laptop_like
from state.kinds.template import Egress

EVENTS_WAITING_MAX = 256  # per listener; a slower one misses some, as with Docker
WELL_BEHAVED = Workload()
EXIT_KILLED = 137
EXIT_TERMINATED = 143
REACHABLE = (ContainerState.RUNNING, ContainerState.PAUSED)

Now = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]
Listener = asyncio.Queue[EngineEvent | None]


@dataclass(slots=True)
class Box:
    """One container. ``shown`` is what engines show of it, replaced as a whole at every change."""

    shown: ObservedContainer
    spec: ContainerSpec | None = None  # None: a foreign one
    workload: Workload = WELL_BEHAVED
    project: str = ""
    volume: str = ""
    printed: str = ""  # what logs() shows
    layer_bytes: int = 0  # written outside of its volume
    started_at: datetime | None = None
    starts: int = 0  # an ending that was set for an earlier start is no longer meant
    is_well: bool = True  # whether it answers probes well, once it has started up

    def as_foreign(self) -> ObservedContainer:
        """What another project sees of it."""
        return replace(self.shown, identity=None)


class Machine:
    """What an engine would run on, and what may befall it."""

    def __init__(
        self,
        now: Now,
        sleep: Sleep = asyncio.sleep,
        profile: Profile | None = None,
        workload_of: Callable[[ContainerSpec], Workload] = lambda _spec: Workload(),
    ) -> None:
        self.now = now
        self.sleep = sleep
        self.profile = profile or laptop_like()
        self.workload_of = workload_of
        self.down = ""  # why no engine of it answers; "" while they do
        self.images: set[str] | None = None  # None: every image is there
        self.volumes: dict[str, dict[str, str]] = {}  # a volume's or host directory's files
        self.networks: list[Mapping[str, Any]] = []  # as Docker shows them
        self.addresses = MemoryAddresses()
        self._boxes: dict[str, Box] = {}  # by name
        self._names: dict[str, str] = {}  # id → name
        self._shown: defaultdict[str, dict[str, ObservedContainer]] = defaultdict(dict)  # project → by name
        self._listeners: dict[Listener, str] = {}  # → project
        self._pending: set[asyncio.Task[None]] = set()
        self._made = 0

    # What engines ask.

    def containers(self, project: str) -> list[ObservedContainer]:
        return list(self._shown[project].values())

    def is_in_use(self, project: str, egress: Egress) -> bool:
        """Whether one of the project's containers is in that zone."""
        boxes = (self._boxes[name] for name in self._shown[project])
        return any(box.spec is not None and box.spec.egress is egress for box in boxes)

    def named(self, name: str) -> Box | None:
        return self._boxes.get(name)

    def box(self, name_or_id: str) -> Box | None:
        return self._boxes.get(self._names.get(name_or_id, name_or_id))

    def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        name = placement.container_name
        if (holder := self._boxes.get(name)) is not None:
            raise NameConflictError("NameConflict", f"the name {name} is already in use by {holder.shown.id}")
        if self.images is not None and spec.image not in self.images:
            raise TransientError("ImageMissing", f"no such image: {spec.image}: pull or build it")
        shown = ObservedContainer(
            id=self._next_id(),
            name=name,
            identity=identity,
            state=ContainerState.CREATED,
            address=placement.address,
        )
        volume = self._volume(spec, placement)
        if volume:
            self.volumes.setdefault(volume, {})
        self._put(Box(shown, spec, self.workload_of(spec), identity.project, volume))
        return shown.id

    def start(self, box: Box) -> None:
        if box.shown.state in REACHABLE:
            return
        if not box.workload.can_run:
            raise TerminalError("StartFailed", "it cannot run: executable file not found in $PATH")
        port = box.spec.port if box.spec is not None else 0
        host, port = self.addresses.take(box.shown.name, box.shown.address, port)
        box.started_at = self.now()
        box.starts += 1
        box.is_well = True
        box.printed += box.workload.prints
        running = replace(_without_ending(box.shown), state=ContainerState.RUNNING)
        self._show(box, replace(running, endpoint_host=host, endpoint_port=port))
        if box.workload.lives_s is not None:
            self._later(box.workload.lives_s, partial(self._end_by_itself, box, box.starts))

    def end(self, box: Box, exit_code: int, *, oom: bool = False) -> None:
        """The program is over; its address is free at once."""
        if box.shown.state not in REACHABLE:
            return
        self.addresses.release(box.shown.name)
        ended = replace(
            box.shown,
            state=ContainerState.EXITED,
            exit_code=exit_code,
            oom_killed=oom,
            started_at=box.started_at,
            finished_at=self.now(),
            endpoint_host="",
            endpoint_port=0,
        )
        self._show(box, ended)

    def remove(self, box: Box) -> None:
        """Gone at once, or later where removal is asynchronous."""
        if self.profile.capabilities.synchronous_remove:
            self._drop(box)
        elif box.shown.state is not ContainerState.REMOVING:
            self.end(box, EXIT_KILLED)
            self._show(box, replace(_without_ending(box.shown), state=ContainerState.REMOVING))
            self._later(self.profile.removal_s, lambda: self._drop(box))

    def listen(self, project: str) -> Listener:
        listener: Listener = asyncio.Queue(EVENTS_WAITING_MAX)
        self._listeners[listener] = project
        return listener

    def stop_listening(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    # What may befall containers.

    def put_foreign(self, name: str) -> str:
        """Somebody else's running container of that name."""
        shown = ObservedContainer(self._next_id(), name, None, ContainerState.RUNNING)
        self._put(Box(shown, started_at=self.now()))
        return shown.id

    def kill(self, name: str, exit_code: int = EXIT_KILLED, *, oom: bool = False) -> None:
        """The program dies, or the kernel kills it."""
        self.end(self._boxes[name], exit_code, oom=oom)

    def remove_by_hand(self, name: str) -> None:
        """``docker rm -f`` by somebody."""
        self._drop(self._boxes[name])

    def pause(self, name: str) -> None:
        box = self._boxes[name]
        assert box.shown.state is ContainerState.RUNNING, "only what runs can be paused"
        self._show(box, replace(box.shown, state=ContainerState.PAUSED))

    def restart(self) -> None:
        """The engine is stopped: every program ends, every stream breaks. ``down`` is the caller's."""
        for box in list(self._boxes.values()):
            self.end(box, EXIT_KILLED)
        self.cut_events()

    def cut_events(self) -> None:
        """Every stream ends; those who listen notice when they have read what waits for them."""
        for listener in list(self._listeners):
            self.stop_listening(listener)
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(None)

    # What a prober would see.

    def probe(self, host: str, port: int) -> bool:
        """Whether whatever holds that endpoint answers well now."""
        box = self._at(host, port)
        if box is None or box.shown.state is not ContainerState.RUNNING or box.started_at is None:
            return False
        return box.is_well and self.now() - box.started_at >= timedelta(seconds=box.workload.startup_s)

    def home_at(self, host: str, port: int) -> str:
        """Whose container answers there, "" for nobody's: what a byte sent there would reach."""
        box = self._at(host, port)
        return box.shown.identity.home if box is not None and box.shown.identity is not None else ""

    async def close(self) -> None:
        """Let nothing happen any more."""
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _at(self, host: str, port: int) -> Box | None:
        box = self._boxes.get(self.addresses.holder(host, port))
        return box if box is not None and box.shown.endpoint_port == port else None

    def volume_of(self, container_name: str) -> str:
        """The volume that an engine without host paths keeps for that container."""
        return f"{container_name}-data"

    def _volume(self, spec: ContainerSpec, placement: Placement) -> str:
        if not spec.data_mount_path:
            return ""
        if self.profile.capabilities.host_paths:
            return placement.data_path
        return self.volume_of(placement.container_name)

    def _next_id(self) -> str:
        self._made += 1
        return f"{self._made:064x}"

    def _put(self, box: Box) -> None:
        self._boxes[box.shown.name] = box
        self._names[box.shown.id] = box.shown.name
        self._show(box, box.shown)

    def _show(self, box: Box, shown: ObservedContainer) -> None:
        box.shown = shown
        if box.project:
            self._shown[box.project][shown.name] = shown
            self._tell(box)

    def _drop(self, box: Box) -> None:
        if self._boxes.get(box.shown.name) is not box:
            return
        self.addresses.release(box.shown.name)
        box.starts += 1  # what was to end it has nothing to end any more
        del self._boxes[box.shown.name]
        del self._names[box.shown.id]
        self._shown[box.project].pop(box.shown.name, None)
        self._tell(box)

    def _tell(self, box: Box) -> None:
        home = box.shown.identity.home if box.shown.identity is not None else ""
        event = EngineEvent(box.shown.name, home)
        for listener, project in self._listeners.items():
            if project == box.project and not listener.full():
                listener.put_nowait(event)

    def _end_by_itself(self, box: Box, starts: int) -> None:
        if box.starts == starts:
            self.end(box, EXIT_KILLED if box.workload.oom else box.workload.exit_code, oom=box.workload.oom)

    def _later(self, delay_s: float, step: Callable[[], None]) -> None:
        async def wait() -> None:
            await self.sleep(delay_s)
            step()

        task = asyncio.get_running_loop().create_task(wait())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


def _without_ending(shown: ObservedContainer) -> ObservedContainer:
    return replace(shown, exit_code=None, oom_killed=False, started_at=None, finished_at=None)
