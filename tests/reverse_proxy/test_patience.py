"""A tool that computes for five minutes without a byte, behind each reverse proxy."""

import asyncio
import contextlib
from pathlib import Path

from tests.reverse_proxy.rig import PROXIES, Proxied, behind

TOOL_S = 305.0  # nginx gives an upstream 60 s, unless it is told otherwise


async def test_a_tool_may_compute_for_longer_than_the_proxies_would_wait_by_themselves(
    tmp_path: Path,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        all_proxied = []
        for name in PROXIES:
            (tmp_path / name).mkdir()
            all_proxied.append(await stack.enter_async_context(behind(name, tmp_path / name)))
        assert await asyncio.gather(*map(_computes, all_proxied)) == [200] * len(PROXIES)


async def _computes(proxied: Proxied) -> int:
    proxied.workload.silence_s = TOOL_S
    async with proxied.call() as answer:
        await answer.read()
        return int(answer.status)
