"""Secrets on their way to the engine: opened there, or told by the name that people know them by."""

from typing import Any

import pytest

from reconciler.core.errors import TerminalError
from reconciler.loop.unsealing import unsealed
from state.sealing import PrivateKey
from tests.reconciler.core.worlds import UID, Scene

KEY = PrivateKey(b"k" * 32)
INPUTS = [{"name": "API_KEY", "title": "Your key", "secret": True}]


def sealed_for(value: str, owner: str = UID, name: str = "API_KEY") -> str:
    return KEY.public.seal(value, owner=owner, name=name)


def opened(sealed: str, key: PrivateKey = KEY, **spec: Any) -> dict[str, str]:
    scene = Scene().templated(inputs=INPUTS, **spec).filled_in(API_KEY=sealed)
    assert scene.wanted is not None
    made = unsealed(scene.wanted.spec, scene.world, key)
    assert made.secrets == ()
    assert list(made.env) == sorted(made.env)
    return dict(made.env)


def test_a_secret_stands_in_the_environment_that_the_engine_gets() -> None:
    assert opened(sealed_for("sk-1"), env={"Z": "1", "A": "2"}) == {"A": "2", "API_KEY": "sk-1", "Z": "1"}


def test_a_spec_without_secrets_is_as_it_was() -> None:
    wanted = Scene().wanted
    assert wanted is not None
    assert unsealed(wanted.spec, Scene().world, KEY) is wanted.spec


UNREADABLE = {
    "of another user": sealed_for("sk-1", owner="uid-bob"),
    "of another input": sealed_for("sk-1", name="OTHER"),
    "changed": sealed_for("sk-1")[:-4] + "AAA=",
    "sealed by somebody who does not keep to the rules": sealed_for("sk-1\0"),
    "longer than any may be": sealed_for("x" * 34_000),
    "no sealed value at all": "nonsense.x",
}


@pytest.mark.parametrize("sealed", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_opened_is_told_by_its_title_and_not_quoted(sealed: str) -> None:
    with pytest.raises(TerminalError) as told:
        opened(sealed)
    assert told.value.reason == "InputUnreadable"
    assert str(told.value) == "“Your key” cannot be read any more; fill it in again on the account page"


def test_another_key_opens_nothing() -> None:
    with pytest.raises(TerminalError):
        opened(sealed_for("sk-1"), PrivateKey(b"o" * 32))
