"""What goes wrong: one method for each way, each as likely as its weight, all drawn from the seed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from reconciler.core.container import ContainerState
from reconciler.engine.memory_machine import Box
from state.kinds.request import Verb
from state.kinds.user_container import Power
from tests.simulation.judge import PROJECT
from tests.simulation.people import People
from tests.simulation.town import BEHAVIOURS, Town

USERS = [f"u{number}" for number in range(6)]
BAD_BEHAVIOURS = [name for name in BEHAVIOURS if name not in ("", "slow", "ignores SIGTERM")]
FOREIGN_NAMES_MAX = 3
SPELL_S = (2.0, 70.0)  # how long a spell of bad weather lasts
GATES_AHEAD_MAX = 120

Deed = Callable[[], Awaitable[None]]


class Misfortunes:
    """Bad luck for one town. ``foreign`` are other people's containers, by name and id."""

    def __init__(self, town: Town, people: People) -> None:
        self._town = town
        self._people = people
        self._draw = town.draw
        self._spells: set[asyncio.Task[None]] = set()
        self.foreign: dict[str, str] = {}

    def deeds(self) -> tuple[list[Deed], list[int]]:
        """Everything that may happen, good or bad, with its weight."""
        weighted: list[tuple[int, Deed]] = [
            (10, self.somebody_comes),
            (5, self.somebody_leaves),
            (3, self.an_operator_edits_well),
            (3, self.an_operator_edits_badly),
            (3, self.somebody_overrides),
            (3, self.somebody_asks_for_power),
            (3, self.somebody_asks_for_a_restart),
            (3, self.somebody_asks_for_sleep),
            (3, self.somebody_calls),
            (5, self.somebody_removes_a_container),
            (5, self.a_program_dies),
            (3, self.a_program_falls_ill),
            (2, self.somebody_pauses),
            (3, self.a_foreigner_takes_a_name),
            (2, self.a_stray_appears),
            (2, self.the_engine_restarts),
            (8, self.the_weather_turns),
            (3, self.images_vanish),
            (3, self.the_fence_goes),
            (6, self.a_reconciler_is_killed),
            (4, self.a_reconciler_is_doomed),
            (2, self.another_reconciler_comes_or_goes),
            (3, self.a_gateway_dies),
            (3, self.a_gateway_lags),
        ]
        return [deed for _, deed in weighted], [weight for weight, _ in weighted]

    async def end(self) -> None:
        """The sky clears, and somebody tidies up by hand what only hands can."""
        town = self._town
        for spell in list(self._spells):
            spell.cancel()
        await asyncio.gather(*self._spells, return_exceptions=True)
        town.weather.clear()
        town.machine.down, town.machine.images = "", None
        for name in [*self.foreign, *town.judge.by_hand]:
            self._expect_untouched(name)
            if town.machine.named(name) is not None:
                town.machine.remove_by_hand(name)
        town.judge.by_hand.clear()
        for box in self._boxes(ContainerState.PAUSED):
            town.machine.remove_by_hand(box.shown.name)
        for box in self._boxes(ContainerState.RUNNING):
            box.is_well = True
        for worker in town.judge.workers:
            worker.lag_s = 0.05

    # --- people ---------------------------------------------------------------------------------------

    async def somebody_comes(self) -> None:
        name = self._draw.choice(USERS)
        await self._people.come(name, user=self._draw.choice([name, name, *USERS]), template=self._template())

    async def somebody_leaves(self) -> None:
        await self._people.leave(self._draw.choice(USERS))

    async def an_operator_edits_well(self) -> None:
        behaviour = self._draw.choice(["", "", "slow", "ignores SIGTERM"])
        days = self._draw.choice([0, 30])
        data = {"mountPath": "/data", "retainDays": days}
        await self._people.edit(self._template(), behaviour, data=self._draw.choice([data, data, None]))

    async def an_operator_edits_badly(self) -> None:
        bad: dict[str, Any] = self._draw.choice([{"image": "evil:1"}, {"image": "demo:missing"}, {}, {}, {}])
        behaviour = "" if bad else self._draw.choice(BAD_BEHAVIOURS)
        await self._people.edit(self._template(), behaviour, **bad)

    async def somebody_overrides(self) -> None:
        env = {"OVERRIDE": str(self._draw.randrange(5))}
        if self._draw.random() < 0.3:
            env["BEHAVIOUR"] = self._draw.choice(BAD_BEHAVIOURS)
        await self._people.override(self._draw.choice(USERS), env=env)

    async def somebody_asks_for_power(self) -> None:
        power = self._draw.choice([Power.STOPPED, Power.AUTO, Power.AUTO])
        await self._people.set_power(self._draw.choice(USERS), power)

    async def somebody_asks_for_a_restart(self) -> None:
        await self._people.ask(self._draw.choice(USERS), Verb.RESTART)

    async def somebody_asks_for_sleep(self) -> None:
        await self._people.ask(self._draw.choice(USERS), Verb.SLEEP)

    async def somebody_calls(self) -> None:
        """Whoever sleeps is to be woken; others are not."""
        await self._people.call(self._draw.choice(USERS))

    # --- containers -----------------------------------------------------------------------------------

    async def somebody_removes_a_container(self) -> None:
        box = self._a_box(ContainerState)
        if box is not None:
            self._note(f"rm -f {box.shown.name}")
            self._town.machine.remove_by_hand(box.shown.name)

    async def a_program_dies(self) -> None:
        box = self._a_box([ContainerState.RUNNING])
        if box is not None:
            oom = self._draw.random() < 0.4
            self._note(f"{box.shown.name} is killed{' for its memory' if oom else ''}")
            self._town.machine.kill(box.shown.name, oom=oom)

    async def a_program_falls_ill(self) -> None:
        box = self._a_box([ContainerState.RUNNING])
        if box is None:
            return
        self._note(f"{box.shown.name} falls ill")
        box.is_well = False
        await self._spell(lambda: setattr(box, "is_well", True))

    async def somebody_pauses(self) -> None:
        box = self._a_box([ContainerState.RUNNING])
        if box is not None:
            self._note(f"pause {box.shown.name}")
            self._town.machine.pause(box.shown.name)

    async def a_foreigner_takes_a_name(self) -> None:
        """Somebody removes a container of ours and puts another of that name in its place."""
        box = self._a_box(ContainerState)
        if box is None or len(self.foreign) >= FOREIGN_NAMES_MAX:
            return
        name = box.shown.name
        self._note(f"a foreigner takes the name {name}")
        self._town.machine.remove_by_hand(name)
        self.foreign[name] = self._town.machine.put_foreign(name)

    async def a_stray_appears(self) -> None:
        """Somebody copies a container of ours, labels and all, under another name."""
        box = self._a_box([ContainerState.RUNNING])
        if box is None:
            return
        name = f"copy-of-{box.shown.name}"
        if self._town.machine.named(name) is not None or self._town.machine.images is not None:
            return
        self._note(f"somebody makes {name}")
        self._town.machine.copy_by_hand(box, name)

    # --- the engine, the store, the images ------------------------------------------------------------

    async def the_engine_restarts(self) -> None:
        machine = self._town.machine
        self._note("the engine restarts")
        machine.down = "connection refused"
        machine.restart()
        await self._spell(lambda: setattr(machine, "down", ""))

    async def the_weather_turns(self) -> None:
        weather, draw = self._town.weather, self._draw
        what, value = draw.choice(
            [
                ("slow_s", 3.0),
                ("errs", 0.4),
                ("errs", 1.0),
                ("hangs", 0.3),
                ("lands_late", 0.7),
                ("is_deaf", True),
                ("is_disk_full", True),
                ("is_store_locked", True),
                ("loses_commits", 0.3),
                ("probes_fail", True),
            ]
        )
        self._note(f"the weather turns: {what} = {value}")
        setattr(weather, what, value)
        if what == "lands_late":
            weather.hangs = 0.4
        await self._spell(weather.clear)

    async def images_vanish(self) -> None:
        machine = self._town.machine
        self._note("every image is gone")
        machine.images = set()
        await self._spell(lambda: setattr(machine, "images", None))

    async def the_fence_goes(self) -> None:
        weather = self._town.weather
        self._note("the fence is gone")
        weather.unfenced_since_s = self._town.loop.time()
        await self._spell(lambda: setattr(weather, "unfenced_since_s", None))

    # --- processes ------------------------------------------------------------------------------------

    async def a_reconciler_is_killed(self) -> None:
        slot = self._draw.choice(self._town.reconcilers)
        slot.process.sends_last_words = self._draw.random() < 0.5
        slot.process.kill()

    async def a_reconciler_is_doomed(self) -> None:
        """It dies at an await that is still to come."""
        process = self._draw.choice(self._town.reconcilers).process
        ahead = self._draw.randint(1, GATES_AHEAD_MAX)
        self._note(f"{process.name} is to die {ahead} gates from now")
        process.sends_last_words = self._draw.random() < 0.5
        process.dies_at_gate = process.gates_passed + ahead

    async def another_reconciler_comes_or_goes(self) -> None:
        slot = self._draw.choice(self._town.reconcilers[1:])
        if slot.is_kept:
            await slot.end()
        else:
            slot.begin()

    async def a_gateway_dies(self) -> None:
        alive = [worker for worker in self._town.judge.workers if not worker.process.is_dead]
        if alive:
            self._draw.choice(alive).process.kill()
        await self._spell(lambda: None if self._gateway_count() else self._town.gateway())

    async def a_gateway_lags(self) -> None:
        for worker in self._town.judge.workers:
            worker.lag_s = self._draw.choice([0.05, 1.0, 9.0])

    # --- how it is told -------------------------------------------------------------------------------

    def _note(self, what: str) -> None:
        self._town.history.now_s = self._town.loop.time()
        self._town.history.note("misfortune", what)

    def _template(self) -> str:
        return self._draw.choice(["demo", "demo", "other"])

    def _gateway_count(self) -> int:
        return sum(not worker.process.is_dead for worker in self._town.judge.workers)

    def _boxes(self, *states: ContainerState) -> list[Box]:
        names = [one.name for one in self._town.machine.containers(PROJECT) if one.state in states]
        boxes = [self._town.machine.named(name) for name in names if name not in self._town.judge.by_hand]
        return [box for box in boxes if box is not None]

    def _a_box(self, states: Any) -> Box | None:
        boxes = self._boxes(*states)
        return self._draw.choice(boxes) if boxes else None

    async def _spell(self, end: Callable[[], object]) -> None:
        """Bad luck that passes by itself."""
        lasts_s = self._draw.uniform(*SPELL_S)

        async def pass_by() -> None:
            await asyncio.sleep(lasts_s)
            end()

        task = asyncio.create_task(pass_by())
        self._spells.add(task)
        task.add_done_callback(self._spells.discard)

    def _expect_untouched(self, name: str) -> None:
        """Fault 11: what is not ours is as its owner left it."""
        container_id, box = self.foreign.get(name), self._town.machine.named(name)
        if container_id is not None and (box is None or box.shown.id != container_id):
            self._town.history.breach(f"the foreign container {name} is not as it was left")
