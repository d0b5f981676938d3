"""The engine as the reconciler sees it: events are hints, the list is the truth.

Lists at start, after every reconnect, every LIST_PERIOD_S while the engine is well and every
LIST_PERIOD_TROUBLED_S while it is not. An event, or an action of our own, looks at one name. While the
engine does not answer everything is unknown, and nothing here ever turns that into absence.
Next: :mod:`reconciler.loop.prober`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog

from reconciler.core.container import ObservedContainer
from reconciler.core.errors import ActionError
from reconciler.core.world import EngineView
from reconciler.engine.port import SUBSCRIBED, Engine

LIST_PERIOD_S = 45.0
LIST_PERIOD_TROUBLED_S = 5.0
EVENTS_RECONNECT_S = 1.0

_log = structlog.get_logger(__name__)


class Observer:
    """What the engine showed last. ``on_change`` gets the names of containers whose picture changed."""

    def __init__(self, engine: Engine, on_change: Callable[[Iterable[ObservedContainer]], None]) -> None:
        self._engine = engine
        self._on_change = on_change
        self._by_name: dict[str, ObservedContainer] = {}
        # Dicts for their order: the same history gives the same passes.
        self._names_by_home: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._names_by_owner: defaultdict[str, dict[str, None]] = defaultdict(dict)
        # Answers may overtake each other: what counts is which question was asked last.
        self._asked = 0
        self._looked: dict[str, int] = {}  # name → the question that told of it, since the last list
        self._listed = 0  # the question that the last list answered
        self._list_soon = asyncio.Event()
        self.unknown: str = "the engine was not listed yet"  # why nothing is known, "" if it is
        self.was_listed = False  # or could not be: the engine was asked
        self.on_listed: Callable[[], None] = lambda: None

    def containers(self) -> list[ObservedContainer]:
        return list(self._by_name.values())

    @property
    def count(self) -> int:
        """How many containers the engine showed."""
        return len(self._by_name)

    def view(self, container_name: str, home: str, owner_uid: str) -> EngineView:
        """What bears the name or claims the Home or the owner; unknown while the engine is."""
        if self.unknown:
            return EngineView(None, self.unknown)
        names = {**self._names_by_home.get(home, {}), **self._names_by_owner.get(owner_uid, {})}
        if container_name in self._by_name:
            names[container_name] = None
        return EngineView(tuple(self._by_name[name] for name in names)) if names else _NOTHING

    async def look(self, container_name: str) -> ObservedContainer | None:
        """Look at one name now and remember it. Raises OutcomeUnknownError."""
        question = self._next_question()
        seen = await self._engine.inspect(container_name)
        if question > max(self._listed, self._looked.get(container_name, 0)):
            self._looked[container_name] = question
            self._remember(container_name, seen)
        return seen

    async def list(self) -> None:
        """Take the engine's list for the truth, except for names that were asked about later."""
        question = self._next_question()
        try:
            listed = await self._engine.list()
        except ActionError as error:
            self.was_listed = True
            self._lose_sight(str(error))
            return
        names = {one.name for one in listed}
        fresh = {name for name, look in self._looked.items() if look > question}
        gone = [one for name, one in self._by_name.items() if name not in names and name not in fresh]
        changed = [one for one in listed if one.name not in fresh and self._by_name.get(one.name) != one]
        for one in gone:
            self._remember(one.name, None)
        for one in changed:
            self._remember(one.name, one)
        self._looked = {name: look for name, look in self._looked.items() if name in fresh}
        self._listed = question
        self.was_listed = True
        self._regain_sight()
        self._on_change([*gone, *changed])

    async def run(self) -> None:
        """List for ever, sooner when asked to; follow events beside it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._list_for_ever())
            group.create_task(self._follow_events())

    def list_soon(self) -> None:
        self._list_soon.set()

    async def _list_for_ever(self) -> None:
        while True:
            self._list_soon.clear()
            await self.list()
            self.on_listed()
            period_s = LIST_PERIOD_TROUBLED_S if self.unknown else LIST_PERIOD_S
            try:
                async with asyncio.timeout(period_s):
                    await self._list_soon.wait()
            except TimeoutError:
                continue

    async def _follow_events(self) -> None:
        """Hints only: a stream that ends or breaks costs a list, never the truth."""
        while True:
            try:
                async for event in self._engine.events():
                    if event == SUBSCRIBED:  # what happened before it is told by a list alone
                        self.list_soon()
                        continue
                    await self._look_after_event(event.container_name)
            except ActionError as error:
                _log.warning("events.interrupted", reason=error.reason, message=str(error))
            await asyncio.sleep(EVENTS_RECONNECT_S)
            self.list_soon()

    async def _look_after_event(self, name: str) -> None:
        before = self._by_name.get(name)
        try:
            seen = await self.look(name)
        except ActionError:
            self.list_soon()
            return
        if seen != before:
            self._on_change([one for one in (before, seen) if one is not None])

    def _remember(self, name: str, seen: ObservedContainer | None) -> None:
        old = self._by_name.pop(name, None)
        if old is not None and old.identity is not None:
            _discard(self._names_by_home, old.identity.home, name)
            _discard(self._names_by_owner, old.identity.user_container, name)
        if seen is None:
            return
        self._by_name[name] = seen
        if seen.identity is not None:
            self._names_by_home[seen.identity.home][name] = None
            self._names_by_owner[seen.identity.user_container][name] = None

    def _lose_sight(self, message: str) -> None:
        message = message or "the engine does not answer"
        if not self.unknown:
            _log.warning("engine.lost", message=message)
        is_news = message != self.unknown
        self.unknown = message
        if is_news:
            self._on_change(self.containers())

    def _regain_sight(self) -> None:
        if self.unknown:
            self.unknown = ""
            _log.info("engine.listed", containers=len(self._by_name))
            self._on_change(self.containers())

    def _next_question(self) -> int:
        self._asked += 1
        return self._asked


def _discard(index: defaultdict[str, dict[str, None]], key: str, name: str) -> None:
    names = index[key]
    names.pop(name, None)
    if not names:
        del index[key]


_NOTHING = EngineView(())
