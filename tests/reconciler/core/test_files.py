"""When a Home's files are written, of what, and that they hold nothing else up."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.core.actions import FileText, Release, Route, WriteFiles
from reconciler.core.conditions import conditions_of
from reconciler.core.errors import TransientError
from reconciler.core.files import WRITE_EVERY, files_of, session_of
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from reconciler.core.planned import Plan
from reconciler.core.trouble import after_failure, tempered
from reconciler.core.world import World
from state.kinds.home import HomeStatus, Owner
from state.kinds.resource import Conditions, ConditionType, Metadata
from state.kinds.user_container import FilesStatus
from state.kinds.user_headers import UserHeaders, UserHeadersSpec
from tests.reconciler.core.worlds import HOME, NOW, UID, Scene, alive, home

FILES: list[dict[str, Any]] = [
    {
        "path": "a.json",
        "headers": {"x-a": {"pattern": "[a-z]+"}},
        "contents": [{"content": {"a": "{x-a}", "who": "{session}"}}],
    },
    {"path": "always.json", "contents": [{"content": ["{session}"]}]},
]


def said(generation: int = 1, of: str = UID, **values: str) -> UserHeaders:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    metadata = Metadata(name="alice", uid="uid-headers", generation=generation)
    return UserHeaders(metadata=metadata, spec=UserHeadersSpec(user_container=of, values=named))


def settled(files: list[dict[str, Any]] | None = None, **parts: Any) -> World:
    """alice is served, with such files in her template."""
    return replace(scene(files).world, **parts)


def scene(files: list[dict[str, Any]] | None = None) -> Scene:
    return alive(data={"mountPath": "/data"}, files=FILES if files is None else files)


def written(world: World, generation: int, **more: Any) -> World:
    """What is on record once all that is wanted was written."""
    assert world.template is not None and world.home is not None
    wanted = files_of(world.template, world.home, world.headers)
    status = FilesStatus(
        hash=wanted.hash, headers_generation=generation, written_at=NOW - WRITE_EVERY, **more
    )
    owner = world.user_container
    changed = owner.status.model_copy(update={"files": status})
    return replace(world, user_container=owner.replaced(status=changed))


def action_of(world: World) -> WriteFiles:
    action = plan(world).action
    assert isinstance(action, WriteFiles)
    assert check(world, action) == ()
    return action


def test_a_template_without_files_has_nothing_written() -> None:
    assert plan(settled([], headers=said(x_a="one"))).action is None


def test_what_nothing_was_said_for_is_left_as_it_is_and_the_rest_is_written() -> None:
    [only] = action_of(settled()).files
    assert only == FileText("always.json", f'[\n  "{session_of(HOME)}"\n]\n'.encode())


def test_what_is_said_is_written_once() -> None:
    world = settled(headers=said(x_a="one"))
    action = action_of(world)
    assert [one.path for one in action.files] == ["a.json", "always.json"]
    assert b'"a": "one"' in action.files[0].content
    assert action.headers_generation == 1
    assert plan(written(world, 1)).action is None


def test_another_word_is_written_and_the_same_one_is_only_noted() -> None:
    before = written(settled(headers=said(x_a="one")), 1)
    changed = replace(before, headers=said(2, x_a="two"))
    assert action_of(changed).hash != action_of(replace(before, headers=said(2, x_a="one"))).hash
    assert (
        action_of(replace(before, headers=said(2, x_a="one"))).hash == before.user_container.status.files.hash
    )


def test_what_does_not_fit_the_template_any_more_is_not_written() -> None:
    assert [one.path for one in action_of(settled(headers=said(x_a="NO"))).files] == ["always.json"]


def test_words_of_nothing_that_fits_take_nothing_away() -> None:
    world = settled(FILES[:1], headers=said(x_a="one"))
    silent = replace(written(world, 1), headers=said(2))
    action = action_of(silent)
    assert (action.files, action.hash) == ((), silent.user_container.status.files.hash)
    lost = settled(FILES[:1])
    assert plan(lost).action is None, "a lost store knows neither words nor files"


def test_news_are_written_no_more_often_than_their_pace() -> None:
    before = written(settled(headers=said(x_a="one")), 1)
    hasty = replace(before, now=NOW - WRITE_EVERY / 2, headers=said(2, x_a="two"))
    assert plan(hasty) == Plan(look_again_at=NOW)
    assert isinstance(plan(replace(hasty, now=NOW)).action, WriteFiles)
    back = replace(hasty, now=NOW - timedelta(days=1))
    assert isinstance(plan(back).action, WriteFiles), "a clock that was set back holds up nothing"


def test_a_container_is_routed_first_and_an_address_freed() -> None:
    assert isinstance(plan(scene().told(endpoint=None).world).action, Route)
    assert isinstance(plan(scene().resting(0).world).action, Release)
    assert isinstance(plan(scene().world).action, WriteFiles)


def test_a_disk_that_takes_nothing_makes_nobody_unready() -> None:
    world = settled(headers=said(x_a="one"))
    error = TransientError("DiskFull", "the disk is full")
    trouble = after_failure(None, WriteFiles, 1, error, NOW, 0.0)
    waiting = tempered(plan(world), trouble, 1, NOW)
    assert (waiting.action, waiting.blocked, waiting.look_again_at) == (None, None, trouble.retry_at)
    told = written(world, 0, trouble="the disk is full")
    conditions = conditions_of(told, waiting)
    degraded, ready = (
        Conditions.find(conditions, of) for of in (ConditionType.DEGRADED, ConditionType.READY)
    )
    assert degraded is not None and (degraded.is_true, degraded.reason) == (True, "FileUnwritten")
    assert ready is not None and ready.is_true


def test_nothing_is_written_for_another_or_outside_or_undeclared() -> None:
    world = settled(headers=said(x_a="one"))
    fine = action_of(world)
    others = fine.home.replaced(
        spec=fine.home.spec.model_copy(
            update={"owner": Owner(user_container="bob", uid="uid-bob", user="a:b")}
        )
    )
    gone = fine.home.replaced(status=HomeStatus(tombstoned_at=NOW))
    for wrong, says in (
        (replace(fine, home=others), "a home serves its owner alone"),
        (replace(fine, home=gone), "nothing is written for whoever is gone"),
        (replace(fine, files=(FileText("other.json", b""),)), "declares"),
        (replace(fine, files=(FileText("../a.json", b""),)), "outside"),
    ):
        assert any(says in one for one in check(world, wrong)), says


def test_a_session_is_no_hint_of_its_home() -> None:
    assert session_of(HOME) == session_of(home().name)
    assert session_of(HOME) != session_of("b" * 26)
    assert session_of(HOME) not in HOME
