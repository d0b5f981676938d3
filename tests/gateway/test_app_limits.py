"""An App whose manifest limits how often it may call, and how many users it may have."""

from typing import Any

import aiohttp

from state.kinds.app import App, AppLimits
from state.kinds.user_container import UserContainer
from state.store.port import Tx
from tests.gateway.conftest import Town
from tests.gateway.rig import bearer


async def limit(town: Town, **limits: Any) -> None:
    def write(tx: Tx) -> None:
        app = tx.get(App, "shop")
        assert app is not None
        tx.update_spec(app.replaced(spec=app.spec.model_copy(update={"limits": AppLimits(**limits)})))

    await town.rig.write(write)
    await town.rig.applied()


async def call(town: Town, user: str) -> tuple[int, dict[str, str], Any]:
    async with town.rig.request(
        "POST", "/mcp", headers=bearer(town.key, user), data=b"{}", timeout=None
    ) as answer:
        return answer.status, dict(answer.headers), await answer.json()


async def test_an_app_that_calls_too_often_is_told_when_to_come_again(town: Town) -> None:
    await limit(town, requests_per_minute=6)
    workers_count = len(town.rig.workers)
    told = [await call(town, "alice") for _ in range(4 * workers_count + 4)]
    refused = [(headers, body) for status, headers, body in told if status == 429]
    assert len(refused) >= len(told) - 2 * workers_count
    headers, body = refused[-1]
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert (body["reason"], "limits.requestsPerMinute" in body["detail"]) == ("TooManyRequests", True)
    assert len(town.alice.requests) == len(told) - len(refused)


async def test_a_limit_that_is_lifted_holds_no_longer(town: Town) -> None:
    await limit(town, requests_per_minute=1)
    assert 429 in [(await call(town, "alice"))[0] for _ in range(8)]
    await limit(town)
    assert [(await call(town, "alice"))[0] for _ in range(8)] == [200] * 8


async def test_calls_over_one_connection_are_counted_too(town: Town) -> None:
    """They pass without any of it being looked up again."""
    await limit(town, requests_per_minute=6)
    one = (
        f"POST /mcp HTTP/1.1\r\nhost: localhost:{town.rig.port}\r\nauthorization: Bearer {town.key}\r\n"
        "x-app-user: alice\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    )
    answer = await town.rig.raw(f"{one}\r\n{{}}" * 9 + f"{one}connection: close\r\n\r\n{{}}")
    answers = answer.decode("latin-1")
    assert answers.count("HTTP/1.1 200") + answers.count("HTTP/1.1 429") >= 2
    assert len(town.alice.requests) <= 2


async def test_the_api_counts_as_calls_do(town: Town) -> None:
    await limit(town, requests_per_minute=1)
    asked = []
    for _ in range(8):
        async with town.rig.request(
            "GET", "/-/api/v1/containers", headers=bearer(town.key, "alice")
        ) as answer:
            asked.append(answer.status)
    assert set(asked) == {200, 429}


async def test_an_app_has_no_more_users_than_it_may_have(town: Town) -> None:
    await limit(town, users=2)
    status, _, body = await call(town, "carol")
    assert (status, body["reason"]) == (403, "TooManyUsers")
    assert "limits.users" in body["detail"]
    assert (await call(town, "alice"))[0] == 200, "those it has go on"
    assert len(await town.rig.read(lambda tx: tx.list(UserContainer))) == 2


async def test_a_call_that_has_to_be_dialled_first_is_counted_once(town: Town) -> None:
    """It is tried without waiting, and comes again. Each time the last connection is gone."""
    await limit(town, requests_per_minute=60)
    allowed_count = 10  # at once, by the one worker that has this connection
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as client:
        headers = {"Host": f"localhost:{town.rig.port}", **bearer(town.key, "alice")}
        statuses = []
        for _ in range(allowed_count):
            for worker in town.rig.workers:
                for pool in worker.proxy._pools._pools.values():
                    pool.close_idle()
            async with client.post(town.rig.url("/mcp"), headers=headers, data=b"{}") as answer:
                statuses.append(answer.status)
    assert statuses == [200] * allowed_count
