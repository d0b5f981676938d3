"""One rig per engine, and for real ones per way of addressing. A test that asks for ``rig`` runs on all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.engine.memory_profile import cluster_like, laptop_like
from reconciler.engine.port import Addressing
from tests.engines import RealEngine
from tests.reconciler.engine.pretend import PretendRig
from tests.reconciler.engine.real import RealRig

REAL = [
    pytest.param((engine, addressing), id=f"{engine}-{addressing}", marks=pytest.mark.engine)
    for engine in ("docker", "podman")
    for addressing in Addressing
]
PRETEND = [
    pytest.param(laptop_like(), id="memory"),
    pytest.param(cluster_like(removal_s=0.05), id="memory-cluster"),
]


@pytest.fixture(params=[*PRETEND, *REAL])
async def rig(
    request: pytest.FixtureRequest, project_name: str, tmp_path: Path
) -> AsyncIterator[PretendRig | RealRig]:
    made = _rig(request, project_name, tmp_path)
    if isinstance(made, RealRig):
        await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture(params=REAL)
async def real_rig(
    request: pytest.FixtureRequest, project_name: str, tmp_path: Path
) -> AsyncIterator[RealRig]:
    made = _rig(request, project_name, tmp_path)
    assert isinstance(made, RealRig)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture(
    params=[
        pytest.param((name, Addressing.NETWORK), id=name, marks=pytest.mark.engine)
        for name in ("docker", "podman")
    ]
)
async def engine_rig(
    request: pytest.FixtureRequest, project_name: str, tmp_path: Path
) -> AsyncIterator[RealRig]:
    """Each real engine once, for what does not depend on addresses."""
    made = _rig(request, project_name, tmp_path)
    assert isinstance(made, RealRig)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def _rig(request: pytest.FixtureRequest, project_name: str, tmp_path: Path) -> PretendRig | RealRig:
    match request.param:
        case (str() as name, addressing):
            engine: RealEngine = request.getfixturevalue(f"{name}_engine")
            return RealRig(engine, project_name, addressing, tmp_path)
        case profile:
            return PretendRig(project_name, profile)
