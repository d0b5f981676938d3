"""An engine that does not answer, or answers 500, leaves the outcome open: never absence, never a retry."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.engine.client import QUICK_CALLS_AT_ONCE_MAX, READ_ATTEMPTS_MAX, STOPS_AT_ONCE_MAX, Deadlines
from reconciler.engine.port import LAYER_UNCOUNTABLE, Engine
from state.kinds.template import Pull
from tests.reconciler.engine.proxy import Failure
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import OTHER_HOME, Seat, created, seat, shown, started, until

pytestmark = pytest.mark.engine

IMPATIENT = Deadlines(call_s=1.0, pull_s=1.0)
EVERYTHING = r"/containers/"
READS = r"GET .*/containers/"

Call = Callable[[Engine], Awaitable[object]]


@pytest.fixture
async def impatient(engine_rig: RealRig) -> AsyncIterator[Engine]:
    """An adapter whose deadlines a test can wait for, once it has agreed with a perhaps busy engine."""
    engine = await engine_rig.adapter(engine_rig.project, IMPATIENT)

    async def agrees() -> bool:
        with contextlib.suppress(OutcomeUnknownError):
            return bool(await engine.version())
        return False

    await until(agrees, "the API version is agreed upon")
    yield engine
    await engine.close()


def _calls(one: Seat, other: Seat, container_id: str) -> dict[str, Call]:
    return {
        "list": lambda engine: engine.list(),
        "inspect": lambda engine: engine.inspect(one.name),
        "create": lambda engine: engine.create(other.spec, other.placement, other.identity),
        "start": lambda engine: engine.start(container_id),
        "stop": lambda engine: engine.stop(container_id, 0),
        "remove": lambda engine: engine.remove(container_id),
    }


@pytest.mark.fault(2)
@pytest.mark.fault(3)
@pytest.mark.parametrize(
    "failure", [Failure.ANSWER_500, Failure.HANG, Failure.ANSWER_NONSENSE, Failure.CLOSE_MID_ANSWER]
)
async def test_every_call_says_that_its_outcome_is_unknown(
    engine_rig: RealRig, impatient: Engine, failure: Failure
) -> None:
    one, other = seat(engine_rig), seat(engine_rig, home=OTHER_HOME)
    container_id = await created(engine_rig, one)
    engine_rig.proxy.fail(EVERYTHING, failure)
    for name, call in _calls(one, other, container_id).items():
        with pytest.raises(OutcomeUnknownError) as caught:
            await call(impatient)
        assert str(caught.value), name


@pytest.mark.fault(3)
async def test_a_mutation_is_asked_once_and_a_read_a_few_times(
    engine_rig: RealRig, impatient: Engine
) -> None:
    one, other = seat(engine_rig), seat(engine_rig, home=OTHER_HOME)
    container_id = await created(engine_rig, one)
    engine_rig.proxy.fail(EVERYTHING, Failure.ANSWER_500)
    asked = {}
    for name, call in _calls(one, other, container_id).items():
        engine_rig.proxy.asked.clear()
        with pytest.raises(OutcomeUnknownError):
            await call(impatient)
        lines = [line for line in engine_rig.proxy.asked if re.search(EVERYTHING, line)]
        asked[name] = sum(not line.startswith("GET") for line in lines) or len(lines)
    assert asked == {
        "list": READ_ATTEMPTS_MAX,
        "inspect": READ_ATTEMPTS_MAX,
        "create": 1,
        "start": 1,
        "stop": 1,
        "remove": 1,
    }


@pytest.mark.fault(3)
async def test_one_failed_read_of_several_is_not_noticed(engine_rig: RealRig, impatient: Engine) -> None:
    one = seat(engine_rig)
    await created(engine_rig, one)
    engine_rig.proxy.fail(READS, Failure.ANSWER_500, times=1)
    engine_rig.proxy.asked.clear()
    assert (await impatient.inspect(one.name)) == await shown(engine_rig, one)
    assert len(engine_rig.proxy.asked) >= 2, "it was asked again"


@pytest.mark.parametrize("failure", [Failure.ASK_AND_ANSWER_500, Failure.ASK_AND_CLOSE])
async def test_what_took_effect_without_an_answer_is_found_by_inspection(
    engine_rig: RealRig, failure: Failure
) -> None:
    one = seat(engine_rig)
    engine_rig.proxy.fail(r"POST .*/containers/", failure)
    with pytest.raises(OutcomeUnknownError):
        await created(engine_rig, one)
    seen = await shown(engine_rig, one)
    assert seen.state == "created"
    with pytest.raises(OutcomeUnknownError):
        await engine_rig.engine.start(seen.id)
    assert (await shown(engine_rig, one)).state == "running"


@pytest.mark.fault(2)
async def test_stops_that_hang_hold_up_nothing_else_and_their_queue_is_bounded(
    engine_rig: RealRig, impatient: Engine
) -> None:
    one = seat(engine_rig)
    seen = await started(engine_rig, one)
    engine_rig.proxy.fail(r"/stop", Failure.HANG)
    stops = [asyncio.create_task(impatient.stop(seen.id, 600)) for _ in range(STOPS_AT_ONCE_MAX)]

    async def all_are_asked() -> bool:
        return sum("/stop" in line for line in engine_rig.proxy.asked) == STOPS_AT_ONCE_MAX

    await until(all_are_asked, "every slot for stops is taken")
    with pytest.raises(TransientError, match="was not asked") as caught:
        await impatient.stop(seen.id, 0)
    assert (caught.value.reason, isinstance(caught.value, OutcomeUnknownError)) == ("EngineBusy", False)
    assert await impatient.inspect(one.name) == seen
    for task in stops:
        task.cancel()
    await asyncio.gather(*stops, return_exceptions=True)


@pytest.mark.fault(2)
async def test_no_more_than_so_many_calls_are_under_way_at_once(engine_rig: RealRig) -> None:
    engine_rig.proxy.fail(READS, Failure.HANG)
    await engine_rig.engine.version()
    looks = [asyncio.create_task(engine_rig.engine.inspect(f"n{number}")) for number in range(100)]

    def asked() -> int:
        return sum("/containers/n" in line for line in engine_rig.proxy.asked)

    async def slots_are_taken() -> bool:
        return asked() >= QUICK_CALLS_AT_ONCE_MAX

    try:
        await until(slots_are_taken, "the slots are taken")
        await asyncio.sleep(0.1)
        assert asked() == QUICK_CALLS_AT_ONCE_MAX
    finally:
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


@pytest.mark.fault(9)
async def test_a_pull_that_hangs_is_given_up_and_holds_up_nothing(
    engine_rig: RealRig, impatient: Engine
) -> None:
    engine_rig.proxy.fail(r"/images/create", Failure.HANG)
    pulling = asyncio.create_task(impatient.ensure_image("127.0.0.1:5999/x:1", Pull.ALWAYS))
    assert await impatient.list() == []
    with pytest.raises(OutcomeUnknownError) as caught:
        await pulling
    assert caught.value.reason == "EngineTimeout"


@pytest.mark.parametrize("failure", [Failure.ANSWER_500, Failure.HANG, Failure.ASK_AND_CLOSE])
async def test_a_ping_asks_the_engine_alone_and_says_whether_it_is_well(
    engine_rig: RealRig, impatient: Engine, failure: Failure
) -> None:
    engine_rig.proxy.fail(r"/containers/|/info|/version", failure)
    await impatient.ping()
    assert any("/_ping" in line for line in engine_rig.proxy.asked)
    engine_rig.proxy.fail(r"/_ping", failure)
    with pytest.raises(OutcomeUnknownError):
        await impatient.ping()


async def test_a_count_that_fails_alone_is_of_what_cannot_be_counted(engine_rig: RealRig) -> None:
    """As Docker answers with containerd's image store; where all else fails too, it is the engine."""
    container_id = (await started(engine_rig, seat(engine_rig))).id
    for pattern, reason in ((r"size=true", LAYER_UNCOUNTABLE), (EVERYTHING, "EngineError")):
        engine_rig.proxy.fail(pattern, Failure.ANSWER_500)
        with pytest.raises(OutcomeUnknownError) as failed:
            await engine_rig.engine.layer_bytes(container_id)
        assert failed.value.reason == reason


async def test_a_count_has_a_deadline_of_its_own(engine_rig: RealRig) -> None:
    container_id = (await started(engine_rig, seat(engine_rig))).id
    engine = await engine_rig.adapter(engine_rig.project, Deadlines(count_s=1.0))
    engine_rig.proxy.fail(r"size=true", Failure.HANG)
    try:
        with pytest.raises(OutcomeUnknownError) as failed:
            await engine.layer_bytes(container_id)
        assert failed.value.reason == "EngineTimeout"
        assert await engine.list(), "nothing else waits for it"
    finally:
        await engine.close()
