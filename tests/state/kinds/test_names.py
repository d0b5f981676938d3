"""Names, users and keys: what fits a path, a DNS label and a header, and what does not."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from state.kinds.app import KEY_PREFIX, app_user, key_sha256, mint_key
from state.kinds.home import HOSTNAME_PATTERN, hostname
from state.kinds.incarnation import IncarnationNames, IncarnationState
from state.kinds.report import manifest_file_name
from state.kinds.resource import Name, User
from state.kinds.user_container import derived_name, seat_key

NAME: TypeAdapter[str] = TypeAdapter(Name)
USER: TypeAdapter[str] = TypeAdapter(User)
LABEL_CHARS_MAX = 63


@pytest.mark.parametrize("name", ["a", "0", "a-b", "getgather", "x" * 63], ids=len)
def test_a_dns_label_is_a_name(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "é", "x" * 64, "a\n", "a b", "..", "a\x00"]
)
def test_what_is_no_dns_label_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize(
    "user",
    ["github:583231", "google:10769150350006150715113082367", "app:shop.u-1", "local:dev", "oidc:a@b.c"],
)
def test_a_provider_and_a_subject_are_a_user(user: str) -> None:
    assert USER.validate_python(user) == user


@pytest.mark.parametrize(
    "user",
    ["", "github", "github:", ":1", "GitHub:1", "github:a/b", "github:..", "github:a b", "github:a\n",
     "github:é", "github:a:b", "github:%2e", "github:" + "a" * 161, "x" * 33 + ":1"],
)  # fmt: skip
def test_what_could_bend_a_path_is_no_user(user: str) -> None:
    with pytest.raises(ValidationError):
        USER.validate_python(user)


@pytest.mark.parametrize("user_id", ["u1", "583231", "a@example.com", "A.b_c-d+e", "x" * 96], ids=len)
def test_an_app_names_its_users_below_its_own_name(user_id: str) -> None:
    assert app_user("shop", user_id) == f"app:shop.{user_id}"


@pytest.mark.parametrize("user_id", ["", ".a", "-a", "a/b", "a b", "a\r\nX-Evil: 1", "é", "a:b", "x" * 97])
def test_an_app_cannot_name_what_is_no_id(user_id: str) -> None:
    assert app_user("shop", user_id) is None


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), st.text(max_size=120))
def test_whomever_an_app_names_is_a_user(app: str, user_id: str) -> None:
    user = app_user(app, user_id)
    assert user is None or USER.validate_python(user) == user


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}", fullmatch=True),
)
def test_two_apps_never_name_the_same_user(one: str, other: str, one_id: str, other_id: str) -> None:
    assert (app_user(one, one_id) == app_user(other, other_id)) == ((one, one_id) == (other, other_id))


def test_a_minted_key_is_long_and_never_minted_again() -> None:
    keys = {mint_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(KEY_PREFIX) and len(key) >= len(KEY_PREFIX) + 43 for key in keys)


def test_a_keys_hash_is_what_openssl_prints() -> None:
    """printf abc | openssl sha256"""
    assert key_sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.binary(min_size=16, max_size=16))
def test_a_hostname_is_a_label_that_tells_its_bits_apart(random_bytes: bytes) -> None:
    assert re.fullmatch(HOSTNAME_PATTERN, hostname(random_bytes))
    flipped = bytes([random_bytes[0] ^ 1]) + random_bytes[1:]
    assert hostname(flipped) != hostname(random_bytes)


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_a_derived_name_is_a_name_that_says_nothing_of_the_user(user: str, template: str) -> None:
    name = derived_name(user, template)
    assert NAME.validate_python(name) == name
    assert name == derived_name(user, template)


def test_a_derived_name_tells_where_the_user_ends() -> None:
    assert derived_name("local:a", "b") != derived_name("local:ab", "")
    assert derived_name("local:a", "b") != derived_name("local:b", "a")


def test_a_seat_is_a_user_and_a_template() -> None:
    assert seat_key("local:a", "b") != seat_key("local:a", "c")
    assert seat_key("local:a", "b") != seat_key("local:c", "b")


@given(st.text(max_size=300))
def test_a_file_of_any_name_has_a_record_with_a_name(path: str) -> None:
    assert NAME.validate_python(manifest_file_name(path.encode(errors="replace").decode()))


def test_the_engine_may_have_one_container_a_home() -> None:
    home = hostname(bytes(16))
    assert IncarnationNames.container("mcpgw", home).startswith("mcpgw-")
    assert home not in IncarnationNames.container("mcpgw", home), "a neighbour's DNS must not tell it"
    assert IncarnationNames.record(home, 1) != IncarnationNames.record(home, 2)
    longest = IncarnationNames.container("p" * 32, home)
    assert len(longest) <= LABEL_CHARS_MAX
    assert set(longest) <= set(string.ascii_lowercase + string.digits + "-")


def test_states_of_an_incarnation_have_one_order() -> None:
    assert [state.order for state in IncarnationState] == list(range(len(IncarnationState)))
    assert IncarnationState.INTENDED.order < IncarnationState.QUARANTINED.order
