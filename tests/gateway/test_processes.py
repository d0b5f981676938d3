"""Gateway processes as operators start them, over SQLite: two workers, kill -9, SIGTERM, a port in use."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from state.settings import EXIT_SETTINGS
from state.store import open_store
from state.store.port import Store
from tests.gateway.rig import Container, Rig, bearer, container, loopback, until, until_true

ROOT = Path(__file__).parents[2]
STOP_S = 30.0


@dataclass
class Process:
    """A gateway process and the store it reads."""

    running: asyncio.subprocess.Process
    rig: Rig

    def workers(self) -> list[int]:
        """The pids of its serving children (multiprocessing's own helper is not one)."""
        pid = self.running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in _command(child)]


@pytest.fixture
async def alice() -> AsyncIterator[Container]:
    async with container("alice") as stand_in:
        yield stand_in


def free_port(step: int = 0) -> int:
    """A port that is free now, and the one ``step`` above it too."""
    while True:
        with loopback() as listener:
            port = int(listener.getsockname()[1])
        if not step or _is_free(port + step):
            return port


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return port < 65536 and probe.connect_ex(("127.0.0.1", port)) != 0


def environment(tmp_path: Path, port: int, private: int, workers: int) -> dict[str, str]:
    return {
        **os.environ,
        "STATE_DIR": str(tmp_path),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{private}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_WORKERS": str(workers),
    }


@asynccontextmanager
async def process(tmp_path: Path, workers: int, files_max: int = 0) -> AsyncIterator[Process]:
    """``files_max`` is how many files the system lets it have open, 0 for what this process may."""
    port, private = free_port(), free_port(step=10)
    url = f"sqlite:///{tmp_path}/state.db"
    store: Store = await open_store(url)
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcpgw", "gateway"),
        env=environment(tmp_path, port, private, workers),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=partial(_limit_files, files_max) if files_max else None,
    )
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as client:
        rig = Rig(store, None, None, (), port, private, client, tmp_path)  # type: ignore[arg-type]
        try:
            for index in range(workers):
                await until_true(
                    lambda index=index: _ready(rig, private + 10 * index), "the worker's readiness"
                )
            yield Process(running, rig)
        finally:
            if running.returncode is None:
                running.terminate()
            try:
                await asyncio.wait_for(running.wait(), STOP_S)
            except TimeoutError:
                running.kill()
                await running.wait()
                raise
            finally:
                await store.close()


def _limit_files(files_max: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


async def _ready(rig: Rig, port: int) -> bool:
    try:
        async with rig.client.get(f"http://127.0.0.1:{port}/ready") as answer:
            return bool(answer.status == 200)
    except aiohttp.ClientError:
        return False


async def start(rig: Rig, alice: Container) -> str:
    await rig.add_template()
    key = await rig.add_app("shop")
    await rig.add_user("alice", "app:shop.alice")
    await rig.route("alice", alice)
    await rig.store.barrier(await rig.store.revision(), STOP_S)
    return key


async def test_two_workers_serve_and_apply_every_change(tmp_path: Path, alice: Container) -> None:
    async with process(tmp_path, 2) as gateway, container("second") as second:
        key = await start(gateway.rig, alice)
        for number, stand_in in enumerate((alice, second, alice, second)):
            await gateway.rig.route("alice", stand_in, incarnation=f"i{number}")
            await gateway.rig.store.barrier(await gateway.rig.store.revision(), STOP_S)
            seen = await asyncio.gather(*(gateway.rig.mcp(key, "alice") for _ in range(20)))
            assert {answer["container"] for answer in seen} == {stand_in.name}


async def test_a_worker_killed_is_replaced(tmp_path: Path, alice: Container) -> None:
    async with process(tmp_path, 2) as gateway:
        key = await start(gateway.rig, alice)
        before = gateway.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: before[0] not in gateway.workers(), "the death")
        assert (await gateway.rig.mcp(key, "alice"))["container"] == "alice"
        await until(lambda: len(gateway.workers()) == 2, "the replacement")
        # The dead worker's lease has to run out first; then the barrier passes.
        await gateway.rig.store.barrier(await gateway.rig.unroute("alice"), STOP_S)
        await gateway.rig.route("alice", alice, incarnation="again")
        await gateway.rig.store.barrier(await gateway.rig.store.revision(), STOP_S)
        seen = await asyncio.gather(*(gateway.rig.mcp(key, "alice") for _ in range(20)))
        assert {answer["container"] for answer in seen} == {"alice"}


async def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path, alice: Container) -> None:
    async with process(tmp_path, 2) as gateway:
        workers = gateway.workers()
        gateway.running.kill()
        await gateway.running.wait()
        await until(lambda: not any(Path(f"/proc/{pid}/environ").exists() for pid in workers), "their end")


async def test_a_killed_gateway_serves_again_once_started(tmp_path: Path, alice: Container) -> None:
    async with process(tmp_path, 1) as gateway:
        key = await start(gateway.rig, alice)
        gateway.running.kill()
        await gateway.running.wait()
    async with process(tmp_path, 1) as gateway:
        assert (await gateway.rig.mcp(key, "alice"))["container"] == "alice"
        await gateway.rig.store.barrier(await gateway.rig.store.revision(), STOP_S)


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_ends_it_in_order_and_in_time_with_a_stream_open(
    tmp_path: Path, alice: Container, workers: int
) -> None:
    async with process(tmp_path, workers) as gateway:
        key = await start(gateway.rig, alice)
        async with gateway.rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as answer:
            assert await answer.content.readline() == b"data: begun\n"
            gateway.running.terminate()
            assert await asyncio.wait_for(gateway.running.wait(), STOP_S) == 0
        # It gave its lease back: nobody has to wait for it to run out.
        await gateway.rig.store.barrier(await gateway.rig.store.revision(), 1.0)


async def test_sigterm_closes_a_websocket_by_its_code_and_in_time(tmp_path: Path, alice: Container) -> None:
    """Source: IANA's registry of close codes; who is told of a restart connects again."""
    async with process(tmp_path, 1) as gateway:
        key = await start(gateway.rig, alice)
        url = gateway.rig.url("/mcp/ws")
        async with gateway.rig.client.ws_connect(url, headers=bearer(key, "alice")) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=STOP_S) == "alice: hello"
            gateway.running.terminate()
            told = await socket.receive(timeout=STOP_S)
            assert (told.type, told.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.SERVICE_RESTART)
        assert await asyncio.wait_for(gateway.running.wait(), STOP_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("setting", ["GATEWAY_BIND", "GATEWAY_PRIVATE_BIND"])
async def test_a_port_in_use_is_one_line_that_names_the_setting(
    tmp_path: Path, setting: str, workers: int
) -> None:
    with loopback() as taken:
        ports = {"GATEWAY_BIND": free_port(), "GATEWAY_PRIVATE_BIND": free_port(step=10)}
        ports[setting] = taken.getsockname()[1]
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mcpgw", "gateway"),
            env=environment(tmp_path, ports["GATEWAY_BIND"], ports["GATEWAY_PRIVATE_BIND"], workers),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await asyncio.wait_for(running.communicate(), STOP_S)
    assert running.returncode == EXIT_SETTINGS
    lines = error.decode().strip().splitlines()
    [line] = [one for one in lines if not one.startswith("{")]  # the other worker may have logged
    assert f"{setting}=127.0.0.1:{ports[setting]}" in line
    assert "choose another" in line


@pytest.mark.parametrize("workers", [1, 2])
async def test_whoever_is_let_in_is_answered_while_it_stops(tmp_path: Path, workers: int) -> None:
    """Each dial is refused, or its request is answered whole: none is accepted and then reset."""
    async with process(tmp_path, workers) as gateway:
        told: list[str] = []
        dialling = [asyncio.create_task(_dial_until_refused(gateway.rig.port, told)) for _ in range(8)]
        await until(lambda: len(told) > 100, "the load")
        gateway.running.terminate()
        async with asyncio.timeout(STOP_S):
            await asyncio.gather(*dialling)
            await gateway.running.wait()
        assert set(told) == {"HTTP/1.1 404 Not Found"}, "there is no template yet"


async def _dial_until_refused(port: int, told: list[str]) -> None:
    request = (
        b"POST /mcp HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % port
    )
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        try:
            writer.write(request)
            told.append((await reader.readline()).decode().strip())
            await reader.read()
        except ConnectionError as error:
            told.append(repr(error))
        finally:
            writer.close()
