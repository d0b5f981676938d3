"""The sealed box: one key, one user and one name open it, and nothing else does."""

import base64

import pytest

from state.kinds.user_inputs import SEALED_CHARS_MAX, VALUE_BYTES_MAX, key_id_of
from state.sealing import PrivateKey, PublicKey

KEY = PrivateKey(b"k" * 32)
SEALED = KEY.public.seal("sk-secret-ünd-more", owner="uid-alice", name="API_KEY")


def test_what_was_sealed_opens_for_its_user_and_name() -> None:
    assert KEY.open(SEALED, owner="uid-alice", name="API_KEY") == "sk-secret-ünd-more"
    assert "secret" not in SEALED
    assert "secret" not in base64.urlsafe_b64decode(SEALED.partition(".")[2]).decode("latin-1")
    assert key_id_of(SEALED) == KEY.public.id


def test_it_is_never_sealed_alike_twice() -> None:
    assert KEY.public.seal("a", owner="u", name="A") != KEY.public.seal("a", owner="u", name="A")


MOVED = {
    "to another user": ("uid-bob", "API_KEY"),
    "to another name": ("uid-alice", "API_KEY_2"),
    "to a split that reads alike": ("uid-alice\nAPI", "KEY"),
}


@pytest.mark.parametrize(("owner", "name"), MOVED.values(), ids=MOVED.keys())
def test_what_was_moved_does_not_open(owner: str, name: str) -> None:
    assert KEY.open(SEALED, owner=owner, name=name) is None


def test_another_key_does_not_open_it_even_under_its_name() -> None:
    other = PrivateKey(b"o" * 32)
    assert other.open(SEALED, owner="uid-alice", name="API_KEY") is None
    renamed = f"{other.public.id}.{SEALED.partition('.')[2]}"
    assert other.open(renamed, owner="uid-alice", name="API_KEY") is None


@pytest.mark.parametrize("at", [0, 8, 31, 32, 40, -17, -1])
def test_a_single_changed_bit_does_not_open(at: int) -> None:
    head, _, body = SEALED.partition(".")
    raw = bytearray(base64.urlsafe_b64decode(body))
    raw[at] ^= 1
    changed = f"{head}.{base64.urlsafe_b64encode(bytes(raw)).decode()}"
    assert KEY.open(changed, owner="uid-alice", name="API_KEY") is None


@pytest.mark.parametrize("body", ["", ".", "a", "AAAA", "ü", "A" * 43 + "=", "*" * 60])
def test_what_is_no_sealed_value_does_not_open(body: str) -> None:
    for sealed in (body, f"{KEY.public.id}.{body}"):
        assert KEY.open(sealed, owner="uid-alice", name="API_KEY") is None


def test_the_public_half_passes_as_text_and_nonsense_is_none() -> None:
    public = PublicKey.parsed(str(KEY.public))
    assert public is not None
    assert public.id == KEY.public.id
    assert KEY.open(public.seal("a", owner="u", name="A"), owner="u", name="A") == "a"
    for text in ("", "AAAA", "ü" * 44, "*", str(KEY.public)[:-4]):
        assert PublicKey.parsed(text) is None


def test_the_longest_value_fits_into_what_is_kept() -> None:
    assert len(KEY.public.seal("x" * VALUE_BYTES_MAX, owner="u", name="A")) <= SEALED_CHARS_MAX
