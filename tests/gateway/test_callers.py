"""What a worker remembers of bearers: bounded in all, and for each person."""

from types import SimpleNamespace
from typing import Any

from gateway.auth.callers import TOKENS_KNOWN_EACH_MAX, TOKENS_KNOWN_MAX, _Tokens
from tests.gateway.conftest import Town, one_worker


def known(user: str) -> Any:
    return SimpleNamespace(user=user)


def key(number: int) -> bytes:
    return b"%d" % number


def test_nobody_pushes_out_more_than_their_own() -> None:
    tokens = _Tokens()
    tokens.keep(b"bobs", "bob", known("bob"))
    for number in range(TOKENS_KNOWN_MAX * 2):
        tokens.keep(key(number), "mallory", known("mallory"))
    assert tokens.get(b"bobs") is not None
    assert len(tokens) == 1 + TOKENS_KNOWN_EACH_MAX
    assert tokens.get(key(TOKENS_KNOWN_MAX * 2 - 1)) is not None, "the newest stays"


def test_all_together_are_bounded_and_the_oldest_goes_first() -> None:
    tokens = _Tokens()
    for number in range(TOKENS_KNOWN_MAX + 10):
        tokens.keep(key(number), f"user-{number}", known(f"user-{number}"))
    assert len(tokens) == len(tokens._of_user) == TOKENS_KNOWN_MAX
    assert tokens.get(key(9)) is None
    assert tokens.get(key(10)) is not None


def test_what_is_found_out_again_is_the_newest_and_takes_no_more_room() -> None:
    tokens = _Tokens()
    for number in (1, 2, 1):
        tokens.keep(key(number), "ann", known("ann"))
    assert len(tokens) == 2
    assert list(tokens._known) == list(tokens._of_user["ann"]) == [key(2), key(1)]


@one_worker
async def test_the_users_that_an_app_names_take_no_room(town: Town) -> None:
    for user in ("alice", "bob") * 3:
        await town.rig.mcp(town.key, user)
    assert len(town.rig.worker._desk.callers._tokens) == 0
