"""A container fills its own data directory: it is put to sleep, with what it wrote, and nobody notices."""

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
MIB = 1 << 20
LIMIT_MIB, CEILING_MIB = 16, 32
LOOKED_S_MAX = 150.0  # two rounds over everybody's data, and what follows, on a machine that is busy
QUIET_S = 3.0
# Goes on past both limits, for longer than anybody waits; no more than this host can bear.
FILL = """
import os, time
with open("/data/fill", "wb", buffering=0) as file:
    for _ in range(300):
        file.write(os.urandom(1 << 20))
        time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def ward(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Where a template limits data, and the reconciler's settings do so for whoever is above the template."""
    settings = {"CEILING_DISK": f"{CEILING_MIB}Mi"}
    with opened(real_engine, tmp_path_factory.mktemp("data"), settings, begin="nothing") as house:
        text = demo_template(house.image).replace("shm: 16Mi", f"shm: 16Mi, disk: {LIMIT_MIB}Mi")
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
    ward.begin(FILL, user)

    def sleeps() -> bool:
        assert house.call(BOB, "whoami").result["hostname"] == bobs
        return house.reason(user, ConditionType.HIBERNATED) == "True PutToSleep"

    until(sleeps, f"{user} is put to sleep", LOOKED_S_MAX)
    assert house.reason(user, ConditionType.READY) == "False OverDiskLimit"
    kept_bytes = written(ward, user).stat().st_size
    assert kept_bytes > limit_mib * MIB, "what was written is kept"
    time.sleep(QUIET_S)
    assert written(ward, user).stat().st_size == kept_bytes, "nothing writes any more"
    ward.neighbour_is_well(bobs)
    house.serve(user)  # the next call wakes them, to free some


def written(ward: Ward, user: str) -> Path:
    """As the host sees it."""
    home = ward.house.home(user)
    assert home is not None
    return ward.house.homes / home.name / "data" / "fill"
