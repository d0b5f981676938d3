"""Create, start, stop, inspect, list, remove: the same words mean the same on every engine."""

from contextlib import suppress

import pytest

from reconciler.core.container import ContainerState, Identity, spec_hash
from reconciler.core.errors import ActionError, NameConflictError, TerminalError, TransientError
from state.kinds.template import Pull
from tests.reconciler.engine.rig import (
    HOME,
    OTHER_HOME,
    Program,
    Rig,
    answering,
    created,
    exited,
    gone,
    listed,
    seat,
    shown,
    started,
    until,
)

WRITTEN_BYTES = 3 << 20


async def test_nothing_is_listed_or_found_before_anything_is_made(rig: Rig) -> None:
    assert await rig.engine.list() == []
    assert await rig.engine.inspect(f"{rig.project}-{HOME}") is None
    assert await rig.engine.inspect("") is None


async def test_a_created_container_bears_its_name_and_identity(rig: Rig) -> None:
    one = seat(rig)
    container_id = await created(rig, one)
    seen = await shown(rig, one)
    assert (seen.id, seen.name, seen.state) == (container_id, one.name, ContainerState.CREATED)
    assert seen.identity == Identity(rig.project, HOME, "uid-aaaa", 1, spec_hash(one.spec), 7)
    assert seen.address == one.placement.address
    assert (seen.endpoint_host, seen.endpoint_port) == ("", 0)


async def test_a_started_container_answers_at_its_endpoint(rig: Rig) -> None:
    one = seat(rig)
    await started(rig, one)
    seen = await answering(rig, one)
    assert seen.state is ContainerState.RUNNING
    if one.placement.address:
        host, _, port = one.placement.address.partition(":")
        assert (seen.endpoint_host, seen.endpoint_port) == (host, int(port or one.spec.port))


async def test_starting_twice_is_starting_once(rig: Rig) -> None:
    one = seat(rig)
    before = await started(rig, one)
    await rig.engine.start(before.id)
    assert await shown(rig, one) == before


async def test_list_and_inspect_show_the_same_in_every_state(rig: Rig) -> None:
    made, runs, paused, ended = (seat(rig, home=letter * 26) for letter in "cdef")
    await created(rig, made)
    for one in (runs, paused):
        await started(rig, one)
    crashed = seat(rig, Program.CRASH, home="g" * 26)
    await started(rig, crashed)
    await exited(rig, crashed)
    stopped = await started(rig, ended)
    await rig.engine.stop(stopped.id, 0)
    if rig.engine.capabilities.pause:
        await rig.pause(paused.name)
    by_list = await listed(rig.engine)
    assert set(by_list) == {made.name, runs.name, paused.name, ended.name, crashed.name}
    for one in (made, runs, paused, ended, crashed):
        assert by_list[one.name] == await shown(rig, one)
    assert await listed(rig.engine) == by_list


async def test_a_stopped_container_keeps_its_address_and_answers_there_again(rig: Rig) -> None:
    one = seat(rig)
    first = await started(rig, one)
    await rig.engine.stop(first.id, 5)
    stopped = await shown(rig, one)
    assert stopped.state is ContainerState.EXITED
    assert (stopped.endpoint_host, stopped.address) == ("", one.placement.address)
    assert stopped.started_at is not None
    assert stopped.finished_at is not None
    assert stopped.started_at <= stopped.finished_at
    await rig.engine.start(first.id)
    again = await answering(rig, one)
    assert (again.endpoint_host, again.endpoint_port) == (first.endpoint_host, first.endpoint_port)
    assert again.exit_code is None


async def test_stopping_twice_or_what_is_absent_is_success(rig: Rig) -> None:
    one = seat(rig)
    seen = await started(rig, one)
    await rig.engine.stop(seen.id, 5)
    ended = await shown(rig, one)
    await rig.engine.stop(seen.id, 5)
    assert await shown(rig, one) == ended
    await rig.engine.stop("0" * 64, 5)


async def test_stopping_what_never_started_is_success(rig: Rig) -> None:
    one = seat(rig)
    await rig.engine.stop(await created(rig, one), 5)
    assert (await shown(rig, one)).state is ContainerState.CREATED


async def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(rig: Rig) -> None:
    one = seat(rig, Program.IGNORE_TERM)
    await started(rig, one)
    seen = await answering(rig, one)
    await rig.engine.stop(seen.id, 0.2)
    assert (await shown(rig, one)).exit_code == 137


async def test_removing_a_running_container_frees_its_name(rig: Rig) -> None:
    one = seat(rig)
    seen = await started(rig, one)
    await rig.engine.remove(seen.id)
    if rig.engine.capabilities.synchronous_remove:
        assert await rig.engine.inspect(one.name) is None
    await gone(rig, one)
    assert await rig.engine.list() == []
    assert (await started(rig, one)).id != seen.id


async def test_removing_what_is_absent_is_success(rig: Rig) -> None:
    await rig.engine.remove("0" * 64)
    await rig.engine.remove(f"{rig.project}-{HOME}")
    await rig.engine.remove_data(f"{rig.project}-{HOME}")


async def test_removal_by_name_is_removal(rig: Rig) -> None:
    one = seat(rig)
    await started(rig, one)
    await rig.engine.remove(one.name)
    await gone(rig, one)


@pytest.mark.fault(35)
async def test_a_paused_container_is_stopped_and_removed_without_a_hang(rig: Rig) -> None:
    if not rig.engine.capabilities.pause:
        return
    stopped, removed = seat(rig), seat(rig, home=OTHER_HOME)
    for one in (stopped, removed):
        await started(rig, one)
        await rig.pause(one.name)
        assert (await shown(rig, one)).state is ContainerState.PAUSED
    await rig.engine.stop((await shown(rig, stopped)).id, 2)
    assert (await shown(rig, stopped)).state is ContainerState.EXITED
    await rig.engine.remove((await shown(rig, removed)).id)
    await gone(rig, removed)


@pytest.mark.fault(35)
async def test_a_program_that_ignores_sigterm_is_removed_all_the_same(rig: Rig) -> None:
    one = seat(rig, Program.IGNORE_TERM)
    await started(rig, one)
    await rig.engine.remove((await answering(rig, one)).id)
    await gone(rig, one)


@pytest.mark.fault(10)
async def test_a_second_container_of_our_name_is_a_conflict_and_the_first_stays(rig: Rig) -> None:
    one = seat(rig)
    first = await started(rig, one)
    with pytest.raises(NameConflictError):
        await created(rig, one)
    assert await shown(rig, one) == first
    assert len(await rig.engine.list()) == 1


@pytest.mark.fault(11)
async def test_a_foreign_container_of_our_name_is_seen_as_foreign_and_left_alone(rig: Rig) -> None:
    one = seat(rig)
    foreign_id = await rig.put_foreign(one.name)
    with pytest.raises(NameConflictError):
        await created(rig, one)
    seen = await shown(rig, one)
    assert (seen.id, seen.identity) == (foreign_id, None)
    assert await rig.engine.list() == []
    assert await rig.foreign_is_untouched(one.name, foreign_id)


async def test_another_projects_container_is_foreign_too(rig: Rig) -> None:
    one = seat(rig)
    theirs = Identity(rig.other_project, HOME, "uid-aaaa", 1, "", 1)
    await rig.other_engine.create(one.spec, one.placement, theirs)
    assert await rig.engine.list() == []
    seen = await shown(rig, one)
    assert seen.identity is None
    assert [one.name for one in await rig.other_engine.list()] == [one.name]


async def test_data_outlives_the_container(rig: Rig) -> None:
    one = seat(rig)
    first = await started(rig, one)
    await rig.write_data(one.name, "kept")
    await rig.engine.remove(first.id)
    await gone(rig, one)
    await started(rig, one)
    assert await rig.read_data(one.name) == "kept"


async def test_data_of_an_engine_without_host_paths_goes_when_it_is_removed(rig: Rig) -> None:
    one = seat(rig)
    first = await started(rig, one)
    await rig.write_data(one.name, "kept")
    await rig.engine.remove(first.id)
    await gone(rig, one)
    await rig.engine.remove_data(one.name)
    await started(rig, one)
    if rig.engine.capabilities.host_paths:
        assert await rig.read_data(one.name) == "kept"
    else:
        await rig.write_data(one.name, "new")
        assert await rig.read_data(one.name) == "new"


async def test_what_is_written_outside_of_mounts_is_counted_and_nothing_else(rig: Rig) -> None:
    one = seat(rig)
    container_id = (await started(rig, one)).id
    before = await rig.engine.layer_bytes(container_id)
    assert before is not None
    await rig.write_data(one.name, "kept " * 1000)
    await rig.write_layer(one.name, WRITTEN_BYTES)
    after = await rig.engine.layer_bytes(container_id)
    assert after is not None
    assert WRITTEN_BYTES <= after - before < WRITTEN_BYTES + 2000
    await rig.engine.remove(container_id)
    await gone(rig, one)
    assert await rig.engine.layer_bytes(container_id) is None


async def test_an_exit_is_shown_with_its_code(rig: Rig) -> None:
    one = seat(rig, Program.CRASH)
    await started(rig, one)
    ended = await exited(rig, one)
    assert (ended.exit_code, ended.oom_killed) == (3, False)


@pytest.mark.fault(6)
async def test_a_container_killed_for_memory_says_so_as_far_as_the_engine_knows(rig: Rig) -> None:
    one = seat(rig, Program.EAT_MEMORY)
    await started(rig, one)
    ended = await exited(rig, one)
    assert ended.exit_code == 137
    assert ended.oom_killed is rig.engine.capabilities.reports_oom


async def test_a_command_that_cannot_run_fails_the_start_or_ends_with_126_or_127(rig: Rig) -> None:
    """An engine that starts an init first leaves it to the init to find that there is no such command."""
    one = seat(rig, Program.MISSING)
    container_id = await created(rig, one)
    try:
        await rig.engine.start(container_id)
    except TerminalError as error:
        assert (error.reason, "cannot run" in str(error)) == ("StartFailed", True)
    else:
        assert (await exited(rig, one)).exit_code in (126, 127)


async def test_starting_what_is_absent_is_an_error_that_time_may_cure(rig: Rig) -> None:
    with pytest.raises(TransientError) as caught:
        await rig.engine.start("0" * 64)
    assert caught.value.reason == "ContainerMissing"


async def test_a_missing_image_is_named_at_creation(rig: Rig) -> None:
    with pytest.raises(TransientError, match="nowhere:1") as caught:
        await created(rig, seat(rig, image="nowhere:1"))
    assert caught.value.reason == "ImageMissing"


@pytest.mark.fault(8)
async def test_an_image_that_may_not_or_cannot_be_pulled_is_named_with_the_reason(rig: Rig) -> None:
    for pull, reason in ((Pull.NEVER, "ImageMissing"), (Pull.IF_NOT_PRESENT, "ImagePullFailed")):
        with pytest.raises(TransientError, match=r"127\.0\.0\.1:5999/nowhere:1") as caught:
            await rig.engine.ensure_image("127.0.0.1:5999/nowhere:1", pull)
        assert caught.value.reason == reason


async def test_an_image_that_is_there_is_not_pulled(rig: Rig) -> None:
    image = rig.spec().image
    await rig.engine.ensure_image(image, Pull.NEVER)
    await rig.engine.ensure_image(image, Pull.IF_NOT_PRESENT)


async def test_an_address_in_use_is_told_and_nothing_runs(rig: Rig) -> None:
    if not rig.engine.capabilities.fixed_address:
        return
    one = seat(rig)
    await rig.occupy(one.placement.address)
    with pytest.raises(TransientError) as caught:
        await started(rig, one)
    assert caught.value.reason == "AddressInUse"
    seen = await rig.engine.inspect(one.name)
    assert seen is None or seen.state is not ContainerState.RUNNING


async def test_two_projects_side_by_side_do_not_see_each_other(rig: Rig) -> None:
    ours, theirs = seat(rig), seat(rig, home=OTHER_HOME)
    await created(rig, ours)
    identity = Identity(rig.other_project, OTHER_HOME, "uid-bbbb", 1, "", 1)
    await rig.other_engine.create(theirs.spec, theirs.placement, identity)
    assert list(await listed(rig.engine)) == [ours.name]
    assert list(await listed(rig.other_engine)) == [theirs.name]


async def test_the_version_names_the_engine(rig: Rig) -> None:
    name, _, number = (await rig.engine.version()).partition(" ")
    assert name in ("memory", "docker", "podman")
    assert number[0].isdigit()


async def test_the_logs_of_what_is_absent_are_empty(rig: Rig) -> None:
    assert await rig.engine.logs("0" * 64, 10) == ""


@pytest.mark.parametrize("container_id", ["../info?x=", "../images/json?x=", "../_ping?x="])
async def test_an_id_that_leads_elsewhere_has_no_logs(rig: Rig, container_id: str) -> None:
    """The engine is asked of a container and of nothing else; Docker takes such a path for a mistake."""
    told = ""
    with suppress(ActionError):
        told = await rig.engine.logs(container_id, 10)
    assert told == ""


async def test_the_logs_end_with_what_was_printed_last_of_a_running_and_of_an_ended_container(
    rig: Rig,
) -> None:
    one = seat(rig, Program.PRINT)
    await started(rig, one)
    container_id = (await shown(rig, one)).id

    async def has_printed() -> bool:
        return "stderr" in await rig.engine.logs(container_id, 1)

    await until(has_printed, "it prints its last line")
    for _ in range(2):
        assert await rig.engine.logs(container_id, 3) == "line 18\nline 19\n\u00e9\tto stderr\n"
        assert len((await rig.engine.logs(container_id, 500)).splitlines()) == 21
        await rig.engine.stop(container_id, 0)
