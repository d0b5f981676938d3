"""Whose a container is not, and when nothing may be removed at all."""

import pytest

from reconciler.core.container import Identity, ObservedContainer
from reconciler.core.orphans import (
    EPOCH_LEAP_MAX,
    freeze_reason,
    is_ahead,
    leap_reason,
    orphan_reason,
    world_epoch,
)
from state.kinds.home import Home
from tests.reconciler.core.worlds import EPOCH, HOME, OTHER_HASH, PROJECT, UID, ago, home, ours, shown

MINE = shown(identity=ours(OTHER_HASH, 3))
FOREIGN = shown(identity=None, name="theirs")


def knowing(last_incarnation: int = 3, **status: object) -> Home:
    return home().replaced(
        status=home().status.model_copy(update={"last_incarnation": last_incarnation, **status})
    )


ORPHANS: dict[str, tuple[ObservedContainer, Home | None, set[str], str]] = {
    "a foreign container is nobody's orphan": (FOREIGN, None, set(), ""),
    "an owner's container is its owner's matter": (MINE, knowing(), {UID}, ""),
    "an owner's container is so even without a home": (MINE, None, {UID}, ""),
    "without a home on record it is one": (MINE, None, {"uid-bob"}, f"no Home {HOME} is on record"),
    "on tombstoned data it is one": (
        MINE,
        knowing(tombstoned_at=ago(1)),
        set(),
        f"Home {HOME} is tombstoned",
    ),
    "without its owner it is one": (MINE, knowing(), set(), f"the owner of Home {HOME} is gone"),
}


@pytest.mark.parametrize(("container", "seat", "owners", "reason"), ORPHANS.values(), ids=ORPHANS.keys())
def test_an_orphan(container: ObservedContainer, seat: Home | None, owners: set[str], reason: str) -> None:
    assert orphan_reason(container, seat, owners) == reason


def test_the_worlds_epoch_is_the_newest_that_a_label_carries() -> None:
    later = shown(identity=Identity(PROJECT, "b" * 26, "uid-bob", 1, OTHER_HASH, EPOCH + 5))
    assert world_epoch([MINE, FOREIGN, later]) == EPOCH + 5
    assert world_epoch([FOREIGN]) == world_epoch([]) == 0


FREEZES: dict[str, tuple[int, int, tuple[str, ...], str]] = {
    "a world older than the store": (3, 7, (), ""),
    "a world as old as the store": (7, 7, (), ""),
    "a world newer than the store": (8, 7, (), "containers carry epoch 8, the store is at 7"),
    "a container that the store lacks": (3, 7, ("p-x",), "it lacks p-x"),
}


@pytest.mark.fault(16)
@pytest.mark.parametrize(("newest", "epoch", "ahead", "why"), FREEZES.values(), ids=FREEZES.keys())
def test_destruction_is_frozen_by(newest: int, epoch: int, ahead: tuple[str, ...], why: str) -> None:
    reason = freeze_reason(newest, epoch, ahead)
    assert why in reason
    assert bool(reason) is bool(why)


@pytest.mark.fault(16)
def test_a_reason_to_freeze_says_what_would_mend_it_and_names_only_a_few() -> None:
    reason = freeze_reason(1, 7, [f"p-{number}" for number in range(1000)])
    assert "mcpgw thaw" in reason
    assert len(reason) < 300


def test_an_epoch_far_beyond_every_label_is_none_that_anybody_came_to() -> None:
    assert leap_reason(7, 7 + EPOCH_LEAP_MAX) == leap_reason(7, 3) == ""
    assert "put back a backup" in leap_reason(7, 8 + EPOCH_LEAP_MAX)


AHEAD: dict[str, tuple[ObservedContainer, Home | None, bool, bool]] = {
    "a later incarnation than was ever given": (MINE, knowing(2), False, True),
    "the last incarnation that was given": (MINE, knowing(3), True, False),
    "an earlier incarnation": (MINE, knowing(4), True, False),
    "a home that the store lacks and the disk has": (MINE, None, True, True),
    "a home that nobody has any more": (MINE, None, False, False),
    "a foreign container": (FOREIGN, None, True, False),
}


@pytest.mark.fault(16)
@pytest.mark.parametrize(("container", "seat", "claimed", "ahead"), AHEAD.values(), ids=AHEAD.keys())
def test_a_container_proves_that_the_store_forgot_something(
    container: ObservedContainer, seat: Home | None, claimed: bool, ahead: bool
) -> None:
    assert is_ahead(container, seat, claimed_on_disk=claimed) is ahead
