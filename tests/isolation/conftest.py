"""A house on each engine, and in it Mallory, whose container attacks, and Bob, her neighbour."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from mcpgw.testing.house import House, until
from tests.e2e.conftest import opened
from tests.e2e.hand import API_VERSION
from tests.engines import RealEngine

MALLORY, BOB = "mallory", "bob"
CALLS = 3
# What runs inside begins with this: an attempt is told by what it gave, or by the error that stopped it.
PRELUDE = """
import ctypes, errno, json, os, platform, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
said = {}
def attempt(name, do):
    try:
        said[name] = repr(do())[:200]
    except BaseException as error:
        number = getattr(error, "errno", None) or 0
        said[name] = "refused: " + errno.errorcode.get(number, type(error).__name__)
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def finish():
    print("\\n" + json.dumps(said), flush=True)
"""


@dataclass
class Ward:
    """What the tests look at: the house, and the engine past it."""

    house: House
    api: docker.APIClient

    def name(self, user: str) -> str:
        return self.house.container_name(user)

    def inspect(self, user: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.inspect_container(self.name(user))
        return found

    def address(self, user: str) -> str:
        """On the project's network."""
        [network] = self.inspect(user)["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def inside(self, script: str, user: str = MALLORY, **values: Any) -> dict[str, str]:
        """What became of each attempt of a script that runs in the user's container, as their workload would.

        ``values`` are names that it finds defined.
        """
        defined = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        whole = PRELUDE + defined + script + "\nfinish()"
        # It says nothing where its container ends under it, by a bomb of before.
        said = until(lambda: self.run(whole, user).strip(), f"what {user} tried is told")
        told: dict[str, str] = json.loads(said.splitlines()[-1])
        return told

    def run(self, script: str, user: str = MALLORY) -> str:
        """What a Python script prints that runs in the user's container, whatever becomes of it."""
        made = until(lambda: self._exec(user, script), f"{user}'s container runs")
        printed: bytes = self.api.exec_start(made["Id"])
        return printed.decode(errors="replace")

    def begin(self, script: str, user: str = MALLORY) -> None:
        """Run a script in the user's container, and do not wait for it."""
        made = until(lambda: self._exec(user, script), f"{user}'s container runs")
        self.api.exec_start(made["Id"], detach=True)

    def _exec(self, user: str, script: str) -> dict[str, str] | None:
        """None while there is nothing to run it in: what a bomb ended is made anew."""
        try:
            made: dict[str, str] = self.api.exec_create(self.name(user), ["python3", "-c", script])
        except docker.errors.APIError:
            return None
        return made

    def neighbour_is_well(self, hostname: str) -> None:
        """Bob's container is the one it was, and answers; so does the reconciler."""
        for _ in range(CALLS):
            assert self.house.call(BOB, "whoami").result["hostname"] == hostname
        self.house.wait_ready()
        assert self.inspect(BOB)["State"]["Running"] is True

    def is_served_again(self) -> None:
        """Mallory's container is there, anew where it had to be."""
        until(lambda: self.house.serve(MALLORY), "Mallory is served again")


@pytest.fixture(scope="module")
def ward(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with opened(real_engine, tmp_path_factory.mktemp("ward")) as house:
        house.serve(MALLORY)
        house.serve(BOB)
        api = docker.APIClient(base_url=real_engine.url, version=API_VERSION, timeout=120)
        try:
            yield Ward(house, api)
        finally:
            api.close()


@pytest.fixture
def bobs(ward: Ward) -> str:
    """Bob's container by its hostname: the same before and after whatever a test does."""
    return ward.house.serve(BOB)


def is_refused(what_became: str) -> bool:
    """An error, or nothing that could be read."""
    return what_became.startswith("refused: ") or what_became in ("''", "b''")


def assert_refused(told: dict[str, str]) -> None:
    assert told, "nothing was tried"
    got = {name: what for name, what in told.items() if not is_refused(what)}
    assert not got, got
