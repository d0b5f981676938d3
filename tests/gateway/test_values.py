"""The values page: one's own container, declared names alone, secrets sealed and never shown again."""

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.pages.values import changes_of
from state.kinds.report import Reconciler, ReconcilerSpec, ReconcilerStatus
from state.kinds.resource import ConditionType, Metadata, Truth
from state.kinds.template import ContainerTemplate, Input
from state.kinds.user_container import UserContainer
from state.kinds.user_inputs import (
    VALUE_BYTES_MAX,
    VALUES_BYTES_MAX,
    InputValue,
    UserInputs,
    new_user_inputs,
)
from state.sealing import PrivateKey
from state.store.port import Tx
from tests.gateway.conftest import Town
from tests.gateway.rig import MCP_ACCEPT, Rig, bearer
from tests.gateway.test_homes import HTML
from tests.gateway.test_pages import csrf_of, post

KEY = PrivateKey(b"k" * 32)
SECRET = "sk-plain-text-of-a-secret"
INPUTS = (
    Input(name="MODEL", title="The model", description="Which <model> answers.", pattern="[a-z]{1,9}"),
    Input(name="REGION", title="The region", required=True),
    Input(name="API_KEY", title="Your key", secret=True),
)
GOOD = {"name": "alice", "value.MODEL": "large", "value.REGION": "eu", "value.API_KEY": SECRET}


@pytest.fixture
async def declared(town: Town) -> AsyncIterator[Town]:
    """A template with three inputs, and a reconciler that said its key."""

    def write(tx: Tx) -> None:
        template = tx.get(ContainerTemplate, "demo")
        assert template is not None
        tx.update_spec(template.replaced(spec=template.spec.model_copy(update={"inputs": INPUTS})))

    await town.rig.write(write)
    await tell_key(town.rig, KEY)
    await town.rig.applied()
    yield town


async def tell_key(rig: Rig, key: PrivateKey) -> None:
    def write(tx: Tx) -> None:
        spec = ReconcilerSpec(project="mcpgw")
        found = tx.get(Reconciler, "mcpgw") or tx.create(
            Reconciler(metadata=Metadata(name="mcpgw"), spec=spec)
        )
        tx.update_status(found.replaced(status=ReconcilerStatus(sealing_key=str(key.public))))

    await rig.write(write)


async def inputs_of(rig: Rig, name: str = "alice") -> UserInputs | None:
    found = await rig.read(lambda tx: tx.get(UserInputs, name))
    assert found is None or isinstance(found, UserInputs)
    return found


async def values_of(rig: Rig, name: str = "alice") -> dict[str, InputValue]:
    inputs = await inputs_of(rig, name)
    return {} if inputs is None else inputs.spec.values


async def opened(rig: Rig) -> str | None:
    inputs = await inputs_of(rig)
    assert inputs is not None
    sealed = inputs.spec.values["API_KEY"].sealed
    return KEY.open(sealed, owner=inputs.spec.user_container, name="API_KEY")


class Form:
    """alice at her form."""

    def __init__(self, rig: Rig, cookie: str, csrf: str) -> None:
        self.rig = rig
        self.cookie = cookie
        self.csrf = csrf

    async def show(self, name: str = "alice") -> tuple[int, str]:
        headers = {**HTML, "Cookie": self.cookie}
        async with self.rig.request("GET", f"/-/values?name={name}", headers=headers) as answer:
            return answer.status, html.unescape(await answer.text())

    async def save(self, fields: dict[str, str], **headers: str) -> tuple[int, str]:
        sent = {"csrf": self.csrf, **fields}
        async with post(self.rig, "/-/values", self.cookie, sent, **HTML, **headers) as answer:
            if answer.status == 303:
                assert answer.headers["Location"] == "/"
            return answer.status, html.unescape(await answer.text())


@pytest.fixture
async def form(declared: Town) -> Form:
    cookie = await declared.rig.session("app:shop.alice")
    return Form(declared.rig, cookie, await csrf_of(declared.rig, cookie))


def shown_in(text: str, name: str) -> str:
    """The field's own element."""
    found = re.search(rf'<input id="value-{name}"[^>]*>', text)
    assert found is not None, text
    return found[0]


# What is filled in


async def test_what_is_filled_in_is_kept_and_only_what_is_plain_is_shown(form: Form) -> None:
    status, text = await form.show()
    assert status == 200
    assert "Which &lt;model&gt; answers." in text or "Which <model> answers." in text
    assert "set on" not in text
    assert (await form.save(GOOD))[0] == 303
    values = await values_of(form.rig)
    assert {name: one.text for name, one in values.items()} == {
        "MODEL": "large",
        "REGION": "eu",
        "API_KEY": "",
    }
    assert await opened(form.rig) == SECRET
    _, text = await form.show()
    assert 'value="large"' in shown_in(text, "MODEL")
    assert 'type="password"' in shown_in(text, "API_KEY")
    assert "value=" not in shown_in(text, "API_KEY")
    assert "set on" in text
    assert SECRET not in text
    assert values["API_KEY"].sealed not in text


async def test_saving_without_a_change_changes_nothing(form: Form) -> None:
    await form.save(GOOD)
    before = await inputs_of(form.rig)
    assert (await form.save({**GOOD, "value.API_KEY": ""}))[0] == 303
    assert await inputs_of(form.rig) == before, "its container is not made anew"


async def test_a_secret_is_replaced_and_cleared_and_a_plain_one_emptied(form: Form) -> None:
    await form.save(GOOD)
    await form.save({**GOOD, "value.API_KEY": "sk-another"})
    assert await opened(form.rig) == "sk-another"
    await form.save({**GOOD, "value.API_KEY": "", "clear.API_KEY": "1", "value.MODEL": ""})
    assert set(await values_of(form.rig)) == {"REGION"}


async def test_what_is_typed_beside_the_checkbox_counts(form: Form) -> None:
    await form.save({**GOOD, "clear.API_KEY": "1"})
    assert await opened(form.rig) == SECRET


async def test_an_older_form_leaves_what_it_does_not_ask_for(form: Form) -> None:
    await form.save(GOOD)
    await form.save({"name": "alice", "value.MODEL": "small"})
    values = await values_of(form.rig)
    assert (values["MODEL"].text, values["REGION"].text) == ("small", "eu")
    assert await opened(form.rig) == SECRET


# What is refused

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a required one left out": ({**GOOD, "value.REGION": ""}, "error-REGION"),
    "a required one of blanks": ({**GOOD, "value.REGION": "  "}, "error-REGION"),
    "a form that does not fit": ({**GOOD, "value.MODEL": "LARGE"}, "error-MODEL"),
    "two lines": ({**GOOD, "value.REGION": "a\nb"}, "error-REGION"),
    "a NUL": ({**GOOD, "value.API_KEY": "a\0b"}, "error-API_KEY"),
    "too long": ({**GOOD, "value.REGION": "x" * 32769}, "error-REGION"),
    "too long together": ({**GOOD, "value.REGION": "x" * 32768, "value.API_KEY": "y" * 32768}, "together"),
}


@pytest.mark.parametrize(("fields", "says"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_is_said_at_its_field_and_nothing_is_kept(
    form: Form, fields: dict[str, str], says: str
) -> None:
    status, text = await form.save(fields)
    assert (status, says in text) == (422, True)
    assert await inputs_of(form.rig) is None
    typed = fields["value.API_KEY"]
    assert typed not in text, "a secret is not sent back"
    if len(fields["value.REGION"]) < 9 and "\n" not in fields["value.REGION"]:
        assert f'value="{fields["value.REGION"]}"' in shown_in(text, "REGION") or not fields["value.REGION"]


async def test_names_that_the_template_does_not_declare_are_never_set(form: Form) -> None:
    for name in ("value.PATH", "value.LD_PRELOAD", "clear.PATH", "PATH", "value."):
        status, _ = await form.save({**GOOD, name: "x"})
        assert status == 400, name
    assert await inputs_of(form.rig) is None


async def test_another_persons_container_is_none(form: Form) -> None:
    assert (await form.show("bob"))[0] == 404
    assert (await form.save({**GOOD, "name": "bob"}))[0] == 404
    assert (await form.show("nobody"))[0] == 404
    assert (await form.save({**GOOD, "name": ""}))[0] == 404
    assert await inputs_of(form.rig, "bob") is None


async def test_a_container_that_leaves_nothing_to_its_user_has_no_form(town: Town) -> None:
    cookie = await town.rig.session("app:shop.alice")
    form = Form(town.rig, cookie, await csrf_of(town.rig, cookie))
    assert (await form.show())[0] == 404
    assert (await form.save(GOOD))[0] == 404


async def test_a_form_without_its_token_or_of_another_origin_is_403(form: Form) -> None:
    bob = await csrf_of(form.rig, await form.rig.session("app:shop.bob"))
    for csrf in ("", "nonsense", bob):
        assert (await form.save({**GOOD, "csrf": csrf}))[0] == 403
    assert (await form.save(GOOD, Origin="http://evil.example"))[0] == 403
    assert await inputs_of(form.rig) is None


async def test_nobody_who_is_not_signed_in_sees_or_changes_anything(form: Form) -> None:
    stranger = Form(form.rig, "", form.csrf)
    assert (await stranger.save(GOOD))[0] == 403
    headers = {**HTML}
    async with form.rig.request("GET", "/-/values?name=alice", headers=headers) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_a_form_beyond_its_bounds_is_413_or_400(form: Form) -> None:
    async with form.rig.request(
        "POST",
        "/-/values",
        headers={"Cookie": form.cookie, "Origin": form.rig.origin},
        data={"csrf": form.csrf, "value.REGION": "x" * (4 * VALUES_BYTES_MAX)},
    ) as answer:
        assert answer.status == 413
    many = {f"value.A{n}": "x" for n in range(80)}
    assert (await form.save(many))[0] == 400


# What is odd


async def test_without_a_key_no_secret_is_taken_and_everything_else_is(town: Town, declared: Town) -> None:
    rig = declared.rig
    await rig.write(lambda tx: tx.delete(tx.get(Reconciler, "mcpgw")))
    cookie = await rig.session("app:shop.alice")
    form = Form(rig, cookie, await csrf_of(rig, cookie))
    status, text = await form.save(GOOD)
    assert (status, "the reconciler has not reported" in text) == (503, True)
    assert await inputs_of(rig) is None
    assert (await form.save({**GOOD, "value.API_KEY": ""}))[0] == 303
    assert set(await values_of(rig)) == {"MODEL", "REGION"}


async def test_a_secret_for_a_key_that_is_lost_counts_as_none(form: Form) -> None:
    await form.save(GOOD)
    await tell_key(form.rig, PrivateKey(b"n" * 32))
    _, text = await form.show()
    assert "set on" not in text
    assert (await form.save({**GOOD, "value.API_KEY": ""}))[0] == 303
    assert set(await values_of(form.rig)) == {"MODEL", "REGION"}, "it could never be opened again"


async def test_the_key_is_that_of_whoever_led_last(form: Form) -> None:
    """A project that was renamed leaves its report behind, and its key opens nothing any more."""

    def rename(tx: Tx) -> None:
        for epoch, project, key in ((1, "a-former-one", PrivateKey(b"o" * 32)), (2, "mcpgw", KEY)):
            spec = ReconcilerSpec(project=project)
            found = tx.get(Reconciler, project) or tx.create(
                Reconciler(metadata=Metadata(name=project), spec=spec)
            )
            status = ReconcilerStatus(sealing_key=str(key.public), epoch=epoch)
            tx.update_status(found.replaced(status=status))

    await form.rig.write(rename)
    assert (await form.save(GOOD))[0] == 303
    assert await opened(form.rig) == SECRET
    assert (await form.save({**GOOD, "value.API_KEY": ""}))[0] == 303
    assert await opened(form.rig) == SECRET, "it is not taken for one that is lost"


async def test_what_is_no_longer_asked_for_leaves_its_room(form: Form) -> None:
    """No field shows it, so that nobody could clear it to make room."""

    def fill(tx: Tx) -> None:
        owner = tx.get(UserContainer, "alice")
        assert owner is not None
        long = InputValue(text="x" * (VALUE_BYTES_MAX - 8), set_at=tx.now)
        tx.create(new_user_inputs(owner, {"FORMER": long, "OLDER": long}))

    await form.rig.write(fill)
    assert (await form.save({**GOOD, "value.REGION": "r" * 1024}))[0] == 303
    assert set(await values_of(form.rig)) == {"MODEL", "REGION", "API_KEY"}


async def test_what_somebody_of_that_name_filled_in_before_is_nobody_elses(form: Form) -> None:
    await form.save(GOOD)

    def reset(tx: Tx) -> None:
        old = tx.get(UserContainer, "alice")
        inputs = tx.get(UserInputs, "alice")
        assert old is not None and inputs is not None
        spec = inputs.spec.model_copy(update={"user_container": "another-uid"})
        tx.update_spec(inputs.replaced(spec=spec))

    await form.rig.write(reset)
    _, text = await form.show()
    assert "large" not in text
    assert "set on" not in text
    await form.save({**GOOD, "value.MODEL": "", "value.API_KEY": ""})
    assert set(await values_of(form.rig)) == {"REGION"}


async def test_a_value_that_became_a_secret_is_hidden_and_sealed_at_the_next_save(form: Form) -> None:
    def as_plain(tx: Tx) -> None:
        owner = tx.get(UserContainer, "alice")
        assert owner is not None
        values = {name: InputValue(text=SECRET, set_at=tx.now) for name in ("API_KEY", "REGION")}
        tx.create(new_user_inputs(owner, values))

    await form.rig.write(as_plain)
    _, text = await form.show()
    assert "value=" not in shown_in(text, "API_KEY")
    await form.save({**GOOD, "value.API_KEY": ""})
    assert await opened(form.rig) == SECRET


def test_a_secret_that_is_none_any_more_is_not_shown_for_it() -> None:
    [model, *_] = INPUTS
    kept = {"MODEL": InputValue(sealed="id.x", set_at="2026-01-01T00:00:00Z")}  # type: ignore[arg-type]
    assert changes_of((model,), {"value.MODEL": ""}, kept) == ({}, {})
    assert changes_of((model,), {"value.MODEL": "", "clear.MODEL": "1"}, kept) == ({"MODEL": None}, {})


# Who waits for one


async def test_a_call_for_a_container_that_lacks_a_value_is_refused_at_once(declared: Town) -> None:
    rig = declared.rig
    await rig.unroute("alice")
    message = "“The region” is needed first; fill it in on the account page"
    await rig.condition("alice", ConditionType.READY, Truth.FALSE, "InputMissing", message)
    await rig.applied()
    headers = {**bearer(declared.key, "alice"), "Accept": MCP_ACCEPT}
    async with rig.request("POST", "/mcp", headers=headers, data=b"{}") as answer:
        assert answer.status == 503
        problem: dict[str, Any] = await answer.json(content_type=None)
        assert int(answer.headers["Retry-After"]) > 0
    assert problem["reason"] == "InputMissing"
    assert "“The region”" in problem["detail"]


async def test_who_is_served_is_served_on_while_a_value_is_wanting(declared: Town) -> None:
    rig = declared.rig
    await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "InputMissing", "fill it in")
    await rig.applied()
    assert (await rig.mcp(declared.key, "alice"))["container"] == "alice"
    seat = rig.workers[0].table.seat_named("alice")
    assert seat is not None
    assert seat.wanting is not None


async def test_the_page_says_what_is_wanting(form: Form) -> None:
    await form.rig.unroute("alice")
    message = "“The region” is needed first; fill it in on the account page"
    await form.rig.condition("alice", ConditionType.READY, Truth.FALSE, "InputMissing", message)
    await form.rig.applied()
    _, text = await form.show()
    assert message in text
