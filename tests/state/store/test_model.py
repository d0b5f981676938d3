"""Random transactions: memory and SQLite both do what a dict would do, and their watches tell all of it."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from state.kinds.user_container import Power, UserContainer
from state.store import open_store
from state.store.errors import StoreError
from state.store.port import Batch, Store, Tx
from tests.state.store.model import (
    Create,
    Delete,
    DropFinalizer,
    Model,
    Seen,
    Step,
    UpdateSpec,
    UpdateStatus,
    carry_out,
    seen,
)
from tests.state.store.objects import ACTOR

T = TypeVar("T")

EXAMPLES_COUNT = 50
TURNS_COUNT = 50
NAMES = ("a", "b", "c")
LOG_ROWS_MAX = 10_000

# Chosen so that most transactions go through: what is refused tells the least.
names = strategies.sampled_from(NAMES)
seats = strategies.sampled_from(["github:1", "github:2", "github:3", "github:4"])
behind = strategies.sampled_from([0] * 9 + [1])
finalizers = strategies.sampled_from([(), ("data",), ("data", "route")])
creations = strategies.builds(Create, names, seats, finalizers)
edits: strategies.SearchStrategy[Step] = strategies.one_of(
    strategies.builds(
        UpdateSpec, names, strategies.none() | seats, strategies.sampled_from(Power), finalizers, behind
    ),
    strategies.builds(UpdateStatus, names, strategies.integers(0, 2), behind),
    strategies.builds(Delete, names, behind),
    strategies.builds(DropFinalizer, names, strategies.sampled_from(["data", "route"]), behind),
)


class Follower:
    """A reader that knows only what its watch told it."""

    def __init__(self, store: Store) -> None:
        self._batches: AsyncGenerator[Batch, None] = store.watch((UserContainer,))
        self.revision = -1
        self.objects: dict[str, Seen] = {}

    async def catch_up(self, revision: int) -> None:
        while self.revision < revision:
            batch = await anext(self._batches)
            self.revision = batch.revision
            for key in batch.removed:
                self.objects.pop(key.name, None)
            self.objects.update(
                (obj.name, seen(obj)) for obj in batch.objects if isinstance(obj, UserContainer)
            )

    async def close(self) -> None:
        await self._batches.aclose()


class Stores(RuleBasedStateMachine):
    """The model, the two stores, and a reader of each."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory()
        self._model = Model()
        urls = ("memory:", f"sqlite:///{Path(self._folder.name)}/state.db")
        self._stores = [self._run(open_store(url)) for url in urls]
        self._followers = [Follower(store) for store in self._stores]

    @rule(step=creations)
    @precondition(lambda self: len(self._model.objects) < len(NAMES))
    def create(self, step: Create) -> None:
        free = [name for name in NAMES if name not in self._model.objects]
        self._transact([replace(step, name=free[0])])

    @rule(choice=strategies.integers(0, 9), step=edits)
    @precondition(lambda self: self._model.objects)
    def edit(self, choice: int, step: Step) -> None:
        there = sorted(self._model.objects)
        self._transact([replace(step, name=there[choice % len(there)])])

    @rule(steps=strategies.lists(creations | edits, min_size=1, max_size=4))
    def do_several(self, steps: list[Step]) -> None:
        self._transact(steps)

    @invariant()
    def the_stores_hold_what_the_model_holds(self) -> None:
        for store in self._stores:
            objects = self._run(store.read(lambda tx: tx.list(UserContainer)))
            assert {obj.name: seen(obj) for obj in objects} == self._model.objects
            assert self._run(store.revision()) == self._model.revision

    @invariant()
    def the_logs_say_what_happened(self) -> None:
        for store in self._stores:
            changes = self._run(store.changes(0, LOG_ROWS_MAX))
            assert [(one.revision, one.key.name, one.removed) for one in changes] == self._model.log

    @rule()
    def the_followers_know_it_too(self) -> None:
        for follower in self._followers:
            self._run(follower.catch_up(self._model.revision))
            assert follower.objects == self._model.objects

    @rule(seat=seats)
    def seats_lead_to_their_holders(self, seat: str) -> None:
        expected = [name for name, one in self._model.objects.items() if one.seat == seat]
        for store in self._stores:
            holder = self._run(store.read(lambda tx: tx.by_unique_key(UserContainer, f"seat:{seat}/demo")))
            assert ([holder.name] if holder is not None else []) == expected

    def teardown(self) -> None:
        for closing in (*self._followers, *self._stores):
            self._run(closing.close())
        self._loop.close()
        self._folder.cleanup()

    def _transact(self, steps: list[Step]) -> None:
        def write(tx: Tx) -> None:
            for step in steps:
                carry_out(tx, step)

        expected = self._model.transact(steps)
        assert [self._outcome(store, write) for store in self._stores] == [expected, expected]

    def _outcome(self, store: Store, write: Any) -> type[StoreError] | None:
        try:
            self._run(store.transact(write, actor=ACTOR))
        except StoreError as error:
            return type(error)
        return None

    def _run(self, awaited: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(awaited)


Stores.TestCase.settings = settings(
    max_examples=EXAMPLES_COUNT,
    stateful_step_count=TURNS_COUNT,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStores = Stores.TestCase
