"""What must never happen, looked at in the very step in which it would.

Reads the store's rows and the machine directly: it sees the truth, not what any process believes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.core.container import ContainerSpec, ContainerState, Identity, Placement
from reconciler.engine.memory_machine import REACHABLE, Box, Machine
from reconciler.loop.fence import LOOK_PERIOD_S
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.user_container import UserContainer
from state.store.memory import MemoryRows
from tests.simulation.history import History

if TYPE_CHECKING:
    from tests.simulation.gateways import GatewayWorker
    from tests.simulation.weather import Weather

PROJECT = "sim"
LIVE = (IncarnationState.INTENDED, IncarnationState.CREATED, IncarnationState.STARTED)
AT_WORK = (IncarnationState.CREATED, IncarnationState.STARTED)
OWNER_FILE = "owner"


class Judge:
    """Knows everything and stops nothing: a breach is noted, and the test fails by it."""

    def __init__(self, history: History, rows: MemoryRows, now_s: Callable[[], float]) -> None:
        self._history = history
        self._rows = rows
        self._now_s = now_s
        self.workers: list[GatewayWorker] = []
        self.by_hand: set[str] = set()  # names of containers that somebody made or renamed
        self.keeps_addresses = True  # False: the engine chooses, and may give a dead one's away at once
        self.mutations_count = 0
        self.starts: list[tuple[float, str]] = []
        self.machine: Machine | None = None
        self.weather: Weather | None = None

    # --- before a process asks the engine -------------------------------------------------------------

    def is_leading(self, who: str, epoch: int, what: str) -> None:
        """Fault 19: nothing is asked of the engine under an epoch that is not the newest, or lapsed."""
        leader = self._rows.leader()
        if leader.epoch != epoch or leader.expires_s <= self._now_s():
            self._history.breach(f"{who} asks for {what} with epoch {epoch}, the leader's is {leader.epoch}")
        self.mutations_count += 1

    def is_fenced(self, what: str) -> None:
        """Nothing is made or started once it could be known that the fence is gone."""
        assert self.weather is not None, "the judge has weather to look at"
        since_s = self.weather.unfenced_since_s
        if since_s is not None and self._now_s() - since_s > LOOK_PERIOD_S:
            self._history.breach(f"a {what}, {self._now_s() - since_s:.0f} s after the fence was gone")

    def intends_create(self, spec_hash: str, identity: Identity) -> None:
        """Fault 15: a create has its intent on record."""
        if not any(
            one.status.state is IncarnationState.INTENDED and one.spec.spec_hash == spec_hash
            for one in self._records(identity)
        ):
            self._history.breach(f"{identity.home} {identity.number} is created without an intent on record")
        if any(
            one.uid == identity.user_container and one.status.asleep_since is not None
            for one in self._rows.list(UserContainer)
        ):
            self._history.breach(f"{identity.home} {identity.number} is created for somebody who sleeps")

    def intends_start(self, box: Box | None) -> None:
        identity = box.shown.identity if box is not None else None
        if identity is not None and not self._is_in(identity, AT_WORK):
            self._history.breach(f"{identity.home} {identity.number} is started without a record")

    def intends_end(self, box: Box | None, what: str) -> None:
        """Nothing foreign is touched, nothing on record to live ends, nothing ends under requests."""
        if box is None:
            return
        identity = box.shown.identity
        if box.project != PROJECT or identity is None:
            self._history.breach(f"{what} of the foreign container {box.shown.name}")
            return
        if self._is_in(identity, LIVE):
            self._history.breach(f"{what} of {box.shown.name}, which is on record to live")
        if box.shown.state in REACHABLE:
            self._nobody_sends_to(box, what)

    # --- as the machine changes -----------------------------------------------------------------------

    def created(self, identity: Identity, name: str) -> None:
        if name in self.by_hand:
            return
        others = [one.shown.name for one in self._boxes_of(identity.user_container) if one.shown.name != name]
        if others:
            self._history.breach(f"{name} is created beside {others} of one user container")

    def started(self, box: Box) -> None:
        identity = box.shown.identity
        if identity is None:
            return
        self.starts.append((self._now_s(), box.shown.name))
        others = [one for one in self._boxes_of(identity.user_container) if one is not box]
        if any(one.shown.state in REACHABLE for one in others):
            self._history.breach(f"two live incarnations of {identity.user_container}")
        self._data_is_its_own(box, identity)
        self.routes_are_right(f"start of {box.shown.name}")

    def routes_are_right(self, when: str) -> None:
        """Fault 37: no worker sends a byte to somebody else's container."""
        assert self.machine is not None, "the judge has a machine to look at"
        if not self.keeps_addresses:
            return
        for worker in self.workers:
            for home, (host, port) in worker.routes_in_use().items():
                reached = self.machine.home_at(host, port)
                if reached not in ("", home):
                    self._history.breach(f"{when}: {worker.name} sends {home}'s bytes to {reached}")

    def purged(self, home: str) -> None:
        """Data goes only once it was put aside, and its retention is over."""
        record = self._rows.get(Home, home)
        retain_until = record.status.retain_until if record is not None else None
        assert self.machine is not None, "the judge has a machine to look at"
        if record is None or record.status.tombstoned_at is None or retain_until is None:
            self._history.breach(f"the data of {home} is deleted, and was never put aside")
        elif retain_until > self.machine.now():
            self._history.breach(
                f"the data of {home} is deleted {retain_until - self.machine.now()} too soon"
            )

    def written(self, home: str) -> None:
        """Nothing is written into data that were put aside."""
        record = self._rows.get(Home, home)
        if record is None or record.status.tombstoned_at is not None:
            self._history.breach(f"something is written into the data of {home}, which nobody lives in")

    # --- what it looks at -----------------------------------------------------------------------------

    def _records(self, identity: Identity) -> list[Incarnation]:
        return [
            one
            for one in self._rows.list(Incarnation)
            if one.spec.home == identity.home and one.spec.number == identity.number
        ]

    def _is_in(self, identity: Identity, states: tuple[IncarnationState, ...]) -> bool:
        return any(one.status.state in states for one in self._records(identity))

    def _boxes_of(self, uid: str) -> list[Box]:
        assert self.machine is not None, "the judge has a machine to look at"
        names = [one.name for one in self.machine.containers(PROJECT) if one.name not in self.by_hand]
        boxes = [box for name in names if (box := self.machine.named(name)) is not None]
        return [
            box
            for box in boxes
            if box.shown.identity is not None and box.shown.identity.user_container == uid
        ]

    def _nobody_sends_to(self, box: Box, what: str) -> None:
        identity, here = box.shown.identity, (box.shown.endpoint_host, box.shown.endpoint_port)
        for worker in self.workers:
            if identity is not None and worker.routes_in_use().get(identity.home) == here:
                self._history.breach(f"{what} of {box.shown.name} while {worker.name} sends requests to it")

    def _data_is_its_own(self, box: Box, identity: Identity) -> None:
        """Fault 29: whoever's container runs on data is who wrote it first."""
        assert self.machine is not None, "the judge has a machine to look at"
        if not box.volume:
            return
        owner = self.machine.volumes.setdefault(box.volume, {}).setdefault(
            OWNER_FILE, identity.user_container
        )
        if owner != identity.user_container:
            self._history.breach(f"{box.shown.name} of {identity.user_container} runs on data of {owner}")


class JudgedMachine(Machine):
    """A machine that the judge watches."""

    judge: Judge

    def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        container_id = super().create(spec, placement, identity)
        self.judge.created(identity, placement.container_name)
        return container_id

    def copy_by_hand(self, box: Box, name: str) -> None:
        """Somebody copies a container, labels and all, under another name."""
        assert box.spec is not None and box.shown.identity is not None, "only one of ours is copied"
        self.judge.by_hand.add(name)
        self.create(box.spec, Placement(name, "", ""), box.shown.identity)

    def start(self, box: Box) -> None:
        was_running = box.shown.state in REACHABLE
        super().start(box)
        if box.shown.state is ContainerState.RUNNING and not was_running:
            self.judge.started(box)
