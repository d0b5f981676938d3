"""What a pass over the folder makes of the store: objects come, change and go, and files are told of."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from state.kinds.access_policy import AccessPolicy
from state.kinds.app import App
from state.kinds.report import ManifestFile
from state.kinds.resource import Truth
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import (
    DATA_FINALIZER,
    UserContainer,
    UserContainerSpec,
    derived_name,
    new_user_container,
)
from state.manifests.apply import apply_folder
from state.manifests.folder import FolderReader
from state.manifests.ownership import refuse_foreign_edit
from state.manifests.text import FILE_BYTES_MAX
from state.store.errors import Conflict, Fenced, ManagedElsewhere
from state.store.port import Tx
from tests.state.manifests.rig import (
    ALIAS_BOMB,
    VARIABLES,
    Desk,
    app,
    policy,
    template,
    together,
    user,
    users,
)


@pytest.fixture
def desk(any_desk: Desk) -> Desk:
    """Every pass below is made over both stores."""
    return any_desk


async def _signs_in(desk: Desk, of: str) -> UserContainer:
    """What the gateway writes for a user whom no manifest names."""
    spec = UserContainerSpec.model_validate({"user": f"github:{of}", "template": "demo"})
    seat = new_user_container(derived_name(spec.user, spec.template), spec, managed_by="api")
    return await desk.store.transact(lambda tx: tx.create(seat), actor="gateway")


async def _forget(desk: Desk, name: str) -> None:
    """What the reconciler does in the end: the container is gone, the data is put away."""
    seat = await desk.get(UserContainer, name)
    await desk.store.transact(lambda tx: tx.drop_finalizer(seat, DATA_FINALIZER), actor="reconciler")


async def test_objects_of_all_files_come_into_the_store(desk: Desk) -> None:
    desk.save(a=together(template(), app("shop")), b=user("alice"))
    await desk.apply()
    assert await desk.names(ContainerTemplate) == ["demo"]
    assert await desk.names(App) == ["shop"]
    alice = await desk.get(UserContainer, "alice")
    assert alice.metadata.managed_by == "file:b.yaml"
    assert alice.metadata.finalizers == (DATA_FINALIZER,)
    condition = await desk.applied("a.yaml")
    assert (condition.status, condition.reason, condition.message) == (Truth.TRUE, "Applied", "2 objects")


async def test_a_policy_of_a_file_comes_changes_and_goes(desk: Desk) -> None:
    desk.save(a=policy("{provider: github, organization: acme}"), b=app("shop"))
    await desk.apply()
    before = await desk.get(AccessPolicy, "default")
    assert before.metadata.managed_by == "file:a.yaml"
    assert [rule.organization for rule in before.spec.rules] == ["acme"]
    revision = await desk.store.revision()
    await desk.apply()
    assert await desk.store.revision() == revision, "what stands is not written again"
    desk.save(a=policy("{provider: github, organization: other}", "{provider: any, allow: false}"))
    await desk.apply()
    after = await desk.get(AccessPolicy, "default")
    assert (after.uid, after.metadata.generation) == (before.uid, before.metadata.generation + 1)
    desk.remove("a")
    await desk.apply()
    assert await desk.names(AccessPolicy) == []


async def test_an_edit_raises_the_generation_and_keeps_the_uid(desk: Desk) -> None:
    desk.save(a=user("alice"))
    await desk.apply()
    before = await desk.get(UserContainer, "alice")
    desk.save(a=user("alice", power="Stopped"))
    await desk.apply()
    after = await desk.get(UserContainer, "alice")
    assert after.uid == before.uid
    assert after.metadata.generation == before.metadata.generation + 1


async def test_a_pass_over_an_unchanged_folder_writes_nothing(desk: Desk) -> None:
    desk.save(a=together(template(), user("alice")), b="kind: [\n")
    await desk.apply()
    before = await desk.store.revision()
    await desk.apply()
    assert await desk.store.revision() == before


async def test_an_object_that_its_file_no_longer_names_is_deleted(desk: Desk) -> None:
    desk.save(a=together(app("shop"), app("other", key="b")))
    await desk.apply()
    desk.save(a=app("other", key="b"))
    await desk.apply()
    assert await desk.names(App) == ["other"]


async def test_a_deleted_user_container_waits_for_its_finalizer(desk: Desk) -> None:
    desk.save(a=together(user("alice"), user("bob")))
    await desk.apply()
    desk.save(a=user("bob"))
    await desk.apply()
    assert (await desk.get(UserContainer, "alice")).metadata.is_deleted


async def test_a_file_that_was_removed_takes_its_objects_and_its_record_with_it(desk: Desk) -> None:
    desk.save(a=app("shop"), b=app("other", key="b"))
    await desk.apply()
    desk.remove("a")
    await desk.apply()
    assert await desk.names(App) == ["other"]
    assert [record.spec.path for record in await desk.all(ManifestFile)] == ["b.yaml"]


async def test_a_renamed_file_keeps_its_objects(desk: Desk) -> None:
    desk.save(a=users(20))
    await desk.apply()
    before = await desk.all(UserContainer)
    (desk.folder / "a.yaml").rename(desk.folder / "z.yml")
    await desk.apply(gone=frozenset())
    after = await desk.all(UserContainer)
    assert [obj.uid for obj in after] == [obj.uid for obj in before]
    assert {obj.metadata.managed_by for obj in after} == {"file:z.yml"}
    assert [record.spec.path for record in await desk.all(ManifestFile)] == ["z.yml"]


async def test_a_file_that_vanished_just_now_still_has_its_objects(desk: Desk) -> None:
    desk.save(a=app("shop"), b=app("other", key="b"))
    await desk.apply()
    desk.remove("a")
    plan = await desk.apply(gone=frozenset())
    assert plan.absent == {"a.yaml"}
    assert await desk.names(App) == ["other", "shop"]


# Fault 22


WHOLE = together(template(), user("alice"), user("bob"))
LARGE_LINE = WHOLE.count("\n") + (FILE_BYTES_MAX - len(WHOLE)) // len("# filler\n") + 1
BROKEN = {
    "half saved": (WHOLE[: WHOLE.index("metadata: {name: bob") + 14], 10, "flow mapping"),
    "a key twice": (WHOLE.replace("template: demo", "template: demo, template: demo", 1), 7, "template"),
    "an unknown field": (WHOLE.replace("power:", "powr:", 1), 7, "powr"),
    "one name twice": (together(WHOLE, user("alice")), 13, "stands twice"),
    "one seat twice": (together(WHOLE, user("carol", of="alice")), 13, "claims what"),
    "an alias bomb": (f"{WHOLE}---\n{ALIAS_BOMB}", 18, "200000 values"),
    "too large": (WHOLE + "# filler\n" * (FILE_BYTES_MAX // 9), LARGE_LINE, "larger than 1 MiB"),
    "too deep": (f"{WHOLE}---\nkind: {'[' * 2000}{']' * 2000}\n", 13, "deep"),
    "a rule misspelt": (together(WHOLE, policy("{provider: any, alow: false}")), 16, "alow"),
    "a rule for whomever": (together(WHOLE, policy("{role: admin}")), 16, "everybody"),
    "an organization without GitHub": (together(WHOLE, policy("{organization: a}")), 16, "GitHub's"),
    "a refusal with a role": (
        together(WHOLE, policy("{provider: any, allow: false, role: admin}")),
        16,
        "allow: false",
    ),
    "a domain with its @": (together(WHOLE, policy("{emailDomain: '@a.b'}")), 16, "emailDomain"),
    "too many rules": (together(WHOLE, policy(*["{provider: any}"] * 257)), 16, "257 entries"),
    "a tag": (WHOLE.replace("port: 8080", "port: !!python/object:os.system 8080"), 3, "tag"),
}
"""What may be wrong with a file: its text, the line that is named, and a word of what is said."""


@pytest.mark.fault(22)
@pytest.mark.parametrize(("text", "line", "word"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_changes_nothing_and_says_once_where_it_breaks(
    desk: Desk, text: str, line: int, word: str
) -> None:
    desk.save(a=WHOLE)
    await desk.apply()
    objects = [await desk.all(kind) for kind in (ContainerTemplate, UserContainer)]
    sha256 = (await desk.file_status("a.yaml")).applied_sha256
    desk.save(a=text)
    with capture_logs() as logs:
        await desk.apply()
        await desk.apply()
    assert [await desk.all(kind) for kind in (ContainerTemplate, UserContainer)] == objects
    condition = await desk.applied("a.yaml")
    assert (condition.status, condition.reason) == (Truth.FALSE, "Refused")
    assert condition.message.startswith(f"a.yaml:{line}:")
    assert "; " in condition.message
    assert (await desk.file_status("a.yaml")).applied_sha256 == sha256
    (logged,) = logs
    assert (logged["event"], logged["file"], logged["line"]) == ("manifest.refused", "a.yaml", line)
    assert word in logged["what"]
    assert logged["mend"]


@pytest.mark.fault(22)
@pytest.mark.parametrize("claimed", [user("alice", of="other"), user("other", of="alice")])
async def test_what_another_file_has_is_refused_and_changes_nothing(desk: Desk, claimed: str) -> None:
    desk.save(a=WHOLE)
    await desk.apply()
    before = await desk.all(UserContainer)
    desk.save(b=claimed)
    with capture_logs() as logs:
        await desk.apply()
        await desk.apply()
    assert await desk.all(UserContainer) == before
    assert (await desk.applied("a.yaml")).status is Truth.TRUE
    assert (await desk.applied("b.yaml")).message.startswith("b.yaml:1:")
    (logged,) = logs
    assert (logged["event"], logged["file"], logged["line"]) == ("manifest.refused", "b.yaml", 1)
    assert "a.yaml" in logged["what"]
    assert logged["mend"]


@pytest.mark.fault(22)
async def test_a_file_cut_to_nothing_keeps_its_objects(desk: Desk) -> None:
    desk.save(a=user("alice"), b=user("bob"))
    await desk.apply()
    desk.save(a="")
    await desk.apply()
    assert await desk.names(UserContainer) == ["alice", "bob"]
    assert "is empty, but 1 objects" in (await desk.applied("a.yaml")).message


@pytest.mark.fault(22)
async def test_a_file_that_cannot_be_read_keeps_its_objects(desk: Desk) -> None:
    desk.save(a=user("alice"), b=user("bob"))
    await desk.apply()
    desk.remove("a")
    (desk.folder / "a.yaml").symlink_to(desk.folder / "nowhere")
    await desk.apply()
    assert await desk.names(UserContainer) == ["alice", "bob"]
    assert "cannot be read" in (await desk.applied("a.yaml")).message


@pytest.mark.fault(22)
async def test_a_broken_file_hinders_no_other(desk: Desk) -> None:
    desk.save(a="kind: [\n", b=user("bob"))
    await desk.apply()
    assert await desk.names(UserContainer) == ["bob"]


async def test_a_mended_file_is_applied_and_says_so_once(desk: Desk) -> None:
    desk.save(a="kind: [\n")
    await desk.apply()
    desk.save(a=user("alice"))
    with capture_logs() as logs:
        await desk.apply()
        await desk.apply()
    assert [(line["event"], line["file"], line.get("created")) for line in logs] == [
        ("manifest.applied", "a.yaml", 1)
    ]
    assert (await desk.applied("a.yaml")).status is Truth.TRUE


async def test_a_restart_repeats_no_news(desk: Desk) -> None:
    desk.save(a=user("alice"), b="kind: [\n")
    await desk.apply()
    with capture_logs() as logs:
        await Desk(desk.folder, desk.store).apply()
    assert logs == []


# Fault 23


@pytest.mark.fault(23)
@pytest.mark.parametrize("count", [1, 50], ids=["with a single user", "with many users"])
async def test_a_folder_that_vanishes_deletes_nobody(desk: Desk, count: int) -> None:
    desk.save(a=users(count))
    await desk.apply()
    desk.remove("a")
    desk.folder.rmdir()
    with capture_logs() as logs:
        await desk.apply(allow_deletes=True)
        await desk.apply()
    assert len(await desk.names(UserContainer)) == count
    assert "cannot be read" in (await desk.applied(".")).message
    assert [line["event"] for line in logs] == ["manifest.refused"]


@pytest.mark.fault(23)
@pytest.mark.parametrize("count", [1, 50], ids=["with a single user", "with many users"])
async def test_a_folder_that_is_emptied_deletes_nobody(desk: Desk, count: int) -> None:
    desk.save(a=users(count))
    await desk.apply()
    desk.remove("a")
    with capture_logs() as logs:
        await desk.apply()
        await desk.apply()
    assert len(await desk.names(UserContainer)) == count
    condition = await desk.applied(".")
    assert (condition.status, condition.reason) == (Truth.FALSE, "MassDelete")
    assert "mcpgw apply --allow-deletes" in condition.message
    assert [(line["event"], line["reason"]) for line in logs] == [("manifest.refused", "MassDelete")]


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(10, 5, 5), (10, 4, 10), (100, 70, 70), (100, 69, 100)],
    ids=["five of ten go", "six of ten stay", "thirty of a hundred go", "thirty-one of a hundred stay"],
)
async def test_at_the_threshold_of_the_guard(desk: Desk, before: int, after: int, expected: int) -> None:
    desk.save(a=users(before))
    await desk.apply()
    desk.save(a=users(after))
    await desk.apply()
    assert len(await desk.names(UserContainer)) == expected


@pytest.mark.fault(23)
async def test_the_guard_holds_back_deletions_and_nothing_else(desk: Desk) -> None:
    desk.save(a=users(10), b=user("bob"))
    await desk.apply()
    desk.remove("a")
    desk.save(b=together(user("bob", power="Stopped"), user("carol")))
    await desk.apply()
    assert len(await desk.names(UserContainer)) == 12
    assert (await desk.get(UserContainer, "bob")).spec.power == "Stopped"
    assert (await desk.applied("b.yaml")).status is Truth.TRUE
    assert (await desk.applied("a.yaml")).reason == "MassDelete"


@pytest.mark.fault(23)
async def test_an_operators_word_lets_many_go_once(desk: Desk) -> None:
    desk.save(a=users(10), b=user("bob"))
    await desk.apply()
    desk.remove("a")
    await desk.apply()
    await desk.apply(allow_deletes=True)
    assert await desk.names(UserContainer) == ["bob"]
    assert (await desk.applied(".")).status is Truth.TRUE
    assert {record.spec.path for record in await desk.all(ManifestFile)} == {".", "b.yaml"}


@pytest.mark.fault(23)
async def test_files_that_come_back_find_their_users_as_they_were(desk: Desk) -> None:
    desk.save(a=users(10))
    await desk.apply()
    before = await desk.all(UserContainer)
    desk.remove("a")
    await desk.apply()
    desk.save(a=users(10))
    await desk.apply()
    assert await desk.all(UserContainer) == before
    assert (await desk.applied("a.yaml")).status is Truth.TRUE
    assert (await desk.applied(".")).status is Truth.TRUE


# Fault 24


@pytest.mark.fault(24)
async def test_an_edit_by_the_api_of_a_files_object_is_refused_by_its_file(desk: Desk) -> None:
    desk.save(team=user("alice"))
    await desk.apply()
    alice = await desk.get(UserContainer, "alice")
    with pytest.raises(
        ManagedElsewhere, match=r"UserContainer alice belongs to the manifest team\.yaml"
    ) as refusal:
        refuse_foreign_edit(alice)
    assert refusal.value.managed_by == "file:team.yaml"


@pytest.mark.fault(24)
async def test_an_edit_by_the_api_of_its_own_object_is_let_through(desk: Desk) -> None:
    refuse_foreign_edit(await _signs_in(desk, "1"))


@pytest.mark.fault(24)
async def test_a_file_takes_over_an_object_of_the_api_by_its_name(desk: Desk) -> None:
    before = await _signs_in(desk, "1")
    desk.save(a=user(before.name, of="1", power="Running"))
    await desk.apply()
    after = await desk.get(UserContainer, before.name)
    assert (after.uid, after.metadata.managed_by, after.spec.power) == (before.uid, "file:a.yaml", "Running")
    assert after.metadata.finalizers == before.metadata.finalizers
    with pytest.raises(ManagedElsewhere):
        refuse_foreign_edit(after)


async def test_a_file_that_names_a_users_seat_otherwise_is_told_its_name(desk: Desk) -> None:
    seat = await _signs_in(desk, "1")
    desk.save(a=user("alice", of="1"))
    await desk.apply()
    assert await desk.names(UserContainer) == [seat.name]
    message = (await desk.applied("a.yaml")).message
    assert "UserContainer alice" in message
    assert f"name it {seat.name} here" in message


async def test_a_file_refused_for_a_seat_is_applied_when_the_seat_is_gone(desk: Desk) -> None:
    seat = await _signs_in(desk, "1")
    desk.save(a=user("alice", of="1"))
    assert (await desk.apply()).retry
    await desk.store.transact(lambda tx: tx.delete(seat), actor="api")
    assert (await desk.apply()).retry
    assert (await desk.applied("a.yaml")).reason == "Waiting"
    await _forget(desk, seat.name)
    assert not (await desk.apply()).retry
    assert await desk.names(UserContainer) == ["alice"]


# Files beside each other


async def test_of_two_files_that_name_an_object_the_one_that_has_it_keeps_it(desk: Desk) -> None:
    desk.save(z=user("alice"))
    await desk.apply()
    desk.save(a=together(user("alice", power="Stopped"), user("bob")))
    await desk.apply()
    assert (await desk.get(UserContainer, "alice")).metadata.managed_by == "file:z.yaml"
    assert await desk.names(UserContainer) == ["alice"]
    assert "z.yaml:1:1" in (await desk.applied("a.yaml")).message
    assert (await desk.applied("z.yaml")).status is Truth.TRUE


async def test_of_two_new_files_that_name_an_object_the_first_gets_it(desk: Desk) -> None:
    desk.save(b=user("alice"), a=user("alice"))
    await desk.apply()
    assert (await desk.get(UserContainer, "alice")).metadata.managed_by == "file:a.yaml"
    assert (await desk.applied("b.yaml")).reason == "Refused"


async def test_of_two_files_that_name_a_users_seat_the_first_gets_it(desk: Desk) -> None:
    desk.save(a=user("alice", of="1"), b=user("alicia", of="1"))
    await desk.apply()
    assert await desk.names(UserContainer) == ["alice"]
    assert "user and template" in (await desk.applied("b.yaml")).message


async def test_an_object_moves_when_its_old_file_lets_go(desk: Desk) -> None:
    desk.save(a=together(user("alice"), user("bob")))
    await desk.apply()
    before = await desk.get(UserContainer, "alice")
    desk.save(a=user("bob"), b=user("alice"))
    await desk.apply()
    after = await desk.get(UserContainer, "alice")
    assert (after.uid, after.metadata.managed_by) == (before.uid, "file:b.yaml")


async def test_nobody_takes_an_object_from_a_file_that_is_broken(desk: Desk) -> None:
    desk.save(a=user("alice"))
    await desk.apply()
    desk.save(a="kind: [\n", b=user("alice", power="Stopped"))
    await desk.apply()
    assert (await desk.get(UserContainer, "alice")).metadata.managed_by == "file:a.yaml"
    assert "mend a.yaml first" in (await desk.applied("b.yaml")).message


async def test_a_refusal_may_cause_another(desk: Desk) -> None:
    """b loses alice to a, so b keeps bob, so c may not have bob."""
    desk.save(a=user("alice"), b=user("bob"))
    await desk.apply()
    desk.save(b=user("alice"), c=together(user("bob"), user("carol")))
    await desk.apply()
    assert (await desk.get(UserContainer, "bob")).metadata.managed_by == "file:b.yaml"
    assert "mend b.yaml first" in (await desk.applied("c.yaml")).message
    assert await desk.names(UserContainer) == ["alice", "bob"]


# What may not be done at once


async def test_a_user_container_never_changes_hands(desk: Desk) -> None:
    desk.save(a=user("alice", of="1"))
    await desk.apply()
    before = await desk.get(UserContainer, "alice")
    desk.save(a=user("alice", of="2"))
    await desk.apply()
    assert await desk.get(UserContainer, "alice") == before
    assert "another name" in (await desk.applied("a.yaml")).message


async def test_a_renamed_user_container_waits_for_the_former_one(desk: Desk) -> None:
    desk.save(a=user("alice", of="1"))
    await desk.apply()
    desk.save(a=user("alicia", of="1"))
    assert (await desk.apply()).retry
    assert (await desk.get(UserContainer, "alice")).metadata.is_deleted
    assert "waits until UserContainer alice is gone" in (await desk.applied("a.yaml")).message
    assert (await desk.apply()).retry
    await _forget(desk, "alice")
    await desk.apply()
    assert await desk.names(UserContainer) == ["alicia"]


async def test_what_is_deleted_and_ended_by_nobody_is_made_anew(desk: Desk) -> None:
    """A gateway that was taken over may leave a finalizer of which nobody knows."""
    desk.save(a=together(template(), user("alice")))
    await desk.apply()
    before = await desk.get(ContainerTemplate, "demo")

    def forge(tx: Tx) -> None:
        metadata = before.metadata.model_copy(update={"finalizers": ("nobodys", "x")})
        tx.delete(tx.update_spec(before.replaced(metadata=metadata)))

    await desk.store.transact(forge, actor="gateway")
    assert (await desk.get(ContainerTemplate, "demo")).metadata.is_deleted
    assert not (await desk.apply()).retry
    after = await desk.get(ContainerTemplate, "demo")
    assert (after.metadata.is_deleted, after.metadata.finalizers) == (False, ())
    assert after.uid != before.uid
    assert (await desk.applied("a.yaml")).is_true


async def test_the_same_name_again_waits_for_the_former_one_and_is_new(desk: Desk) -> None:
    desk.save(a=together(user("alice"), user("bob")))
    await desk.apply()
    before = await desk.get(UserContainer, "alice")
    desk.save(a=user("bob"))
    await desk.apply()
    desk.save(a=together(user("alice"), user("bob")))
    assert (await desk.apply()).retry
    await _forget(desk, "alice")
    await desk.apply()
    assert (await desk.get(UserContainer, "alice")).uid != before.uid


async def test_an_app_renamed_with_its_key_comes_after_the_former_one(desk: Desk) -> None:
    desk.save(a=app("shop"))
    await desk.apply()
    desk.save(a=app("store"))
    await desk.apply()
    await desk.apply()
    assert await desk.names(App) == ["store"]


async def test_a_template_stays_until_its_last_user_is_gone(desk: Desk) -> None:
    desk.save(a=together(template(), user("alice")), b=template("other"))
    await desk.apply()
    desk.remove("a")
    assert (await desk.apply()).retry
    assert "demo" in await desk.names(ContainerTemplate)
    condition = await desk.applied("a.yaml")
    assert condition.reason == "TemplateInUse"
    assert "UserContainer alice" in condition.message
    await _forget(desk, "alice")
    await desk.apply()
    assert await desk.names(ContainerTemplate) == ["other"]


async def test_a_template_of_others_is_not_deleted_under_them(desk: Desk) -> None:
    seat = await _signs_in(desk, "1")
    desk.save(a=together(template(), template("other")))
    await desk.apply()
    desk.save(a=template("other"))
    await desk.apply()
    assert await desk.names(ContainerTemplate) == ["demo", "other"]
    assert seat.name in (await desk.applied("a.yaml")).message


async def test_a_template_that_a_policy_gives_stays_as_long_as_the_policy_does(desk: Desk) -> None:
    rule = "{provider: any, template: demo}"
    desk.save(a=template(), b=together(policy(rule), template("other")))
    await desk.apply()
    desk.remove("a")
    await desk.apply()
    assert "demo" in await desk.names(ContainerTemplate)
    assert "AccessPolicy default" in (await desk.applied("a.yaml")).message
    desk.save(b=together(policy("{provider: any, allow: false}"), template("other")))
    assert (await desk.apply()).retry
    await desk.apply()
    assert await desk.names(ContainerTemplate) == ["other"]


# Writing beside others


async def test_a_status_written_in_between_does_no_harm(desk: Desk) -> None:
    desk.save(a=user("alice"))
    await desk.apply()
    alice = await desk.get(UserContainer, "alice")
    status = alice.status.model_copy(update={"restart_count": 3})
    await desk.store.transact(lambda tx: tx.update_status(alice.replaced(status=status)), actor="reconciler")
    desk.save(a=user("alice", power="Stopped"))
    await desk.apply()
    after = await desk.get(UserContainer, "alice")
    assert (after.spec.power, after.status.restart_count) == ("Stopped", 3)


async def test_a_seat_taken_in_between_is_planned_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.save(a=user("alice", of="1"))
    transact = desk.store.transact
    calls = 0

    async def late(*args: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            monkeypatch.setattr(desk.store, "transact", transact)
            await _signs_in(desk, "1")
        return await transact(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.store, "transact", late)
    await desk.apply()
    assert (await desk.applied("a.yaml")).reason == "Refused"


async def test_somebody_who_always_writes_first_is_not_waited_for_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.save(a=user("alice"))

    async def never(*_: object, **__: object) -> None:
        raise Conflict("somebody was faster")

    monkeypatch.setattr(desk.store, "transact", never)
    with pytest.raises(Conflict):
        await desk.apply()


async def test_a_reconciler_that_lost_the_lead_writes_nothing(desk: Desk) -> None:
    old = await desk.store.lead("one", ttl_s=60)
    await desk.store.resign("one")
    await desk.store.lead("two", ttl_s=60)
    desk.save(a=user("alice"))
    folder = FolderReader(desk.folder, VARIABLES).read()
    with pytest.raises(Fenced):
        await apply_folder(desk.store, folder, epoch=old.epoch)
    assert await desk.names(UserContainer) == []


async def test_more_users_than_a_transaction_takes_all_come(desk: Desk) -> None:
    desk.save(a=users(1200))
    await desk.apply()
    assert len(await desk.names(UserContainer)) == 1200


# The folder itself


async def test_only_manifests_right_in_the_folder_are_read(desk: Desk) -> None:
    desk.save(a=user("alice"))
    for name in (".b.yaml", "#c.yaml", "~d.yaml", "e.yaml~", "f.yaml.swp", "g.json", ".h.yaml.swp", "4913"):
        (desk.folder / name).write_text(user("bob"))
    (desk.folder / "sub").mkdir()
    (desk.folder / "sub" / "i.yaml").write_text(user("bob"))
    await desk.apply()
    assert await desk.names(UserContainer) == ["alice"]


async def test_what_is_no_file_is_told_and_waited_for_by_nobody(desk: Desk) -> None:
    os.mkfifo(desk.folder / "pipe.yaml")
    (desk.folder / "folder.yaml").mkdir()
    desk.save(a=user("alice"))
    await desk.apply()
    assert await desk.names(UserContainer) == ["alice"]
    assert "no regular file" in (await desk.applied("pipe.yaml")).message
    assert "cannot be read" in (await desk.applied("folder.yaml")).message


async def test_too_many_files_are_a_problem_of_the_folder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.save(a=user("alice"))
    await desk.apply()
    monkeypatch.setattr("state.manifests.folder.FILES_COUNT_MAX", 3)
    desk.save(b="", c="", d="", e="")
    await desk.apply()
    assert "more than 3 manifests" in (await desk.applied(".")).message
    assert await desk.names(UserContainer) == ["alice"]


def test_a_file_that_never_rests_is_refused_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calm.yaml").write_text(user("alice"))
    restless = tmp_path / "restless.yaml"
    restless.write_text("")

    def writes_on(_seconds: float) -> None:
        restless.write_text(restless.read_text() + "#\n")

    monkeypatch.setattr("state.manifests.folder.time.sleep", writes_on)
    calm, moving = FolderReader(tmp_path, VARIABLES).read().files
    assert [one.title for one in calm.declared] == ["UserContainer alice"]
    assert "changes all the time" in moving.problems[0].what
