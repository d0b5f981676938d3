"""What callers say in the headers that files are made of: kept once, waited for, and no others' to say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway import user_headers
from gateway.proxy.headers import _IDENTITY_PREFIXES, _REQUEST_DROPPED
from state.kinds.files import HEADERS_REFUSED, File
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.kinds.user_container import FilesStatus, UserContainer, derived_name
from state.kinds.user_headers import UserHeaders
from state.store.port import Tx
from tests.gateway.conftest import ALICE_HOME, BOB_HOME, Town, one_worker
from tests.gateway.rig import ROUTES, Rig, bearer, container, until, until_true

FILES = (
    File.model_validate(
        {
            "path": "proxies.yaml",
            "headers": {
                "x-proxy-type": {"pattern": "proxy-[0-9]"},
                "x-location": {"members": {"country": "[a-z]{2}"}, "fold": True, "forward": True},
            },
            "contents": [{"content": {"a": "{x-proxy-type}"}}],
        }
    ),
)
pytestmark = pytest.mark.usefixtures("writer")


@pytest.fixture
async def town(rig: Rig) -> AsyncIterator[Town]:
    """As everywhere, with files in the template."""
    spec = ContainerTemplateSpec(
        image="demo", port=8000, routes=ROUTES, data={"mountPath": "/data"}, files=FILES
    )
    template = ContainerTemplate(metadata=Metadata(name="demo"), spec=spec)
    await rig.write(lambda tx: tx.create(template))
    key = await rig.add_app("shop")
    async with container("alice") as alice, container("bob") as bob:
        for name, home, stand_in in (("alice", ALICE_HOME, alice), ("bob", BOB_HOME, bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.give_home(name, home)
            await rig.route(name, stand_in, home)
        await rig.applied()
        yield Town(rig, key, alice, bob)


class Writer:
    """The reconciler, as far as it writes what was said; it may take its time."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.written: list[dict[str, str]] = []

    async def run(self) -> None:
        async for batch in self._rig.store.watch((UserHeaders,)):
            for one in batch.objects:
                await self.may_write.wait()
                assert isinstance(one, UserHeaders)
                status = FilesStatus(hash="h", headers_generation=one.metadata.generation)
                self.written.append(dict(one.spec.values))
                with suppress(AssertionError):  # its owner is gone already
                    await self._rig.status(one.name, files=status)


@pytest.fixture
async def writer(rig: Rig) -> AsyncIterator[Writer]:
    made = Writer(rig)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def kept(rig: Rig, name: str = "alice") -> dict[str, str] | None:
    found = await rig.read(lambda tx: tx.get(UserHeaders, name))
    return dict(found.spec.values) if found is not None else None


async def post(
    town: Town, user: str = "alice", path: str = "/mcp", **said: str
) -> tuple[int, dict[str, Any]]:
    headers = {**bearer(town.key, user), **{name.replace("_", "-"): value for name, value in said.items()}}
    async with town.rig.request("POST", path, headers=headers, data=b"{}") as answer:
        return answer.status, await answer.json()


def reached(seen: dict[str, Any], name: str) -> list[str]:
    return [value for header, value in seen["headers"] if header == name]


async def test_what_a_call_says_is_kept_before_the_container_hears_of_it(town: Town, writer: Writer) -> None:
    writer.may_write.clear()
    calling = asyncio.create_task(post(town, x_proxy_type="proxy-1", x_location='{"country": "US"}'))
    await until_true(lambda: kept(town.rig), "it is on record")
    await asyncio.sleep(0.1)
    assert not town.alice.requests
    writer.may_write.set()
    status, seen = await calling
    assert status == 200
    assert await kept(town.rig) == {"x-proxy-type": "proxy-1", "x-location.country": "us"}
    assert reached(seen, "x-location") == ['{"country": "US"}']
    assert reached(seen, "x-proxy-type") == []


async def test_the_same_again_is_neither_written_nor_waited_for(town: Town, writer: Writer) -> None:
    await post(town, x_proxy_type="proxy-1")
    await town.rig.applied()
    revision = await town.rig.store.revision()
    writer.may_write.clear()
    for _ in range(5):
        assert (await post(town, x_proxy_type="proxy-1"))[0] == 200
    assert await town.rig.store.revision() == revision
    assert (await post(town))[0] == 200, "who says nothing changes nothing"
    assert await kept(town.rig) == {"x-proxy-type": "proxy-1"}


async def test_on_one_connection_each_call_counts(town: Town, writer: Writer) -> None:
    """What was concluded of a head before is not what another call of the same user has changed since."""

    def request(kind: str) -> bytes:
        lines = (
            "POST /mcp HTTP/1.1",
            f"Host: localhost:{town.rig.port}",
            f"Authorization: Bearer {town.key}",
            "X-App-User: alice",
            f"X-Proxy-Type: {kind}",
            "Content-Length: 2",
        )
        return "\r\n".join((*lines, "", "{}")).encode()

    async with connected(town.rig) as call:
        for kind in ("proxy-1", "proxy-1", "proxy-2", "proxy-2", "proxy-1"):
            assert b"200 OK" in await call(request(kind))
            assert await kept(town.rig) == {"x-proxy-type": kind}
        async with connected(town.rig) as other:
            assert b"200 OK" in await other(request("proxy-3"))
            await town.rig.applied()
        assert b"200 OK" in await call(request("proxy-1"))
        assert await kept(town.rig) == {"x-proxy-type": "proxy-1"}
    assert [one["x-proxy-type"][-1] for one in writer.written] == ["1", "2", "1", "3", "1"]


@asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)

    async def call(request: bytes) -> bytes:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head.lower()
        await reader.readuntil(b"\r\n0\r\n\r\n")
        return head

    try:
        yield call
    finally:
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        {"x_proxy_type": "proxy-11"},
        {"x_proxy_type": "proxy-1/../a"},
        {"x_location": "US"},
        {"x_location": '{"country": "usa"}'},
        {"x_proxy_type": "proxy-1", "x_location": '{"country": 1.5}'},
    ],
    ids=lambda said: " ".join(said.values()),
)
async def test_what_does_not_fit_is_refused_and_nothing_of_it_is_kept(
    town: Town, said: dict[str, str]
) -> None:
    status, problem = await post(town, **said)
    assert (status, problem["reason"]) == (400, "HeaderUnfit")
    assert await kept(town.rig) is None
    assert not town.alice.requests


async def test_a_header_that_stands_twice_says_nothing(town: Town) -> None:
    answer = await town.rig.raw(
        f"POST /mcp HTTP/1.1\r\nHost: localhost:{town.rig.port}\r\nAuthorization: Bearer {town.key}\r\n"
        "X-App-User: alice\r\nX-Proxy-Type: proxy-1\r\nX-Proxy-Type: proxy-2\r\nConnection: close\r\n"
        "Content-Length: 2\r\n\r\n{}"
    )
    assert answer.startswith(b"HTTP/1.1 400")
    assert await kept(town.rig) is None


async def test_who_is_not_let_in_says_nothing(town: Town) -> None:
    headers = {"Authorization": "Bearer nobody", "X-App-User": "alice", "X-Proxy-Type": "proxy-1"}
    async with town.rig.request("POST", "/mcp", headers=headers, data=b"{}") as answer:
        assert answer.status == 401
    async with town.rig.request("POST", "/nowhere", headers=headers, data=b"{}") as answer:
        assert answer.status == 404
    assert await kept(town.rig) is None


async def test_a_page_of_the_containers_own_says_nothing_and_learns_nothing(town: Town) -> None:
    """Its scripts act in its owner's name there."""
    host = f"{ALICE_HOME}.localhost:{town.rig.port}"
    headers = {"X-Proxy-Type": "proxy-1", "X-Location": "{}", "X_Proxy_Type": "proxy-2"}
    async with town.rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=host, headers=headers) as answer:
        seen = await answer.json()
    assert await kept(town.rig) is None
    assert reached(seen, "x-proxy-type") == reached(seen, "x_proxy_type") == []
    assert reached(seen, "x-location") == ["{}"]


async def test_users_say_it_for_themselves_alone(town: Town) -> None:
    await post(town, "alice", x_proxy_type="proxy-1")
    await post(town, "bob", path="/u/app:shop.bob/mcp", x_proxy_type="proxy-2")
    assert (await kept(town.rig), await kept(town.rig, "bob")) == (
        {"x-proxy-type": "proxy-1"},
        {"x-proxy-type": "proxy-2"},
    )


async def test_who_comes_for_the_first_time_has_it_on_record_with_their_container(town: Town) -> None:
    """In one transaction: nothing is begun of the one without the other."""
    calling = asyncio.create_task(post(town, "carol", x_proxy_type="proxy-1"))
    name = derived_name("app:shop.carol", "demo")
    await until_true(lambda: kept(town.rig, name), "it is on record")

    def both(tx: Tx) -> tuple[UserContainer | None, UserHeaders | None]:
        return tx.get(UserContainer, name), tx.get(UserHeaders, name)

    owner, headers = await town.rig.read(both)
    assert owner is not None and headers is not None
    assert headers.spec.user_container == owner.uid
    assert headers.metadata.created_at == owner.metadata.created_at, "a transaction has one time"
    await town.rig.route(name, town.bob, "c" * 26)
    assert (await calling)[0] == 200


async def test_what_the_reconciler_does_not_write_is_not_passed_over(
    town: Town, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_headers, "WRITTEN_S_MAX", 0.3)
    writer.may_write.clear()
    for _ in range(2):  # also where it says the same again
        status, problem = await post(town, x_proxy_type="proxy-1")
        assert (status, problem["reason"]) == (503, "FilesUnwritten")
    assert not town.alice.requests
    assert (await post(town))[0] == 200, "who says nothing is served as before"
    writer.may_write.set()
    await until(lambda: writer.written, "it is written")
    await town.rig.applied()
    assert (await post(town, x_proxy_type="proxy-1"))[0] == 200


@one_worker
async def test_nobody_changes_their_mind_for_ever(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_headers.time, "monotonic", lambda: 1_000_000.0)
    statuses = [
        (await post(town, x_proxy_type=f"proxy-{number % 2}"))[0]
        for number in range(user_headers.CHANGES.burst + 1)
    ]
    assert statuses == [200] * user_headers.CHANGES.burst + [429]
    assert (await post(town, "bob", x_proxy_type="proxy-1"))[0] == 200, "others are not held up"
    last = (user_headers.CHANGES.burst - 1) % 2
    assert (await post(town, x_proxy_type=f"proxy-{last}"))[0] == 200, "nor is who says the same"


async def test_a_template_without_files_passes_everything_on(rig: Rig) -> None:
    await rig.add_template()
    key = await rig.add_app("shop")
    async with container("alice") as alice:
        await rig.add_user("alice", "app:shop.alice")
        await rig.route("alice", alice, ALICE_HOME)
        await rig.applied()
        seen = await rig.mcp(key, "alice")
        assert reached(seen, "x-proxy-type") == []
        async with rig.request(
            "POST", "/mcp", headers=bearer(key, "alice", **{"X-Proxy-Type": "anything at all"}), data=b"{}"
        ) as answer:
            assert reached(await answer.json(), "x-proxy-type") == ["anything at all"]
        assert await kept(rig) is None


def test_no_header_can_be_declared_that_no_client_is_believed() -> None:
    dropped = {name.decode() for name in (*_REQUEST_DROPPED, *_IDENTITY_PREFIXES)}
    assert {name for name in dropped if name.startswith("x-")} <= set(HEADERS_REFUSED)
