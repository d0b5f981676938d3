"""The admin's pages on the wire: who may see them, what they show, and that what is decided there holds."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from gateway.pages.admin import FIRST_MAX, LOOKED_AT_MAX, sorted_by
from gateway.pages.admin_view import ROWS_MAX
from state.kinds.access_policy import AccessPolicy, Role, Rule
from state.kinds.account import Account, AccountSpec, Claims, Decision, account_name
from state.kinds.report import (
    ManifestFile,
    ManifestFileSpec,
    ManifestFileStatus,
    Reconciler,
    ReconcilerSpec,
    ReconcilerStatus,
)
from state.kinds.request import Request, Verb
from state.kinds.resource import Condition, ConditionType, Metadata, Truth
from state.kinds.user_container import UserContainer, UserContainerSpec, derived_name
from state.store.errors import Unavailable
from state.store.port import Tx
from tests.gateway.conftest import ALICE_HOME, WORKERS
from tests.gateway.rig import PATIENCE_S, Container, Rig, bearer, container, gateway, until
from tests.gateway.test_homes import HTML
from tests.gateway.test_pages import csrf_of, post

BOSS = "oidc:boss"
CHIEF = "oidc:chief"  # an admin by a rule
BOB = "oidc:bob"
EVE = "oidc:eve"
PAGES = ("/admin", "/admin/people", "/admin/containers", "/admin/manifests", "/admin/container?name=bob")
ACTS = ("approve", "ban", "unban")
PAGE_BYTES_MAX = 150_000


def claims(name: str) -> Claims:
    return Claims(login=name, emails=(f"{name}@example.com",))


@asynccontextmanager
async def office(workers: int, **settings: Any) -> AsyncIterator[Rig]:
    """A boss by ADMIN_EMAILS, a chief by a rule, Bob by a rule with a container; whoever else comes waits."""
    said = {"unmatched_users": "pending", "admin_emails": ("boss@example.com",), **settings}
    async with gateway(workers=workers, **said) as rig:
        await rig.add_template()
        await rig.add_policy(Rule(users=(CHIEF,), role=Role.ADMIN), Rule(users=(BOB,)))
        for user in (BOSS, CHIEF, BOB):
            await rig.signed_in(user, claims(user.partition(":")[2]))
        await rig.add_user("bob", BOB)
        await rig.give_home("bob", ALICE_HOME)
        await rig.applied()
        yield rig


@pytest.fixture(params=WORKERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with office(request.param) as rig:
        yield rig


@pytest.fixture
async def bobs(rig: Rig) -> AsyncIterator[Container]:
    async with container("bob") as bobs:
        await rig.route("bob", bobs, ALICE_HOME)
        await rig.applied()
        yield bobs


async def cookie_of(rig: Rig, user: str) -> str:
    """A session of somebody whose Account is there."""
    return (await rig.workers[-1]._desk.sessions.open(user)).partition(";")[0]


async def shown(rig: Rig, cookie: str, path: str, status: int = 200) -> str:
    async with rig.request("GET", path, headers={**HTML, "Cookie": cookie}) as answer:
        text = str(await answer.text())
        assert answer.status == status, text
        return text


async def decide(rig: Rig, by: str, act: str, user: str, **fields: str) -> Any:
    """The status and where it leads, or the reason why not."""
    cookie = await cookie_of(rig, by)
    sent = {"csrf": await csrf_of(rig, cookie), "user": user, **fields}
    async with post(rig, f"/-/admin/{act}", cookie, sent) as answer:
        if answer.status == 303:
            return answer.status, answer.headers["Location"]
        return answer.status, (await answer.json())["reason"]


async def decision_of(rig: Rig, user: str) -> Decision:
    account = await rig.read(lambda tx: tx.get(Account, account_name(user)))
    assert account is not None
    return Decision(account.spec.decision)


async def last_actor(rig: Rig) -> str:
    return (await rig.store.changes(0, 100_000))[-1].actor


# Who may


async def test_whoever_is_not_signed_in_signs_in_first(rig: Rig) -> None:
    for path in PAGES:
        async with rig.request("GET", path, headers=HTML) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/signin?to=%2Fadmin")


async def test_to_others_it_says_who_it_is_for(rig: Rig) -> None:
    await rig.signed_in(EVE, claims("eve"))
    for user, path in product((BOB, EVE), PAGES):
        cookie = await cookie_of(rig, user)
        text = await shown(rig, cookie, path, 403)
        assert "NotAnAdmin" in text
        assert "boss" not in text
        async with rig.request("GET", path, headers={"Cookie": cookie}) as answer:
            assert (answer.status, answer.content_type) == (403, "application/problem+json")


async def test_either_kind_of_admin_sees_it_fenced_in(rig: Rig) -> None:
    for user, path in product((BOSS, CHIEF), PAGES):
        async with rig.request("GET", path, headers={**HTML, "Cookie": await cookie_of(rig, user)}) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script|\son\w+=|style=", text), "no script, and no inline style"


async def test_only_a_session_counts(rig: Rig) -> None:
    key = await rig.add_app("shop")
    await rig.applied()
    for headers in (bearer(key, "alice"), {"Authorization": "Bearer nonsense"}):
        async with rig.request("GET", "/admin", headers=headers) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/signin?to=%2Fadmin")


async def test_the_account_page_leads_there_for_admins_alone(rig: Rig) -> None:
    assert 'href="/admin"' in await shown(rig, await cookie_of(rig, CHIEF), "/")
    assert 'href="/admin"' not in await shown(rig, await cookie_of(rig, BOB), "/")


async def test_an_admin_who_is_none_any_more_is_refused_at_the_next_request(rig: Rig) -> None:
    cookie = await cookie_of(rig, CHIEF)
    csrf = await csrf_of(rig, cookie)
    assert "NotAnAdmin" not in await shown(rig, cookie, "/admin")
    demoted = (Rule(users=(CHIEF, BOB)),)

    def write(tx: Tx) -> None:
        policy = tx.get(AccessPolicy, "default")
        assert policy is not None
        tx.update_spec(policy.replaced(spec=policy.spec.model_copy(update={"rules": demoted})))

    await rig.write(write)
    await rig.applied()
    for path in PAGES:
        assert "NotAnAdmin" in await shown(rig, cookie, path, 403)
    for act, fields in (*((act, {"user": BOB}) for act in ACTS), ("restart", {"name": "bob"})):
        async with post(rig, f"/-/admin/{act}", cookie, {"csrf": csrf, **fields}) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (403, "NotAnAdmin")
    assert await decision_of(rig, BOB) is Decision.NONE


async def test_a_form_of_another_origin_or_without_its_token_changes_nothing(rig: Rig) -> None:
    cookie, chief = await cookie_of(rig, BOSS), await cookie_of(rig, CHIEF)
    csrf, fields = await csrf_of(rig, cookie), {"user": BOB, "name": "bob"}
    others = await csrf_of(rig, chief)
    before = await rig.store.revision()
    for act in (*ACTS, "restart"):
        path = f"/-/admin/{act}"
        for token in ("", "nonsense", others):
            async with post(rig, path, cookie, {**fields, "csrf": token}) as answer:
                assert answer.status == 403
        for origin in ("http://evil.example", "null", f"http://{ALICE_HOME}.localhost:{rig.port}"):
            async with post(rig, path, cookie, {**fields, "csrf": csrf}, Origin=origin) as answer:
                assert answer.status == 403
        for sent in ({"Cookie": ""}, {"Authorization": "Bearer nonsense"}):
            async with rig.request("POST", path, headers=sent, data={**fields, "csrf": csrf}) as answer:
                assert answer.status == 403
        async with rig.request("GET", path, headers={"Cookie": cookie}) as answer:
            assert answer.status == 405
    assert await rig.store.revision() == before


# Deciding


async def test_whoever_waits_is_shown_and_let_in(rig: Rig) -> None:
    await rig.signed_in(EVE, Claims(login="eve", name="Eve", emails=("eve@example.com", "e@home.example")))
    eve, boss = await cookie_of(rig, EVE), await cookie_of(rig, BOSS)
    await shown(rig, eve, "/", 403)
    text = await shown(rig, boss, "/admin")
    assert "Waiting for approval (1)" in text
    for word in (
        EVE,
        "eve@example.com,e@home.example",
        "waits for approval",
        "no rule matches",
        "First here",
    ):
        assert word in text
    status, location = await decide(rig, BOSS, "approve", EVE, back="/admin")
    assert (status, location) == (303, "/admin?done=approve&user=oidc%3Aeve")
    assert await last_actor(rig) == BOSS
    for _ in rig.workers * 3:  # whichever is asked
        assert "You have no container yet" in await shown(rig, eve, "/")
    text = await shown(rig, boss, location)
    assert f"{EVE} is approved; now: user, template demo (approved)" in text
    assert "Nobody waits." in text


async def test_a_ban_ends_what_is_under_way_at_every_worker(rig: Rig, bobs: Container) -> None:
    del bobs
    cookies = [await cookie_of(rig, BOB) for _ in range(4)]
    for cookie in cookies:
        await shown(rig, cookie, "/")
    following = [
        await rig.request("GET", "/-/events", headers={"Cookie": cookie}).__aenter__() for cookie in cookies
    ]
    for answer in following:
        assert answer.status == 200
        await answer.content.readline()
    assert (await decide(rig, BOSS, "ban", BOB))[0] == 303
    async with asyncio.timeout(PATIENCE_S):
        for answer in following:
            await answer.content.read()  # to its end
            answer.close()
    await until(lambda: rig.followers_count == 0)
    for cookie in cookies:
        await shown(rig, cookie, "/", 403)
    assert await last_actor(rig) == BOSS
    assert f"{BOB} is banned; now: refused (banned)" in await shown(
        rig, await cookie_of(rig, BOSS), f"/admin/people?done=ban&user={BOB}"
    )
    assert (await decide(rig, CHIEF, "unban", BOB))[0] == 303
    await shown(rig, cookies[0], "/")


async def test_nobody_decides_of_themselves(rig: Rig) -> None:
    for user, act in product((BOSS, CHIEF), ACTS):
        assert await decide(rig, user, act, user) == (403, "OwnAccount")
        assert await decision_of(rig, user) is Decision.NONE


async def test_whom_the_settings_name_no_admin_bans_but_one_by_a_rule_any(rig: Rig) -> None:
    assert await decide(rig, CHIEF, "ban", BOSS) == (403, "NamedAdmin")
    text = await shown(rig, await cookie_of(rig, CHIEF), "/admin/people?q=boss")
    assert "named in ADMIN_EMAILS" in text
    assert 'action="/-/admin/ban"' not in text
    assert (await decide(rig, BOSS, "ban", CHIEF))[0] == 303
    assert await decision_of(rig, CHIEF) is Decision.BANNED


async def test_what_no_longer_applies_changes_nothing_and_says_so(rig: Rig) -> None:
    """The page of an admin who looked before another one decided."""
    assert await decide(rig, BOSS, "unban", BOB) == (409, "NotApplicable")
    assert (await decide(rig, BOSS, "ban", BOB))[0] == 303
    assert await decide(rig, CHIEF, "approve", BOB) == (409, "NotApplicable")
    assert await decision_of(rig, BOB) is Decision.BANNED
    assert await decide(rig, BOSS, "ban", "oidc:nobody") == (404, "NotFound")
    assert await decide(rig, BOSS, "crown", BOB) == (404, "NotFound")


async def test_a_decision_leads_back_to_where_it_was_made_and_nowhere_else(rig: Rig) -> None:
    _, location = await decide(rig, BOSS, "ban", BOB, back="/admin/people", q="b&b", show="", page="2")
    assert location == "/admin/people?q=b%26b&page=2&done=ban&user=oidc%3Abob"
    _, location = await decide(rig, BOSS, "unban", BOB, back="https://evil.example/")
    assert location == "/admin?done=unban&user=oidc%3Abob"


async def test_a_link_cannot_claim_what_is_not_so(rig: Rig) -> None:
    cookie = await cookie_of(rig, BOSS)
    for query in (f"done=ban&user={BOB}", "done=ban&user=oidc:nobody", f"done=<b>&user={BOB}"):
        assert 'role="status"' not in await shown(rig, cookie, f"/admin?{query}")


async def test_a_worker_that_does_not_answer_is_told_and_the_ban_stands(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.accounts.BARRIER_S", 0.1)
    await rig.store.join("deaf", ttl_s=60)
    assert await decide(rig, BOSS, "ban", BOB) == (503, "NotAnnounced")
    assert await decision_of(rig, BOB) is Decision.BANNED
    await rig.store.leave("deaf")


# Signing in on the way


async def test_a_sign_in_form_keeps_the_way_to_the_admins_page_and_to_no_other(rig: Rig) -> None:
    for to in ("https://evil.example/", "//evil.example", "/admin/../", "/-/restart", "/mcp", ""):
        async with rig.request(
            "GET", "/signin", params={"to": to}, headers={**HTML, "Cookie": await cookie_of(rig, BOB)}
        ) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
    async with rig.request(
        "GET", "/signin?to=/admin", headers={**HTML, "Cookie": await cookie_of(rig, BOSS)}
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/admin")


# What is shown


async def test_people_are_everybody_with_what_holds_of_them_and_why(rig: Rig) -> None:
    key = await cookie_of(rig, BOSS)
    await rig.signed_in(EVE, Claims(login="<i>eve</i>", emails=tuple(f"e{n}@x.example" for n in range(200))))
    text = await shown(rig, key, "/admin/people")
    for words in (
        "admin, template demo",
        "ADMIN_EMAILS",
        "rule 1 of default",
        "user, template demo",
        "rule 2 of default",
        "waits for approval",
        "1 container<",
        "e0@x.example,e1@x.example,e2@x.example and 197 more",
        "&lt;i&gt;eve",
    ):
        assert words in text, words
    assert "<i>" not in text
    for q in ("BOB", "bob@example.com", BOB):
        text = await shown(rig, key, f"/admin/people?q={q}")
        assert "People (1)" in text
        assert BOB in text
    assert "People (0)" in await shown(rig, key, "/admin/people?q=%00%22%3Cscript%3E")
    assert "Waiting for approval (1)" in await shown(rig, key, "/admin/people?show=waiting")


async def test_containers_that_are_not_as_they_should_be_come_first(rig: Rig, bobs: Container) -> None:
    await rig.add_user("aaa", "app:shop.1")  # on its way
    await rig.add_user("zzz", "app:shop.2")
    await rig.condition("zzz", ConditionType.DEGRADED, Truth.TRUE, "CrashLoop", "<b>it ends at once</b>")
    await rig.applied()
    cookie = await cookie_of(rig, BOSS)
    text = await shown(rig, cookie, "/admin/containers")
    assert re.findall(r"container\?name=(\w+)", text) == ["zzz", "aaa", "bob"]
    assert "CrashLoop: &lt;b&gt;it ends at once" in text
    overview = await shown(rig, cookie, "/admin")
    assert re.findall(r"container\?name=(\w+)", overview) == ["zzz"]
    assert "1 in trouble, 1 on their way or waiting for their user, 1 as they should be" in overview
    await rig.condition("bob", ConditionType.DEGRADED, Truth.TRUE, "NotAllowed", "the ceiling forbids it")
    await rig.applied()
    text = await shown(rig, cookie, "/admin/containers?q=bob")
    assert "Ready, in trouble" in text
    assert "NotAllowed: the ceiling forbids it" in text
    assert "name=aaa" not in text


async def test_a_container_is_explained_and_restarted_but_never_entered(rig: Rig, bobs: Container) -> None:
    del bobs
    boss, chief = await cookie_of(rig, BOSS), await cookie_of(rig, CHIEF)
    ended = {
        "reason": "OOMKilled",
        "exit_code": 137,
        "at": datetime.now(UTC),
        "log_tail": f"GET /dpage/{ALICE_HOME}-1\n<u>last words</u>",
    }
    await rig.condition("bob", ConditionType.READY, Truth.TRUE, "Answers", "it does")
    await rig.status("bob", last_termination=ended, restart_count=3)
    await rig.applied()
    path = "/admin/container?name=bob"
    text = await shown(rig, boss, path)
    for words in (
        "users.yaml",
        "OOMKilled, exit code 137",
        "GET /dpage/&lt;home&gt;-1",
        "&lt;u&gt;last words",
        "3 restarts",
        "it does",
        BOB,
    ):
        assert words in text, words
    async with post(
        rig, "/-/admin/restart", boss, {"csrf": await csrf_of(rig, boss), "name": "bob"}
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, path)
    [asked] = await rig.read(lambda tx: tx.list(Request))
    assert (asked.spec.user_container, asked.spec.verb, asked.spec.asked_by) == ("bob", Verb.RESTART, BOSS)
    assert await last_actor(rig) == BOSS
    assert f"Restart, by <code>{BOSS}</code>" in await shown(rig, boss, path)
    for page in PAGES:
        text = await shown(rig, boss, page)
        assert ALICE_HOME not in text, "a Home's name opens its links"
    assert "There is nothing here" in await shown(rig, boss, "/admin/container?name=nobody", 404)
    sent = {"csrf": await csrf_of(rig, chief), "name": "nobody"}
    async with post(rig, "/-/admin/restart", chief, sent) as answer:
        assert answer.status == 404
    for refused, fields in (
        ("/-/open", {"path": "/live"}),
        ("/-/restart", {}),
        ("/-/reset", {"confirm": "reset"}),
    ):
        sent = {"csrf": await csrf_of(rig, boss), "name": "bob", **fields}
        async with post(rig, refused, boss, sent) as answer:
            assert answer.status == 404, refused
    for refused in ("/-/log?name=bob", "/-/log/events?name=bob", "/-/values?name=bob"):
        await shown(rig, boss, refused, 404)


def condition(of: ConditionType, status: Truth, reason: str, message: str) -> tuple[Condition, ...]:
    return (Condition(type=of, status=status, reason=reason, message=message, since=datetime.now(UTC)),)


async def test_why_a_file_has_no_effect_and_what_ails_the_reconciler_is_told(rig: Rig) -> None:
    cookie = await cookie_of(rig, BOSS)
    assert "NotReported" in await shown(rig, cookie, "/admin")
    refused = condition(ConditionType.APPLIED, Truth.FALSE, "Refused", "a.yaml:3:1: no such kind <Foo>; mend")
    frozen = condition(ConditionType.DESTRUCTION_FROZEN, Truth.TRUE, "StoreLooksOld", "run mcpgw thaw")

    def write(tx: Tx) -> None:
        file = tx.create(ManifestFile(metadata=Metadata(name="f-1"), spec=ManifestFileSpec(path="a.yaml")))
        tx.update_status(file.replaced(status=ManifestFileStatus(conditions=refused)))
        told = tx.create(Reconciler(metadata=Metadata(name="house"), spec=ReconcilerSpec(project="house")))
        tx.update_status(told.replaced(status=ReconcilerStatus(engine="docker 20.10.24", conditions=frozen)))
        policy = tx.get(AccessPolicy, "default")
        assert policy is not None
        rules = (*policy.spec.rules, Rule(provider="google", template="gone"))
        tx.update_spec(policy.replaced(spec=policy.spec.model_copy(update={"rules": rules})))

    await rig.write(write)
    await rig.applied()
    text = await shown(rig, cookie, "/admin")
    for words in (
        "a.yaml:3:1: no such kind &lt;Foo&gt;; mend",
        "StoreLooksOld: run mcpgw thaw",
        "TemplateMissing: rule 3 of default gives it",
    ):
        assert words in text, words
    text = await shown(rig, cookie, "/admin/manifests")
    for words in (
        "Not applied",
        "AccessPolicy",
        "3 rules",
        "ContainerTemplate",
        "docker 20.10.24",
        "StoreLooksOld",
    ):
        assert words in text, words


async def test_while_the_store_is_silent_that_is_the_first_thing_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await cookie_of(rig, BOSS)

    async def silent(*args: object, **named: object) -> None:
        raise Unavailable("database is locked")

    for worker in rig.workers:
        for method in ("read", "transact"):
            monkeypatch.setattr(worker._desk.store, method, silent)
    text = await shown(rig, cookie, "/admin")
    assert "StoreUnavailable" in text
    assert "database is locked" not in text
    assert "People (3)" in await shown(rig, cookie, "/admin/people")
    assert "StoreUnavailable" in await shown(rig, cookie, "/admin/manifests", 503)


# Many

CROWD = 5000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowded() -> AsyncIterator[Rig]:
    """So many people, most of whom wait; and as many containers, some of them in trouble."""
    async with office(1) as rig:
        degraded = condition(ConditionType.DEGRADED, Truth.TRUE, "CrashLoop", "x" * 1024)
        emails = tuple(f"{n}@{'m' * 200}.example" for n in range(50))

        def write(first: int) -> Any:
            def at_once(tx: Tx) -> None:
                for n in range(first, first + 500):
                    user = f"github:{n:06}"
                    spec = AccountSpec(
                        user=user, claims=Claims(login="l" * 320, emails=emails), claims_at=tx.now
                    )
                    tx.create(Account(metadata=Metadata(name=account_name(user)), spec=spec))
                    wanted = UserContainerSpec(user=user, template="demo")
                    seat = tx.create(
                        UserContainer(metadata=Metadata(name=derived_name(user, "demo")), spec=wanted)
                    )
                    if n % 2:
                        status = seat.status.model_copy(update={"conditions": degraded})
                        tx.update_status(seat.replaced(status=status))

            return at_once

        for first in range(0, CROWD, 500):
            await rig.write(write(first))
        await rig.applied()
        yield rig


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/admin", 2 * FIRST_MAX),
        ("/admin/people", ROWS_MAX),
        ("/admin/people?show=waiting", ROWS_MAX),
        ("/admin/people?q=github&page=7", ROWS_MAX),
        ("/admin/containers", ROWS_MAX),
        ("/admin/containers?page=999999", 1),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_crowd_makes_no_page_longer(crowded: Rig, path: str, rows: int) -> None:
    text = await shown(crowded, await cookie_of(crowded, BOSS), path)
    assert len(text.encode()) < PAGE_BYTES_MAX
    assert text.count('<li class="entry">') in (rows, rows + 1)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_links_lead_to_everybody_once(crowded: Rig) -> None:
    cookie, found, path = await cookie_of(crowded, BOSS), [], "/admin/people?q=github:000"
    while path:
        text = await shown(crowded, cookie, path)
        found += re.findall(r"<code>(github:\d+)</code>", text)
        after = re.search(r'rel="next" href="([^"]+)"', text)
        path = "" if after is None else after[1].replace("&amp;", "&")
    assert found == [f"github:{n:06}" for n in range(1000)]


async def test_others_have_their_turn_while_a_crowd_is_looked_at() -> None:
    turns_count = 0

    async def others() -> None:
        nonlocal turns_count
        while True:
            turns_count += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others())
    found = await sorted_by(range(CROWD), lambda n: None if n % 3 == 0 else n % 3)
    counting.cancel()
    assert turns_count == CROWD / LOOKED_AT_MAX
    assert found == {1: list(range(1, CROWD, 3)), 2: list(range(2, CROWD, 3))}
