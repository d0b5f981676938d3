"""A container fills the disk, in its data or elsewhere: it is put to sleep, and nobody notices."""

import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from mcpgw.testing.house import until
from mcpgw.testing.workload import demo_template, user_manifest
from state.kinds.resource import ConditionType
from tests.e2e.conftest import opened
from tests.e2e.hand import API_VERSION
from tests.engines import RealEngine
from tests.isolation.conftest import BOB, MALLORY, Ward

pytestmark = pytest.mark.engine

EVE = "eve"  # whom an operator wants up
TRUDY, URSULA = "trudy", "ursula"  # who leave their data alone
MIB = 1 << 20
LIMIT_MIB, CEILING_MIB = 16, 32
LOOKED_S_MAX = 150.0  # two rounds over everybody's data, and what follows, on a machine that is busy
QUIET_S = 3.0
# Goes on past both limits, for longer than anybody waits; no more than this host can bear.
FILL = """
import os, time
with open(path, "wb", buffering=0) as file:
    for _ in range(300):
        file.write(os.urandom(1 << 20))
        time.sleep(0.5)
"""
# Longer than a path may be: an engine that meets it gives up counting.
HIDE = """
import os
os.chdir("/tmp")
for _ in range(60):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
"""


@pytest.fixture(scope="module")
def ward(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Where a template leaves the root writable and limits the disk, and the reconciler's settings do so for
    whoever is above the template."""
    settings = {"CEILING_DISK": f"{CEILING_MIB}Mi"}
    with opened(real_engine, tmp_path_factory.mktemp("data"), settings, begin="nothing") as house:
        text = demo_template(house.image).replace("shm: 16Mi", f"shm: 16Mi, disk: {LIMIT_MIB}Mi")
        text = text.replace("readOnlyRoot: true", "readOnlyRoot: false")
        house.write_manifest("demo.yaml", text)
        house.write_manifest("eve.yaml", user_manifest(EVE, power="Running"))
        house.start()
        until(lambda: house.user_container(EVE), "Eve is declared")
        api = docker.APIClient(base_url=real_engine.url, version=API_VERSION, timeout=120)
        try:
            yield Ward(house, api)
        finally:
            api.close()


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("user", "limit_mib"),
    [(MALLORY, LIMIT_MIB), (EVE, CEILING_MIB)],
    ids=["beyond the template's limit", "beyond the ceiling, though kept up by an operator"],
)
def test_who_fills_the_disk_is_put_to_sleep(ward: Ward, bobs: str, user: str, limit_mib: int) -> None:
    house = ward.house
    house.serve(user)
    ward.begin(FILL.replace("path", "'/data/fill'"), user)
    await_sleep(ward, user, bobs)
    kept_bytes = written(ward, user).stat().st_size
    assert kept_bytes > limit_mib * MIB, "what was written is kept"
    time.sleep(QUIET_S)
    assert written(ward, user).stat().st_size == kept_bytes, "nothing writes any more"
    ward.neighbour_is_well(bobs)
    house.serve(user)  # the next call wakes them, to free some


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("user", "script"), [(TRUDY, FILL), (URSULA, HIDE + FILL)], ids=["plainly", "where no engine counts"]
)
def test_what_is_written_elsewhere_goes_with_the_container_that_is_put_to_sleep(
    ward: Ward, bobs: str, user: str, script: str
) -> None:
    """On an engine that limits no layer, as most: the disk is the one that all containers are on."""
    house = ward.house
    house.serve(user)
    made = ward.inspect(user)["Id"]
    kept = ward.inside("attempt('kept', lambda: open('/data/kept', 'w').write('hers'))", user)
    assert kept == {"kept": "4"}
    ward.begin(script.replace("path", "'/tmp/fill'"), user)
    await_sleep(ward, user, bobs)
    with pytest.raises(docker.errors.NotFound):
        ward.inspect(user)
    assert (ward.data(user) / "kept").read_text() == "hers"
    ward.neighbour_is_well(bobs)
    house.serve(user)  # the next call wakes her
    assert ward.inspect(user)["Id"] != made
    until(
        lambda: house.reason(user, ConditionType.DEGRADED) == "False AsExpected",
        "nothing is held against her",
        LOOKED_S_MAX,
    )
    assert house.reason(user, ConditionType.READY) == "True Answers"


def await_sleep(ward: Ward, user: str, bobs: str) -> None:
    """While Bob is served as before."""
    house = ward.house

    def sleeps() -> bool:
        assert house.call(BOB, "whoami").result["hostname"] == bobs
        return house.reason(user, ConditionType.HIBERNATED) == "True PutToSleep"

    until(sleeps, f"{user} is put to sleep", LOOKED_S_MAX)
    assert house.reason(user, ConditionType.READY) == "False OverDiskLimit"


def written(ward: Ward, user: str) -> Path:
    """As the host sees it."""
    home = ward.house.home(user)
    assert home is not None
    return ward.house.homes / home.name / "data" / "fill"
