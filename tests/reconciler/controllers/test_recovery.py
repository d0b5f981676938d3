"""A lost store is rebuilt from the claims on disk, and nobody dead comes back to life."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.controllers.recovery import Lost, lost_claims, recover_claims
from reconciler.loop.directories import Claim, HostDirectories
from state.kinds.home import Home, HomeSpec, Owner
from state.kinds.report import Reconciler
from state.kinds.resource import Metadata
from state.kinds.user_container import (
    DATA_FINALIZER,
    Overrides,
    Power,
    UserContainer,
    UserContainerSpec,
    new_user_container,
)
from state.kinds.user_inputs import InputValue, UserInputs, new_user_inputs
from state.store.errors import Fenced
from state.store.memory import memory_store
from state.store.port import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = 1


def claim(
    home: str, name: str = "alice", uid: str = "uid-1", user: str = "github:1", **more: object
) -> Claim:
    owner = Owner(user_container=name, uid=uid, user=user)
    return Claim(home=home * 26, template="demo", owner=owner).model_copy(update=more)


@pytest.fixture
async def store() -> Store:
    made = memory_store()
    await made.lead("us", ttl_s=60)
    return made


async def recover(store: Store, *claims: Claim) -> None:
    await recover_claims(store, Lost(claims, is_everything=True), project="p", epoch=EPOCH, epoch_min=8)


async def users(store: Store) -> list[UserContainer]:
    return await store.read(lambda tx: tx.list(UserContainer))


async def test_a_living_owner_gets_home_power_and_overrides_back(store: Store) -> None:
    await recover(store, claim("a", power=Power.STOPPED, overrides=Overrides(env={"A": "1"})))
    [user] = await users(store)
    [home] = await store.read(lambda tx: tx.list(Home))
    assert (user.uid, user.name, user.spec.power, user.spec.overrides.env) == (
        "uid-1",
        "alice",
        "Stopped",
        {"A": "1"},
    )
    assert home.spec.owner is not None
    assert home.spec.owner.uid == user.uid


@pytest.mark.fault(29)
async def test_tombstoned_data_is_rebuilt_as_tombstoned_and_not_attached_to_the_namesake(
    store: Store,
) -> None:
    until = NOW + timedelta(days=30)
    dead = claim("a", uid="uid-old", tombstoned_at=NOW, retain_until=until)
    await recover(store, dead, claim("b", uid="uid-new"))
    [user] = await users(store)
    homes = {home.name[0]: home for home in await store.read(lambda tx: tx.list(Home))}
    assert user.uid == "uid-new"
    assert homes["a"].status.retain_until == until
    assert homes["b"].status.tombstoned_at is None


async def test_two_living_claims_of_one_seat_give_it_to_one_and_stop_nothing(store: Store) -> None:
    await recover(
        store, claim("a"), claim("b", name="other", uid="uid-2"), claim("c", "bob", "uid-3", "github:3")
    )
    assert sorted(user.name for user in await users(store)) == ["alice", "bob"]


async def test_no_label_found_is_newer_than_the_rebuilt_store_after_a_crash(store: Store) -> None:
    """The epoch is on record with the Homes: dying right afterwards freezes nothing."""
    await recover(store, claim("a"))
    reconciler = await store.read(lambda tx: tx.get(Reconciler, "p"))
    assert reconciler is not None
    assert reconciler.spec.epoch_min == 8


async def test_somebody_else_leading_by_now_rebuilds_alone(store: Store) -> None:
    with pytest.raises(Fenced):
        lost = Lost((claim("a"),), is_everything=True)
        await recover_claims(store, lost, project="p", epoch=EPOCH - 1, epoch_min=8)
    assert await users(store) == []


async def test_a_store_has_lost_the_homes_that_only_the_disk_knows(store: Store, tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path)
    assert await lost_claims(store, directories) == Lost((), is_everything=True)
    for home in "ab":
        await directories.record(claim(home))
    lost = await lost_claims(store, directories)
    assert ([one.home[0] for one in lost.claims], lost.is_everything) == (["a", "b"], True)
    known = Home(metadata=Metadata(name="a" * 26), spec=HomeSpec(template="demo"))
    await store.transact(lambda tx: tx.create(known), actor="t")
    lost = await lost_claims(store, directories)
    assert ([one.home[0] for one in lost.claims], lost.is_everything) == (["b"], False)


@pytest.mark.fault(16)
async def test_an_old_backup_gets_back_whom_it_does_not_know_and_keeps_its_epoch(store: Store) -> None:
    await recover(store, claim("a"))
    lost = Lost((claim("b", "bob", "uid-2", "github:2"),), is_everything=False)
    await recover_claims(store, lost, project="p", epoch=EPOCH, epoch_min=0)
    assert sorted(user.name for user in await users(store)) == ["alice", "bob"]
    reconciler = await store.read(lambda tx: tx.get(Reconciler, "p"))
    assert reconciler is not None
    assert reconciler.spec.epoch_min == 8


async def sits(store: Store, uid: str, *, has_home: bool = False) -> None:
    """Somebody is on record with alice's seat."""
    made = UserContainer(
        metadata=Metadata(name="alice", uid=uid, finalizers=(DATA_FINALIZER,)),
        spec=UserContainerSpec(user="github:1", template="demo"),
    )
    await store.transact(lambda tx: tx.create(made), actor="t")
    if has_home:
        spec = HomeSpec(template="demo", owner=Owner(user_container="alice", uid=uid, user="github:1"))
        home = Home(metadata=Metadata(name="n" * 26), spec=spec)
        await store.transact(lambda tx: tx.create(home), actor="t")


@pytest.mark.fault(16)
@pytest.mark.parametrize("uid", ["uid-1", "uid-of-a-sign-in-just-now"])
async def test_whoever_is_on_record_without_a_home_is_the_owner_of_the_claim(store: Store, uid: str) -> None:
    """A backup of the moment before the claim; or they came before the reconciler had found them."""
    await sits(store, uid)
    await recover(store, claim("a"))
    assert [user.uid for user in await users(store)] == ["uid-1"]
    [home] = await store.read(lambda tx: tx.list(Home))
    assert home.spec.owner is not None
    assert home.spec.owner.uid == "uid-1"


@pytest.mark.fault(29)
async def test_whoever_has_a_home_by_now_keeps_it(store: Store) -> None:
    await sits(store, "uid-new", has_home=True)
    await recover(store, claim("a"))
    assert [user.uid for user in await users(store)] == ["uid-new"]
    assert [home.name[0] for home in await store.read(lambda tx: tx.list(Home))] == ["n"]


@pytest.mark.fault(29)
@pytest.mark.parametrize("has_home", [True, False])
async def test_tombstoned_data_of_somebody_who_is_back_is_nobodys(store: Store, has_home: bool) -> None:
    """Two Homes of one owner would stop everybody's recovery, and attach what was put aside."""
    await sits(store, "uid-1", has_home=has_home)
    dead = claim("a", tombstoned_at=NOW, retain_until=NOW + timedelta(days=30))
    await recover(store, dead, claim("c", "carol", "uid-3", "github:3"))
    homes = {home.name[0]: home for home in await store.read(lambda tx: tx.list(Home))}
    assert homes["a"].spec.owner is None
    assert homes["a"].status.tombstoned_at == NOW
    assert "c" in homes


async def test_a_claim_that_cannot_be_read_makes_the_store_old_and_not_new(
    store: Store, tmp_path: Path
) -> None:
    """Above a raised epoch its container would be nobody's."""
    directories = HostDirectories(tmp_path)
    for home in "ab":
        await directories.record(claim(home))
    (tmp_path / ("b" * 26) / "claim.json").write_text("{")
    lost = await lost_claims(store, directories)
    assert ([one.home[0] for one in lost.claims], lost.is_everything) == (["a"], False)


async def test_what_somebody_else_rebuilt_meanwhile_is_left_as_it_is(store: Store) -> None:
    for _ in range(2):
        await recover(store, claim("a"), claim("b", "bob", "uid-2", "github:2"))
    assert sorted(user.name for user in await users(store)) == ["alice", "bob"]


async def test_an_owner_who_has_another_home_keeps_it_and_stops_nobody(store: Store) -> None:
    """Their own directory was out of reach when they came, and is there again."""
    await recover(store, claim("a"), claim("c", "carol", "uid-3", "github:3"))
    lost = Lost((claim("b"), claim("d", "dora", "uid-4", "github:4")), is_everything=False)
    await recover_claims(store, lost, project="p", epoch=EPOCH, epoch_min=0)
    homes = {home.name[0] for home in await store.read(lambda tx: tx.list(Home))}
    assert homes == {"a", "c", "d"}


async def test_a_store_that_somebody_led_is_not_new_though_it_has_no_homes(
    store: Store, tmp_path: Path
) -> None:
    directories = HostDirectories(tmp_path)
    await directories.record(claim("a"))
    await recover_claims(store, Lost((), is_everything=True), project="p", epoch=EPOCH, epoch_min=1)
    lost = await lost_claims(store, directories)
    assert ([one.home[0] for one in lost.claims], lost.is_everything) == (["a"], False)


async def test_an_installation_keeps_its_name(tmp_path: Path) -> None:
    first = await HostDirectories(tmp_path / "one").installation()
    assert first == await HostDirectories(tmp_path / "one").installation()
    assert first != await HostDirectories(tmp_path / "two").installation()


VALUES = {"A": InputValue(text="a", set_at=NOW), "B": InputValue(sealed="id.b", set_at=NOW)}


async def test_what_the_owner_filled_in_comes_back_as_it_was_sealed(store: Store) -> None:
    await recover(store, claim("a", values=VALUES), claim("b", "bob", "uid-2", "github:2"))
    [inputs] = await store.read(lambda tx: tx.list(UserInputs))
    assert (inputs.name, inputs.spec.user_container, inputs.spec.values) == ("alice", "uid-1", VALUES)


async def test_what_the_store_knows_of_the_owner_is_newer_than_the_claim(store: Store) -> None:
    newer = {"A": InputValue(text="newer", set_at=NOW)}
    spec = UserContainerSpec(user="github:1", template="demo")
    owner = UserContainer(metadata=Metadata(name="alice", uid="uid-1"), spec=spec)
    await store.transact(lambda tx: tx.create(new_user_inputs(tx.create(owner), newer)), actor="t")
    await recover(store, claim("a", values=VALUES))
    [inputs] = await store.read(lambda tx: tx.list(UserInputs))
    assert inputs.spec.values == newer


async def test_what_was_filled_in_for_a_seat_made_anew_gives_way_with_it(store: Store) -> None:
    """It was sealed for another uid: it could never be opened again."""
    spec = UserContainerSpec(user="github:1", template="demo")
    anew = new_user_container("alice", spec, managed_by="api")
    await store.transact(lambda tx: tx.create(new_user_inputs(tx.create(anew), {})), actor="t")
    await recover(store, claim("a", values=VALUES))
    [inputs] = await store.read(lambda tx: tx.list(UserInputs))
    assert (inputs.spec.user_container, inputs.spec.values) == ("uid-1", VALUES)


async def test_what_is_put_aside_gives_its_values_to_nobody(store: Store) -> None:
    until = NOW + timedelta(days=30)
    await recover(store, claim("a", values=VALUES, tombstoned_at=NOW, retain_until=until))
    assert await store.read(lambda tx: tx.list(UserInputs)) == []
