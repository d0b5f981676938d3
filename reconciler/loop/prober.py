"""Asks containers whether they answer: an observation, not an action.

One task an incarnation: the startup probe's delay doubles from 10 ms to its period as the wait grows, so
that readiness is seen soon after it is there; then the liveness probe at its period. What was routed before
(a restart of ours, an edit of its probes) has no startup ahead of it: its liveness is asked from the first.
What is found goes into a Health; deciding what it means is the plan's. TCP accept is no sign of readiness (a
port forwarder accepts before the program listens), so probes are HTTP: :mod:`reconciler.loop.asking` is next.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog

from reconciler.core.world import Health
from state.kinds.template import LivenessProbe, Probes, StartupProbe

STARTUP_DELAY_S_MIN = 0.01
# The delay doubles once the wait is this many delays long: readiness is seen a twentieth late at the most.
STARTUP_WAIT_PER_DELAY = 40
STARTUP_ANSWER_S_MAX = 5.0
MESSAGE_CHARS_MAX = 200
# Above this share of failing incarnations, and with at least so many of them, doubt the prober first.
PANIC_SHARE = 0.5
PANIC_COUNT_MIN = 5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed: one incarnation at one address by its template's probes."""

    incarnation: str
    host: str
    port: int
    probes: Probes
    was_ready: bool = field(default=False, compare=False)  # routed at this address already


class Ask(Protocol):
    """One question to a container: "" if it answered well, else why not. Never raises."""

    def __call__(self, host: str, port: int, path: str, timeout_s: float) -> Awaitable[str]: ...


class Prober:
    """The health of every incarnation that it was told to watch."""

    def __init__(self, ask: Ask, now: Callable[[], datetime], on_change: Callable[[str], None]) -> None:
        self._ask = ask
        self._now = now
        self._on_change = on_change
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._targets: dict[str, Target] = {}
        self._health: dict[str, Health] = {}
        self._failing: set[str] = set()

    def health(self, incarnation: str) -> Health | None:
        return self._health.get(incarnation)

    def is_suspect(self) -> bool:
        """So many fail at once that the prober, or the way to the containers, is the likelier culprit."""
        failing = len(self._failing)
        return failing >= PANIC_COUNT_MIN and failing > PANIC_SHARE * len(self._targets)

    def watch(self, target: Target) -> None:
        """Probe ``target`` from now on; the same target again changes nothing."""
        if self._targets.get(target.incarnation) == target:
            return
        self.forget(target.incarnation)
        self._targets[target.incarnation] = target
        self._health[target.incarnation] = Health(
            target.incarnation, since=self._now(), was_ready=target.was_ready
        )
        self._tasks[target.incarnation] = asyncio.create_task(self._keep_probing(target))

    def forget(self, incarnation: str) -> None:
        task = self._tasks.pop(incarnation, None)
        if task is not None:
            task.cancel()
        self._targets.pop(incarnation, None)
        self._health.pop(incarnation, None)
        self._failing.discard(incarnation)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for incarnation in list(self._targets):
            self.forget(incarnation)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_probing(self, target: Target) -> None:
        """A mistake of ours in a probe must not leave the last finding standing for ever."""
        while True:
            try:
                await self._probe(target)
            except Exception as error:
                _log.exception("probe.crashed", incarnation=target.incarnation)
                self._note_liveness(target.incarnation, f"the probe broke: {error}", target.probes.liveness)
                await asyncio.sleep(target.probes.liveness.period_seconds)

    async def _probe(self, target: Target) -> None:
        liveness = target.probes.liveness
        if target.was_ready:
            await self._probe_again(target, liveness)
        else:
            await self._probe_startup(target, target.probes.startup)
        while True:
            await asyncio.sleep(liveness.period_seconds)
            failure = await self._ask(target.host, target.port, liveness.http, liveness.timeout_seconds)
            self._note_liveness(target.incarnation, failure, liveness)

    async def _probe_startup(self, target: Target, startup: StartupProbe) -> None:
        loop = asyncio.get_running_loop()
        began_at, delay_s = loop.time(), STARTUP_DELAY_S_MIN
        while failure := await self._ask(target.host, target.port, startup.http, STARTUP_ANSWER_S_MAX):
            health = self._health[target.incarnation]
            self._health[target.incarnation] = replace(health, message=failure[:MESSAGE_CHARS_MAX])
            if loop.time() - began_at >= delay_s * STARTUP_WAIT_PER_DELAY:
                delay_s = min(delay_s * 2, startup.period_seconds)
            await asyncio.sleep(delay_s)
        self._note_passed(target.incarnation)

    async def _probe_again(self, target: Target, liveness: LivenessProbe) -> None:
        """Until it answers: a failure counts as one of its liveness."""
        while failure := await self._ask(target.host, target.port, liveness.http, liveness.timeout_seconds):
            self._note_liveness(target.incarnation, failure, liveness)
            await asyncio.sleep(liveness.period_seconds)
        self._note_passed(target.incarnation)

    def _note_passed(self, incarnation: str) -> None:
        self._failing.discard(incarnation)
        health = self._health[incarnation]
        self._health[incarnation] = replace(health, passed_at=self._now(), failures=0, message="")
        self._on_change(incarnation)

    def _note_liveness(self, incarnation: str, failure: str, liveness: LivenessProbe) -> None:
        health = self._health[incarnation]
        if not failure:
            self._failing.discard(incarnation)
            if health.failures:
                self._health[incarnation] = replace(health, failures=0, message="")
                self._on_change(incarnation)
            return
        self._failing.add(incarnation)
        self._health[incarnation] = replace(
            health, failures=health.failures + 1, message=failure[:MESSAGE_CHARS_MAX]
        )
        if health.failures + 1 >= liveness.failures:
            self._on_change(incarnation)
