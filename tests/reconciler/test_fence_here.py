"""Which fence a reconciler believes in: the one that its own settings ask for."""

from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine
from reconciler.loop.asking import HttpAsk
from reconciler.loop.directories import HostDirectories
from reconciler.main import surroundings
from reconciler.operator import Operator
from reconciler.settings import ReconcilerSettings
from state.fence import FenceReport, boot_id, write_fence
from state.sealing import PrivateKey
from state.settings import load_settings
from state.store.opening import open_store

TRUSTED, PROXY = "10.211.7.2,10.211.8.2", "http://10.211.8.9:3128"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "Fenced"),
        ({"FENCE_TRUSTED": ""}, "FenceOutdated"),
        ({"FENCE_TRUSTED": f"{TRUSTED},10.211.7.3"}, "FenceOutdated"),
        ({"EGRESS_PROXY": ""}, "FenceOutdated"),
        (
            {"CONTAINER_SUBNET_PREFIX": "10.211.6.0/24", "FENCE_TRUSTED": "", "EGRESS_PROXY": ""},
            "FenceIncomplete",
        ),
    ],
    ids=["as written", "nobody is trusted", "somebody more is", "no proxy", "other subnets"],
)
async def test_a_fence_of_other_settings_is_not_believed_in(
    tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    written = {
        "STATE_DIR": str(tmp_path),
        "CONTAINER_ADDRESSING": "network",
        "FENCE_TRUSTED": TRUSTED,
        "EGRESS_PROXY": PROXY,
    }
    as_written = load_settings(ReconcilerSettings, written)
    write_fence(
        as_written.fence_report,
        FenceReport(
            boot_id=boot_id(),
            subnets=tuple(zone.subnet for zone in as_written.zones.values()),
            trusted=tuple(map(IPv4Address, TRUSTED.split(","))),
            proxy=PROXY,
            kept=True,
            written_at=datetime.now(UTC),
        ),
    )
    settings = load_settings(ReconcilerSettings, {**written, **changed})
    store = await open_store("memory:")
    engine = MemoryEngine(Machine(lambda: datetime.now(UTC)), "mcpgw")
    around = surroundings(
        settings, store, engine, HostDirectories(settings.host_data_dir), HttpAsk(), PrivateKey(b"k" * 32)
    )
    try:
        fence = Operator(around).hands.fence
        await fence.look()
        assert fence.isolation.reason == reason
    finally:
        around.gauge.close()
        await store.close()
