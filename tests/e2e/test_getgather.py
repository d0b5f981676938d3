"""The manifest of mcp-getgather, on a container that has its surface: every route, for whom it is meant.

The real image cannot be had in tests; `demo.getgather` has its paths, links and files.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from demo.getgather import LINK_ID, PROXIES_FILE, RFB_GREETING, SITE
from gateway.auth.local import local_user
from mcpgw.bootstrap.paths import PROJECT_DIR
from mcpgw.testing.calls import Answer, call_tool
from mcpgw.testing.house import House, until
from mcpgw.testing.waiting import seen
from state.kinds.app import END_AFTER_S_MIN, app_user, key_sha256, mint_key
from state.kinds.incarnation import IncarnationNames
from state.kinds.user_container import UserContainer
from tests.e2e.conftest import opened
from tests.e2e.hand import Hand
from tests.e2e.person import Person, person_at, sign_in_link
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

SERVED_S_MAX = 120.0
ENDS_AFTER = f"{END_AFTER_S_MIN:g}s"
GONE_S_MAX = 180.0
KEY, ONCE_KEY = mint_key(), mint_key()
_APPS = f"""apiVersion: mcp-gateway/v1
kind: App
metadata: {{name: gather}}
spec: {{keySha256: {key_sha256(KEY)}, template: getgather}}
---
apiVersion: mcp-gateway/v1
kind: App
metadata: {{name: once}}
spec: {{keySha256: {key_sha256(ONCE_KEY)}, template: getgather, persistent: false, endAfter: {ENDS_AFTER}}}
"""


def manifest() -> str:
    """The one that is shipped, with the files of its documentation, for a workload that says it is one."""
    text = (PROJECT_DIR / "manifests" / "getgather.yaml").read_text()
    [example] = re.findall(r"^```yaml\n(files:.*?)^```", documentation(), re.DOTALL | re.MULTILINE)
    files = "".join(f"  {line}\n" for line in example.splitlines())
    marked = text.replace("env: {", "env: {DEMO_GETGATHER: '1', ")
    assert marked != text
    return marked.rstrip() + "\n" + files


def documentation() -> str:
    return (PROJECT_DIR / "docs" / "getgather.md").read_text()


@pytest.fixture(scope="module")
def gathering(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"DEFAULT_TEMPLATE": "getgather"}
    with opened(real_engine, tmp_path_factory.mktemp("getgather"), settings, begin="nothing") as house:
        house.write_manifest("getgather.yaml", manifest())
        house.write_manifest("apps.yaml", _APPS)
        house.start()
        yield house


def headers(user_id: str, *, key: str = KEY, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {key}", "X-App-User": user_id, **named}


def call(house: House, tool: str, who: dict[str, str], path: str = "/mcp") -> Answer:
    """Until somebody answers: at first nobody may know the App yet."""
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers.append(call_tool(f"{house.origin}{path}", who, tool, {}))
        return answers[-1].status not in (401, 404, 503)

    until(is_answered, f"{tool} is answered", SERVED_S_MAX)
    return answers[-1]


def owner(house: House, user: str) -> UserContainer:
    users = house.read(lambda tx: tx.list(UserContainer))
    return next(one for one in users if one.spec.user == user)


def file_of(house: House, user: str) -> Path:
    return house.homes / owner(house, user).status.home / "data" / PROXIES_FILE


def result(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.result


@pytest.mark.parametrize("path", ["/mcp", "/mcp-media", "/mcp-amazon"])
def test_every_bundle_is_there_and_gives_links_that_name_the_home(gathering: House, path: str) -> None:
    found = result(call(gathering, "sign_in", headers("ann"), path))
    home = owner(gathering, app_user("gather", "ann") or "").status.home
    assert found["signin_id"] == f"{home}-{LINK_ID}"
    assert found["url"] == f"{gathering.origin}/dpage/{found['signin_id']}"
    assert found["path"] == path


async def test_a_link_that_a_tool_gave_leads_to_its_page_and_to_nothing_else(gathering: House) -> None:
    found = result(await asyncio.to_thread(call, gathering, "sign_in", headers("ann")))
    home = found["signin_id"].partition("-")[0]
    async with person_at(gathering.origin) as stranger:
        page = await stranger.visit(found["url"])
        at_home = gathering.origin.replace("localhost", f"{home}.localhost")
        assert (page.status, page.url) == (200, f"{at_home}/dpage/{found['signin_id']}")
        async with stranger.http.post(page.url, headers={"Origin": at_home}) as answer:
            assert "Finished!" in await answer.text()
        async with stranger.http.get(f"{at_home}/__static/assets/logo.png") as answer:
            assert await answer.text() == "asset"
        for path in ("/", "/live", "/live/core/rfb.js", "/api/docs-mcp", f"/dpage/{'a' * 26}-{LINK_ID}"):
            async with stranger.http.get(f"{at_home}{path}") as answer:
                assert answer.status == 401, path
        for path in ("/health", "/extended-health", "/docs", "/api/health"):
            async with stranger.http.get(f"{at_home}{path}") as answer:
                assert answer.status == 404, path
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with stranger.websocket(at_home, "/websockify"):
                pass
        assert refused.value.status == 401


async def test_a_link_of_an_older_image_leads_through_its_whole_sign_in(gathering: House) -> None:
    found = result(await asyncio.to_thread(call, gathering, "sign_in", headers("ann")))
    link_id = found["signin_id"]
    at_home = home_origin(gathering, link_id.partition("-")[0])
    async with person_at(gathering.origin) as stranger:
        page = await stranger.visit(found["older_url"])
        assert (page.status, page.url) == (200, f"{at_home}/link/{link_id}")
        assert (await stranger.visit(f"{at_home}/__assets/a.js")).status == 200
        async with stranger.http.get(f"{at_home}/api/link/status/{link_id}") as answer:
            assert (await answer.json())["brand_id"] == SITE
        for path in (f"/api/auth/v1/{SITE}/{link_id}", f"/api/auth/{SITE}/{link_id}"):
            assert await posted(stranger, at_home, path) == 200, path
        url, own = f"{at_home}/api/link/status/{link_id}", {"Origin": at_home}
        async with stranger.http.patch(url, json={"status": "completed"}, headers=own) as answer:
            assert (await answer.json())["status"] == "completed"


async def test_an_older_images_link_opens_nothing_but_what_ends_with_it_at_its_own_home(
    gathering: House,
) -> None:
    anns, bobs = [
        result(await asyncio.to_thread(call, gathering, "sign_in", headers(user)))["signin_id"]
        for user in ("ann", "bob")
    ]
    ann = home_origin(gathering, anns.partition("-")[0])
    bob = home_origin(gathering, bobs.partition("-")[0])
    async with person_at(gathering.origin) as stranger:
        for origin, path, status in (
            (ann, f"/api/auth/{SITE}/{bobs}", 401),
            (ann, f"/api/auth/{anns}/{bobs}", 401),
            (bob, f"/api/auth/v1/{SITE}/{anns}", 401),
            (ann, f"/api/auth/{anns}/{SITE}", 401),
            (ann, f"/api/auth/v1/{SITE}/{anns}/", 401),
            (ann, f"/api/auth/v1/{SITE}", 401),
            (ann, "/api/link/create", 401),
            (ann, f"/api/link/create/{anns}", 401),
            (ann, f"/api/auth/v1/{SITE}%2f{anns}", 400),
            (gathering.origin, f"/api/auth/v1/{SITE}/{anns}", 404),
        ):
            assert await posted(stranger, origin, path) == status, (origin, path)


def home_origin(house: House, home: str) -> str:
    return house.origin.replace("localhost", f"{home}.localhost")


async def posted(person: Person, origin: str, path: str) -> int:
    """The status of what a page of ``origin`` sends there."""
    url, own = URL(f"{origin}{path}", encoded=True), {"Origin": origin}
    async with person.http.post(url, json={"state": None}, headers=own) as answer:
        return answer.status


async def test_the_owner_sees_the_desktop(gathering: House) -> None:
    async with person_at(gathering.origin) as person:
        await enter(person, gathering)
        seat = await asyncio.to_thread(owner, gathering, local_user())
        at_home = gathering.origin.replace("localhost", f"{seat.status.home}.localhost")
        page = await seen(
            lambda: person.visit(f"{at_home}/live"), lambda page: page.status == 200, "it is ready"
        )
        assert (page.status, page.url) == (200, f"{at_home}/live/")
        assert "noVNC" in page.text
        script = await person.visit(f"{at_home}/live/core/rfb.js")
        assert script.headers["Content-Type"].startswith("text/javascript")
        async with person.websocket(at_home, "/websockify", protocols=["binary"]) as desktop:
            assert await desktop.receive_bytes() == RFB_GREETING
            frame = bytes(range(256)) * 500
            await desktop.send_bytes(frame)
            assert await desktop.receive_bytes() == frame
        assert (await person.visit(f"{at_home}/api/docs-mcp")).status == 200


async def enter(person: Person, house: House) -> None:
    """Sign in by the printed link, and open the container's front page."""
    await person.visit(await sign_in_link(house))
    account = await seen(person.account, lambda page: "/-/open" in page.text, "there is a button")
    await person.submit(account, "/-/open", path="/")


def test_a_proxy_that_a_call_asks_for_is_in_the_file_that_the_container_reads(
    gathering: House, hand: Hand
) -> None:
    """From the first call on, with the container as it is, and after it is made anew."""
    house, user = gathering, app_user("gather", "bob") or ""
    where = json.dumps({"country": "US", "city": "New York", "timezone": "America/New_York"})
    said = headers("bob", x_proxy_type="proxy-1", x_location=where)
    first = json.loads(result(call(house, "proxies", said))["result"])
    session = re.fullmatch(
        r"http://c-([0-9a-f]{16})-cc-us-city-new_york:secret@proxy.example.com:7777",
        first["proxies"]["proxy-0"]["url"],
    )
    assert session is not None, first
    home = owner(house, user).status.home
    assert session[1] not in home, "the Home's name opens its links, and is nobody else's to know"
    before = owner(house, user).status.incarnation

    moved = headers("bob", x_proxy_type="proxy-1", x_location='{"country": "de"}')
    second = json.loads(result(call(house, "proxies", moved))["result"])
    assert second["proxies"]["proxy-0"]["url"].startswith(f"http://c-{session[1]}-cc-de:secret@")
    silent = json.loads(result(call(house, "proxies", headers("bob")))["result"])
    assert silent == second, "who says nothing changes nothing"
    assert owner(house, user).status.incarnation == before, "nothing was restarted"
    assert file_of(house, user).stat().st_uid == 1000

    reached = dict(result(call(house, "whoami", moved))["headers"])
    assert reached["x-location"] == '{"country": "de"}'
    assert "x-proxy-type" not in reached

    hand.kill(container_of(house, user))
    again = json.loads(result(call(house, "proxies", headers("bob")))["result"])
    assert again == second
    refused = call(house, "proxies", headers("bob", x_proxy_type="proxy-1; rm -rf"))
    assert (refused.status, refused.message["reason"]) == (400, "HeaderUnfit")


def container_of(house: House, user: str) -> str:
    return IncarnationNames.container(house.project, owner(house, user).status.home)


def test_a_link_in_the_files_place_leads_nowhere(gathering: House, tmp_path: Path) -> None:
    """The container owns the directory, and may put anything there."""
    house, user = gathering, app_user("gather", "eve") or ""
    result(call(house, "proxies", headers("eve", x_proxy_type="proxy-0")))
    file, outside = file_of(house, user), tmp_path / "outside"
    outside.write_text("untouched")
    file.unlink()
    file.symlink_to(outside)
    said = result(call(house, "proxies", headers("eve", x_proxy_type="proxy-1")))["result"]
    assert "acme" in said
    assert outside.read_text() == "untouched"
    assert not file.is_symlink()


def test_a_one_time_users_home_is_purged_after_the_last_use(gathering: House) -> None:
    house, user = gathering, app_user("once", "visitor") or ""
    who = headers("visitor", key=ONCE_KEY, x_proxy_type="proxy-0")
    assert '"none"' in result(call(house, "proxies", who))["result"]
    seat = house.homes / owner(house, user).status.home
    assert (seat / "data" / PROXIES_FILE).exists()
    until(lambda: not seat.exists(), "the visitor's data is gone", GONE_S_MAX)
    assert not any(one.spec.user == user for one in house.read(lambda tx: tx.list(UserContainer)))
