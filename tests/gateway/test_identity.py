"""Who may reach what at the gateway's origin: App keys, users, and every way to pretend."""

import asyncio

import aiohttp
import pytest

from state.kinds.demand import Demand
from state.kinds.template import ContainerTemplate, Route
from state.kinds.user_container import UserContainer
from state.store.port import Tx
from tests.gateway.conftest import ALICE_HOME, Town
from tests.gateway.rig import bearer, until_true


async def test_two_users_reach_their_own_containers_at_once(town: Town) -> None:
    users = ["alice", "bob"] * 50
    seen = await asyncio.gather(*(town.rig.mcp(town.key, user) for user in users))
    assert [answer["container"] for answer in seen] == users


async def test_a_path_below_mcp_and_beside_it_is_covered_and_passes_unchanged(town: Town) -> None:
    for path in ("/mcp", "/mcp/", "/mcp/x?q=%2F..", "/mcp-maps"):
        seen = await town.rig.mcp(town.key, "alice", path)
        assert seen["path"] + ("?" + seen["query"] if seen["query"] else "") == path


@pytest.mark.parametrize("named", ["app%3Ashop.alice", "app:shop.alice", "alice"])
async def test_a_user_may_be_named_in_the_path_in_full_or_by_the_containers_name(
    town: Town, named: str
) -> None:
    async with town.rig.request(
        "POST", f"/u/{named}/mcp?a=b", headers=bearer(town.key), data=b"{}"
    ) as answer:
        seen = await answer.json()
    assert (seen["container"], seen["path"], seen["query"]) == ("alice", "/mcp", "a=b")


@pytest.mark.parametrize("path", ["/u/alice", "/u/app:shop.alice", "/u/"])
@pytest.mark.parametrize("has_key", [True, False])
async def test_a_user_without_a_path_is_404_even_where_mcp_is_spoken_at_the_root(
    town: Town, path: str, has_key: bool
) -> None:
    def speak_at_the_root(tx: Tx) -> None:
        template = tx.get(ContainerTemplate, "demo")
        assert template is not None
        routes = (Route(path="/", match="subtree", protocol="mcp"),)
        tx.update_spec(template.replaced(spec=template.spec.model_copy(update={"routes": routes})))

    await town.rig.write(speak_at_the_root)
    await town.rig.applied()
    assert (await town.rig.mcp(town.key, "alice", "/u/alice/"))["path"] == "/"
    headers = bearer(town.key) if has_key else {}
    async with town.rig.request("POST", path, headers=headers, data=b"{}") as answer:
        assert answer.status == 404
    assert len(town.alice.requests) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="n67_no_token_is_401"),
        pytest.param({"Authorization": "Bearer nonsense"}, 401, id="n45_garbage_is_401"),
        pytest.param({"Authorization": "Basic YWxpY2U6eA=="}, 401, id="n45_another_scheme_is_401"),
        pytest.param({"Authorization": "Bearer"}, 401, id="n45_an_empty_token_is_401"),
        pytest.param({"Authorization": "Bearer a b"}, 401, id="n45_two_words_are_401"),
        pytest.param({"Authorization": "Bearer \xff"}, 401, id="n45_bytes_are_401"),
        pytest.param({"Authorization": "Bearer " + "x" * 9999}, 401, id="n45_a_huge_token_is_401"),
        pytest.param(
            {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."},
            401,
            id="n46_an_unsigned_token_is_401",
        ),
        pytest.param(
            {"Authorization": "Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a"}, 401, id="n51_upstream"
        ),
        pytest.param(
            {"Cookie": "mcpgw=secret; __Host-mcpgw=secret"},
            401,
            id="n67_a_cookie_on_mcp_is_401",
            marks=pytest.mark.negative(67),
        ),
        pytest.param({"X-App-User": "alice"}, 401, id="a_user_without_a_key_is_401"),
    ],
)
async def test_nobody_without_a_good_key_gets_in(town: Town, headers: dict[str, str], status: int) -> None:
    raw = "".join(f"{name}: {value}\r\n" for name, value in {"X-App-User": "alice", **headers}.items())
    answer = await town.rig.raw(
        f"POST /mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\ncontent-length: 0\r\n"
        f"connection: close\r\n{raw}\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    challenge = answer.lower().split(b"www-authenticate: ")[1].split(b"\r\n")[0]
    assert challenge.startswith(b"bearer ")
    is_bearer = headers.get("Authorization", "").startswith("Bearer ")
    assert (b"error=" in challenge) is (
        is_bearer and " " not in headers["Authorization"][7:] and "\xff" not in raw and len(raw) < 999
    )
    assert not town.alice.requests


async def test_a_token_that_was_changed_by_one_character_is_401(town: Town) -> None:
    wrong = town.key[:-1] + ("A" if town.key[-1] != "A" else "B")
    async with town.rig.request("POST", "/mcp", headers=bearer(wrong, "alice")) as answer:
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert wrong not in await answer.text()


@pytest.mark.negative(52)
async def test_n52_a_token_in_the_query_is_refused(town: Town) -> None:
    for query in (f"access_token={town.key}", f"token={town.key}", f"authorization=Bearer%20{town.key}"):
        async with town.rig.request("POST", f"/mcp?{query}", headers={"X-App-User": "alice"}) as answer:
            assert answer.status == 401
    assert not town.alice.requests


@pytest.mark.negative(52)
@pytest.mark.parametrize("name", ["access_token", "access%5Ftoken", "x=1&access_token"])
@pytest.mark.parametrize("header", ["the_key", "mcpgw_pat_x", "Basic eA=="])
async def test_n52_a_token_in_the_query_beside_the_header_is_400(town: Town, name: str, header: str) -> None:
    """Source: RFC 6750 section 2: one method in each request."""
    value = header if " " in header else f"Bearer {town.key if header == 'the_key' else header}"
    for token in (town.key, "", "other"):
        async with town.rig.request(
            "POST", f"/mcp?{name}={token}", headers={"Authorization": value, "X-App-User": "alice"}
        ) as answer:
            assert answer.status == 400
            assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]
            assert town.key not in await answer.text()
    assert not town.alice.requests


async def test_a_parameter_that_is_called_almost_so_is_the_containers(town: Town) -> None:
    for query in ("access_tokens=1", "x=access_token", "my_access_token=1", "q=100%25"):
        assert (await town.rig.mcp(town.key, "alice", f"/mcp?{query}"))["query"] == query


@pytest.mark.negative(53)
async def test_n53_two_authorization_headers_are_401(town: Town) -> None:
    for other in (f"Bearer {town.key}", "Bearer other", "Basic eA=="):
        answer = await town.rig.raw(
            f"POST /mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\nx-app-user: alice\r\n"
            f"authorization: Bearer {town.key}\r\nAUTHORIZATION: {other}\r\ncontent-length: 0\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 401 ")
    assert not town.alice.requests


@pytest.mark.parametrize(
    "user", ["", "-alice", "a/b", "a b", "al\u00efce", "x" * 97, "alice,bob", "../alice", "a:b"], ids=repr
)
async def test_a_malformed_user_is_400(town: Town, user: str) -> None:
    async with town.rig.request("POST", "/mcp", headers=bearer(town.key, user)) as answer:
        assert answer.status == 400
        assert (await answer.json())["reason"] == "MalformedUser"


async def test_a_key_without_a_user_is_400_and_two_users_are_400(town: Town) -> None:
    async with town.rig.request("POST", "/mcp", headers=bearer(town.key)) as answer:
        assert answer.status == 400
        assert "X-App-User" in (await answer.json())["detail"]
    answer = await town.rig.raw(
        f"POST /mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\nauthorization: Bearer {town.key}\r\n"
        "x-app-user: alice\r\nx-app-user: bob\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "named", ["bob", "app:other.alice", "app:shop", "app:shop.", "github:1", "al", "alice2"]
)
async def test_an_app_may_name_only_its_own_users(town: Town, named: str) -> None:
    await town.rig.add_app("other")
    key = await town.rig.add_app("shop-2")
    await town.rig.applied()
    async with town.rig.request("POST", f"/u/{named}/mcp", headers=bearer(key)) as answer:
        assert answer.status == 404
    assert not town.alice.requests
    assert not town.bob.requests


async def test_a_path_and_a_header_that_name_different_users_are_403(town: Town) -> None:
    async with town.rig.request("POST", "/u/alice/mcp", headers=bearer(town.key, "bob")) as answer:
        assert answer.status == 403


@pytest.mark.negative(68)
async def test_n68_a_name_inside_another_name_reaches_its_own_container_only(town: Town) -> None:
    async with town.rig.request("POST", "/u/bo/mcp", headers=bearer(town.key)) as answer:
        assert answer.status == 404
    waiting = asyncio.create_task(_status_of(town, "lice"))
    await until_true(lambda: _names(town, "app:shop.lice"))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not town.alice.requests


async def test_an_unauthorized_request_creates_nothing_and_wakes_nothing(town: Town) -> None:
    before = await town.rig.read(lambda tx: len(tx.list(UserContainer)))
    for path, headers in (
        ("/mcp", bearer("wrong", "carol")),
        ("/mcp", {"X-App-User": "carol"}),
        ("/u/app:shop.carol/mcp", {}),
        ("/nothing", bearer(town.key, "carol")),
        ("/live", bearer(town.key, "carol")),
    ):
        async with town.rig.request("POST", path, headers=headers) as answer:
            assert answer.status in (401, 404), path
    await town.rig.flush_demand()
    assert await town.rig.read(lambda tx: len(tx.list(UserContainer))) == before
    assert not await town.rig.read(lambda tx: tx.list(Demand))


async def test_a_key_taken_back_is_refused_at_the_next_request(town: Town) -> None:
    from state.kinds.app import App

    await town.rig.mcp(town.key, "alice")
    await town.rig.write(lambda tx: tx.delete(tx.get(App, "shop")))
    await town.rig.applied()
    async with town.rig.request("POST", "/mcp", headers=bearer(town.key, "alice")) as answer:
        assert answer.status == 401


@pytest.mark.negative(57)
async def test_n57_a_foreign_origin_is_403_and_our_own_is_not(town: Town) -> None:
    for origin in (
        "http://evil.example",
        "null",
        f"http://{ALICE_HOME}.localhost:{town.rig.port}",
        "http://localhost",
    ):
        headers = bearer(town.key, "alice", Origin=origin)
        async with town.rig.request("POST", "/mcp", headers=headers) as answer:
            assert answer.status == 403, origin
        async with town.rig.request("GET", "/mcp", headers=headers) as answer:
            assert answer.status == 403, origin
    assert not town.alice.requests
    seen = await town.rig.mcp(town.key, "alice", host=f"127.0.0.1:{town.rig.port}")
    assert seen["container"] == "alice"
    headers = bearer(town.key, "alice", Origin=town.rig.origin)
    async with town.rig.request("POST", "/mcp", headers=headers, data=b"{}") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost", "localhost:1", f"{ALICE_HOME}.evil.example"])
@pytest.mark.negative(58)
async def test_n58_a_foreign_host_is_421(town: Town, host: str) -> None:
    async with town.rig.request("POST", "/mcp", host=host, headers=bearer(town.key, "alice")) as answer:
        assert answer.status == 421
    assert not town.alice.requests


@pytest.mark.negative(59)
async def test_n59_a_host_that_smuggles_a_path_is_421(town: Town) -> None:
    for host in (
        f"localhost:{town.rig.port}/mcp",
        f"x@localhost:{town.rig.port}",
        f"localhost:{town.rig.port}#",
    ):
        answer = await town.rig.raw(
            f"GET /live HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {town.key}\r\n"
            "x-app-user: alice\r\n\r\n"
        )
        assert answer.split(b" ")[1] in (b"421", b"400"), answer
    assert not town.alice.requests


async def _told(town: Town, **headers: str) -> tuple[dict[str, str], list[str]]:
    """What alice's container is told of a call with these headers, and the cookies of its answer."""
    call = town.rig.request("POST", "/mcp", headers=bearer(town.key, "alice", **headers), data=b"{}")
    async with call as answer:
        seen = await answer.json()
        told = dict(seen["headers"])
        assert len(seen["headers"]) == len(told), "nothing stands twice"
        return told, answer.headers.getall("Set-Cookie")


@pytest.mark.negative(60)
async def test_n60_the_container_is_told_nothing_that_a_client_says_of_itself(town: Town) -> None:
    told, _ = await _told(
        town,
        **{
            "X-Forwarded-For": "6.6.6.6",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "gopher",
            "Forwarded": "for=6.6.6.6",
            "X-Real-IP": "6.6.6.6",
            "X-Auth-User": "root",
            "X_App_User": "root",
            "Mcp-Session-Id": "abc",
            "Mcp-Param-Anything": "kept",
        },
    )
    assert not [name for name in told if "user" in name and ("app" in name or "auth" in name)]
    assert told["x-forwarded-for"] == "127.0.0.1"
    assert told["x-forwarded-host"] == told["host"] == f"localhost:{town.rig.port}"
    assert told["x-forwarded-proto"] == "http"
    assert "6.6.6.6" not in str(told)
    assert (told["mcp-session-id"], told["mcp-param-anything"]) == ("abc", "kept")


@pytest.mark.negative(61)
async def test_n61_the_container_sees_no_authorization(town: Town) -> None:
    told, _ = await _told(town, **{"Proxy-Authorization": "Basic eDp5"})
    assert not {"authorization", "proxy-authorization"} & told.keys()
    assert town.key not in str(told)


@pytest.mark.negative(62)
async def test_n62_the_container_sees_and_sets_no_cookie_of_ours(town: Town) -> None:
    told, set_by_it = await _told(town, Cookie="mcpgw=secret; theirs=1; __Host-mcpgw=secret; mcpgw-home=x")
    assert told["cookie"] == "theirs=1"
    assert set_by_it == ["own=1; Path=/"]


@pytest.mark.parametrize(
    "path",
    ["/mcp/../live", "/dpage/..%2fmcp", "/%2e%2e/mcp", "//mcp", "/mcp%2f..%2flive", "/mcp\\..\\x", "/mcp;x"],
)
@pytest.mark.negative(63)
async def test_n63_no_spelling_reaches_another_rule(town: Town, path: str) -> None:
    answer = await town.rig.raw(
        f"POST {path} HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\nauthorization: Bearer {town.key}\r\n"
        "x-app-user: alice\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert not town.alice.requests


@pytest.mark.negative(64)
async def test_n64_an_absolute_form_reaches_the_own_container_only(town: Town) -> None:
    answer = await town.rig.raw(
        f"POST http://localhost:{town.rig.port}/mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\n"
        f"authorization: Bearer {town.key}\r\nx-app-user: bob\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert town.bob.requests[0]["path"] == "/mcp"
    answer = await town.rig.raw(
        f"POST http://evil.example/mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\n"
        f"authorization: Bearer {town.key}\r\nx-app-user: alice\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.split(b" ")[1] in (b"400", b"421")
    assert not town.alice.requests


async def test_page_routes_are_not_on_the_gateways_origin(town: Town) -> None:
    for path in ("/live", "/dpage/x", "/static/x", "/nothing"):
        async with town.rig.request("GET", path, headers=bearer(town.key, "alice")) as answer:
            assert answer.status == 404
            assert town.rig.origin in (await answer.json())["detail"]
    assert not town.alice.requests


async def test_a_person_gets_a_page_and_a_program_gets_problem_details(town: Town) -> None:
    async with town.rig.request("GET", "/nothing", headers={"Accept": "text/html"}) as answer:
        assert answer.content_type == "text/html"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    async with town.rig.request("GET", "/nothing") as answer:
        assert answer.content_type == "application/problem+json"


async def test_health_is_plain_text_on_any_host_and_nothing_else_is(town: Town) -> None:
    for host in ("", "10.0.0.1"):
        async with town.rig.request("GET", "/health", host=host) as answer:
            assert (answer.status, answer.content_type) == (200, "text/plain")
            assert (await answer.text()).startswith("OK")
    async with town.rig.request("GET", "/", host="10.0.0.1") as answer:
        assert answer.status == 421


async def test_a_websocket_needs_a_good_key_and_our_origin_on_mcp_routes(town: Town) -> None:
    url = f"ws://127.0.0.1:{town.rig.port}/mcp/ws"
    host = {"Host": f"localhost:{town.rig.port}"}
    async with town.rig.client.ws_connect(url, headers={**host, **bearer(town.key, "alice")}) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "alice: hello"
    for headers, status in (
        ({}, 401),
        (bearer("wrong", "alice"), 401),
        (bearer(town.key, "alice", Origin="http://evil.example"), 403),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await town.rig.client.ws_connect(url, headers={**host, **headers})
        assert refused.value.status == status


async def _status_of(town: Town, user: str) -> int:
    async with town.rig.request("POST", "/mcp", headers=bearer(town.key, user)) as answer:
        return int(answer.status)


async def _names(town: Town, user: str) -> bool:
    users = await town.rig.read(lambda tx: [obj.spec.user for obj in tx.list(UserContainer)])
    return user in users
