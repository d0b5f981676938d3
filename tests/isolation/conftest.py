"""A house on each engine, and in it Mallory, whose container attacks, and Bob, her neighbour."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from mcpgw.testing.house import House, until
from tests.e2e.conftest import opened
from tests.e2e.hand import API_VERSION, FOREIGN_LABEL
from tests.engines import RealEngine

MALLORY, BOB = "mallory", "bob"
CALLS = 3
WORKLOAD, ROOT = "1000:1000", "0:0"
FORBIDDEN = ("refused: EPERM", "refused: EACCES")
NO_SUCH_CALL = "refused: ENOSYS"  # the kernel has none, or a seccomp profile says so of what it keeps back
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
# In a process of its own, which alone is changed by it.
def apart(do):
    reader, writer = os.pipe()
    if os.fork() == 0:
        number = 0
        try:
            do()
        except BaseException as error:
            number = getattr(error, "errno", None) or -1
        os.write(writer, str(number).encode())
        os._exit(0)
    os.close(writer)
    number = int(os.read(reader, 9) or -1)
    os.close(reader)
    os.wait()
    if number:
        raise OSError(number, "apart")
    return "done"
# What stops the script itself is told like any attempt.
def excepthook(_, error, __):
    said["the script"] = repr(error)
    finish()
sys.excepthook = excepthook
def finish():
    print("\\n" + json.dumps(said), flush=True)
"""


def as_script(script: str, values: Mapping[str, Any]) -> list[str]:
    """The words that run it in a container; ``values`` are names that it finds defined."""
    defined = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    return ["python3", "-c", PRELUDE + defined + script + "\nfinish()"]


def told_by(printed: str) -> dict[str, str] | None:
    """What became of each attempt; None where it was not told to the end."""
    [*_, last] = printed.strip().splitlines() or [""]
    return json.loads(last) if last.startswith("{") else None


@dataclass(frozen=True)
class Control:
    """A container that is not protected in some way: what is refused elsewhere has to get through in here."""

    api: docker.APIClient
    id: str

    def inside(self, script: str, **values: Any) -> dict[str, str]:
        # Podman has been seen to print nothing of what ran, under load.
        return until(lambda: told_by(self._printed(as_script(script, values))), "what was tried is told")

    def _printed(self, words: list[str]) -> str:
        printed: bytes = self.api.exec_start(self.api.exec_create(self.id, words)["Id"])
        return printed.decode(errors="replace")


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

    def data(self, user: str) -> Path:
        """The user's data directory, as the host sees it."""
        home = self.house.home(user)
        assert home is not None
        return self.house.homes / home.name / "data"

    @contextmanager
    def unlike_hers(self, user: str = WORKLOAD, **told: Any) -> Iterator[Control]:
        """A container made by hand of Mallory's image, with her data, and protected as hers is but for what
        the engine is ``told``."""
        hers = {
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            "tmpfs": {"/tmp": ""},
            "network_mode": "none",
            "init": True,
            "binds": [f"{self.data(MALLORY)}:/data:ro"],
        }
        image = self.house.image if self.house.engine.name == "docker" else f"localhost/{self.house.image}"
        made = self.api.create_container(
            image,
            entrypoint=["sleep"],
            command=["600"],
            user=user,
            labels={FOREIGN_LABEL: self.house.project},
            host_config=self.api.create_host_config(**{**hers, **told}),
        )
        try:
            self.api.start(made["Id"])
            yield Control(self.api, made["Id"])
        finally:
            self.api.remove_container(made["Id"], force=True)

    def inside(self, script: str, user: str = MALLORY, *, as_user: str = "", **values: Any) -> dict[str, str]:
        """What became of each attempt of a script that runs in the user's container, as their workload would
        or as another user of it.

        ``values`` are names that it finds defined.
        """
        words = as_script(script, values)
        # It says nothing, or only what the engine says, where a bomb of before ends its container under it.
        return until(lambda: told_by(self._printed(user, words, as_user)), f"what {user} tried is told")

    def _printed(self, user: str, words: list[str], as_user: str) -> str:
        """What they print, whatever becomes of it."""
        made = until(lambda: self._exec(user, words, as_user), f"{user}'s container runs")
        printed: bytes = self.api.exec_start(made["Id"])
        return printed.decode(errors="replace")

    def begin(self, script: str, user: str = MALLORY) -> None:
        """Run a script in the user's container, and do not wait for it."""
        made = until(lambda: self._exec(user, ["python3", "-c", script]), f"{user}'s container runs")
        self.api.exec_start(made["Id"], detach=True)

    def _exec(self, user: str, words: list[str], as_user: str = "") -> dict[str, str] | None:
        """None while there is nothing to run it in: what a bomb ended is made anew."""
        try:
            made: dict[str, str] = self.api.exec_create(self.name(user), words, user=as_user)
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
def ward_settings() -> dict[str, str]:
    """What a module's house is told besides the usual."""
    return {}


@pytest.fixture(scope="module")
def ward(
    real_engine: RealEngine, ward_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ward]:
    with opened(real_engine, tmp_path_factory.mktemp("ward"), ward_settings) as house:
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


def assert_forbidden(told: dict[str, str]) -> None:
    """Refused for want of a right. By any other error, the kernel had begun to look at what was asked."""
    assert told, "nothing was tried"
    got = {name: what for name, what in told.items() if what not in (*FORBIDDEN, NO_SUCH_CALL)}
    assert not got, got


def assert_got_through(told: dict[str, str], *, but_for: Collection[str] = ()) -> None:
    """Nothing forbade it, so that it is a protection that does elsewhere; a kernel may lack some calls."""
    stopped = {name: what for name, what in told.items() if what in FORBIDDEN and name not in but_for}
    assert not stopped, stopped
    assert set(told.values()) - {*FORBIDDEN, NO_SUCH_CALL}, "nothing got through"
