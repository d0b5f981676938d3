"""Where the sources of mounts really are on a real disk, and which are refused for it."""

import asyncio
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.container import Mount
from reconciler.core.errors import TerminalError, TransientError
from reconciler.core.mounts import AllowedMount
from reconciler.loop import mounts
from reconciler.loop.mounts import HostMounts
from tests.reconciler.core.worlds import CEILING


class Host:
    """A tree that may be mounted, one that may not, and homes."""

    def __init__(self, root: Path) -> None:
        self.allowed, self.elsewhere, self.homes = root / "allowed", root / "elsewhere", root / "homes"
        for folder in (self.allowed / "models", self.elsewhere, self.homes / "alice"):
            folder.mkdir(parents=True)
        self.ceiling = replace(
            CEILING, mounts=(AllowedMount(str(self.allowed)),), mounts_never=(str(self.homes),)
        )

    async def source_of(self, source: Path) -> str:
        [one] = await HostMounts().resolved((Mount(str(source), "/x", True),), self.ceiling)
        return one.source


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path.resolve())


async def test_nothing_to_mount_asks_nobody() -> None:
    assert await HostMounts().resolved((), CEILING) == ()


async def test_a_directory_and_a_file_are_what_they_are(host: Host) -> None:
    (host.allowed / "file").touch()
    for source in (host.allowed / "models", host.allowed / "file"):
        assert await host.source_of(source) == str(source)


async def test_a_link_within_is_resolved(host: Host) -> None:
    (host.allowed / "latest").symlink_to("models")
    assert await host.source_of(host.allowed / "latest") == str(host.allowed / "models")


async def test_an_allowed_path_may_itself_be_a_link(host: Host) -> None:
    link = host.allowed.with_name("link")
    link.symlink_to(host.allowed)
    host.ceiling = replace(host.ceiling, mounts=(AllowedMount(str(link)),))
    assert await host.source_of(link / "models") == str(host.allowed / "models")


async def test_a_link_that_leads_out_is_refused(host: Host) -> None:
    (host.allowed / "out").symlink_to(host.elsewhere)
    with pytest.raises(TerminalError, match=r"leads elsewhere.*CEILING_MOUNTS"):
        await host.source_of(host.allowed / "out")


async def test_a_link_on_the_way_is_refused_as_well(host: Host) -> None:
    (host.elsewhere / "below").mkdir()
    (host.allowed / "out").symlink_to(host.elsewhere)
    with pytest.raises(TerminalError, match="CEILING_MOUNTS"):
        await host.source_of(host.allowed / "out" / "below")


@pytest.mark.parametrize("target", ["/", "/proc", "/dev/null", "/etc/passwd"])
async def test_a_link_to_the_host_itself_is_refused(host: Host, target: str) -> None:
    (host.allowed / "out").symlink_to(target)
    with pytest.raises(TerminalError) as refused:
        await host.source_of(host.allowed / "out")
    assert refused.value.reason == "NotAllowed"


async def test_a_link_to_other_users_data_is_refused_even_where_its_tree_is_allowed(host: Host) -> None:
    (host.allowed / "out").symlink_to(host.homes / "alice")
    everything = AllowedMount(str(host.allowed.parent))
    host.ceiling = replace(host.ceiling, mounts=(everything,))
    with pytest.raises(TerminalError, match="no container gets to see"):
        await host.source_of(host.allowed / "out")


async def test_a_socket_a_pipe_and_a_device_are_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(host.allowed)  # a socket's path has to be short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("pipe", "socket"):
            with pytest.raises(TerminalError, match="no directory and no plain file"):
                await host.source_of(host.allowed / name)


async def test_what_is_not_there_is_waited_for(host: Host) -> None:
    with pytest.raises(TransientError, match="make it on the engine's host") as missing:
        await host.source_of(host.allowed / "later")
    assert missing.value.reason == "MountMissing"


async def test_a_file_system_that_hangs_takes_one_thread_and_nobody_elses(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = threading.Event()
    asked = 0

    def hangs(*_: object) -> tuple[Mount, ...]:
        nonlocal asked
        asked += 1
        mended.wait(60)
        return ()

    monkeypatch.setattr(mounts, "RESOLVE_S_MAX", 0.05)
    monkeypatch.setattr(mounts, "_resolved", hangs)
    own = HostMounts()
    asyncio.get_running_loop().set_default_executor(only := ThreadPoolExecutor(max_workers=1))
    before = threading.active_count()
    try:
        for _ in range(5):
            with pytest.raises(TransientError, match="did not say within") as unknown:
                await own.resolved((Mount(str(host.allowed), "/x", True),), host.ceiling)
            assert unknown.value.reason == "MountMissing"
        assert asked == 1, "the others wait for it, and ask nothing"
        assert threading.active_count() <= before + 1
        async with asyncio.timeout(30):
            await asyncio.to_thread(host.allowed.stat)  # what everybody else's files are done with
    finally:
        mended.set()
        only.shutdown(wait=False)


async def test_a_file_system_that_hung_is_asked_again_once_it_answers(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended, real = threading.Event(), mounts._resolved

    def hangs(*asked: Any) -> tuple[Mount, ...]:
        mended.wait(60)
        return real(*asked)

    monkeypatch.setattr(mounts, "_resolved", hangs)
    own, wanted = HostMounts(), (Mount(str(host.allowed), "/x", True),)
    with monkeypatch.context() as patience:
        patience.setattr(mounts, "RESOLVE_S_MAX", 0.05)
        with pytest.raises(TransientError):
            await own.resolved(wanted, host.ceiling)
    mended.set()
    assert await own.resolved(wanted, host.ceiling) == wanted
