"""`./run up` as README says, in a fresh copy: it sets itself up, and what it prints works as pasted."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcpgw.bootstrap.engine_api import network_subnets, remove_labelled
from mcpgw.testing.house import free_port, until
from mcpgw.testing.ports import container_ports, subnet_prefix
from state.settings import EXIT_SETTINGS
from tests.e2e.person import person_at, printed_snippet
from tests.engines import PROJECT_LABEL, RealEngine
from tests.test_repo import ROOT, tracked

pytestmark = pytest.mark.engine

SET_UP_S_MAX = 600.0  # the packages come over the network
ENDED_S_MAX = 60.0


@dataclass
class Installation:
    """A copy of what is under version control and nothing else, kept off others' ports by its settings."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @contextmanager
    def up(self) -> Iterator[str]:
        """`./run up`, once it is up: what it said. Ctrl-C ends it."""
        log_path = self.folder / "up.log"
        with log_path.open("wb") as log:
            started = subprocess.Popen(
                ("./run", "up"),
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            until(
                lambda: "Ctrl-C stops the gateway" in log_path.read_text() or started.poll() is not None,
                "it is up",
                SET_UP_S_MAX,
            )
            assert started.poll() is None, log_path.read_text()
            yield log_path.read_text()
            os.kill(started.pid, signal.SIGINT)
            assert started.wait(ENDED_S_MAX) == 0, log_path.read_text()
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


@pytest.fixture
def installation(real_engine: RealEngine, project_name: str, tmp_path: Path) -> Iterator[Installation]:
    folder = tmp_path / "copy"
    for path in tracked():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    ports, port = container_ports(), free_port()
    settings = {
        "CONTAINER_ENGINE": real_engine.name,
        "CONTAINER_PROJECT_NAME": project_name,
        "CONTAINER_SUBNET_PREFIX": subnet_prefix(network_subnets(real_engine.bare)),
        "CONTAINER_PORT_RANGE": f"{ports.start}-{ports.stop - 1}",
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{free_port()}",
        "RECONCILER_PRIVATE_BIND": f"127.0.0.1:{free_port()}",
    }
    yield Installation(folder, {**os.environ, **settings})
    remove_labelled(real_engine.bare, f"{PROJECT_LABEL}={project_name}")


async def account_by_link(said: str) -> str:
    """The page to which the printed link leads, without any provider."""
    link = re.search(r"sign in:  (http://\S+)   \(once", said)
    assert link is not None, said
    async with person_at(link[1].partition("/signin")[0]) as person:
        return (await person.visit(link[1])).text


def test_a_fresh_copy_comes_up_and_the_pasted_snippet_lists_the_demos_tools(
    installation: Installation,
) -> None:
    """With the manifests, the ceiling and the image that are shipped: nothing here chooses them."""
    with installation.up() as said:
        listed = installation.run("sh", "-c", printed_snippet(said))
        assert {"echo", "slow", "big", "whoami", "counter", "disk"} <= set(listed.stdout.split()), (
            listed.stderr
        )
        assert "Sign out everywhere" in asyncio.run(account_by_link(said))
        status = installation.run(".venv/bin/mcpgw", "status").stdout
        assert re.search(r"app:local\.developer +demo +True +True", status), status
        again = installation.run("./run", "up")
        [line] = [one for one in again.stderr.splitlines() if "cannot be listened on" in one]
        assert "GATEWAY_BIND=" in line, "who answers there would pass for another `up`"
        assert (again.returncode, again.stdout) == (EXIT_SETTINGS, "")
    with installation.up() as said:
        assert "echo" in installation.run("sh", "-c", printed_snippet(said)).stdout.split(), "and once more"
