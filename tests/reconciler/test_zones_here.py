"""Which zones can be had with an engine and settings, and what addresses there are in each."""

import json
import sys
from pathlib import Path

import pytest

from reconciler.engine.door import EngineKind
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing, Engine
from reconciler.main import address_pool, egress_refused
from reconciler.settings import ReconcilerSettings
from state.kinds.template import Egress
from state.settings import load_settings
from tests.reconciler.engine.test_opening import http_answer, socket_answering

PROXY = {"EGRESS_PROXY": "http://10.211.8.2:3128"}


async def engine_at(url: str) -> Engine:
    return await open_engine(EngineSettings(EngineKind.DOCKER, url, "p", {}, Addressing.PUBLISH))


def refused(engine: Engine, **settings: str) -> dict[Egress, str]:
    return dict(egress_refused(load_settings(ReconcilerSettings, settings), engine))


async def test_on_this_machine_only_a_proxy_that_is_not_set_is_refused(tmp_path: Path) -> None:
    engine = await engine_at(str(tmp_path / "docker.sock"))
    assert refused(engine).keys() == {Egress.PROXY}
    assert "http://10.211.8.10:3128" in refused(engine)[Egress.PROXY]
    assert refused(engine, **PROXY) == {}
    await engine.close()


async def test_an_engine_elsewhere_has_no_zones_whose_containers_are_out_of_reach() -> None:
    engine = await engine_at("tcp://192.0.2.1:2375")
    assert refused(engine, **PROXY).keys() == {Egress.PROXY, Egress.NONE}
    assert "egress: Internet" in refused(engine)[Egress.NONE]
    assert Egress.INTERNET not in refused(engine, CONTAINER_ADDRESSING="network"), "there may be a route"
    await engine.close()


async def test_elsewhere_than_on_linux_an_engine_has_a_machine_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    engine = await engine_at(str(tmp_path / "docker.sock"))
    assert refused(engine, **PROXY).keys() == {Egress.PROXY, Egress.NONE}
    await engine.close()


async def test_docker_desktop_has_one_on_linux_too(tmp_path: Path) -> None:
    said = {"ApiVersion": "1.44", "Version": "25.0", "Platform": {"Name": "Docker Desktop 4.27.0 (135262)"}}
    async with socket_answering(tmp_path / "docker.sock", http_answer(json.dumps(said).encode())) as path:
        engine = await engine_at(path)
        assert engine.capabilities.reaches_addresses
        assert refused(engine, **PROXY) == {}, "it has not told yet"
        await engine.version()
        assert not engine.capabilities.reaches_addresses
        assert refused(engine, **PROXY).keys() == {Egress.PROXY, Egress.NONE}
        await engine.close()


@pytest.mark.parametrize(
    ("addressing", "egress", "first", "count"),
    [
        ("publish", Egress.INTERNET, "127.0.0.1:21000", 8000),
        ("publish", Egress.NONE, "10.211.9.11", 244),
        ("network", Egress.INTERNET, "10.211.7.11", 244),
        ("network", Egress.PROXY, "10.211.8.11", 244),
    ],
)
async def test_addresses_are(tmp_path: Path, addressing: str, egress: Egress, first: str, count: int) -> None:
    settings = load_settings(ReconcilerSettings, {"CONTAINER_ADDRESSING": addressing})
    engine = await engine_at(str(tmp_path / "docker.sock"))
    pool = address_pool(settings, engine, settings.zones[egress])
    assert (pool.at(0), len(pool)) == (first, count)
    await engine.close()


async def test_a_wider_subnet_has_addresses_beyond_its_first_24(tmp_path: Path) -> None:
    wide = {"CONTAINER_ADDRESSING": "network", "CONTAINER_SUBNET_PREFIX": "10.211.0.0/16"}
    settings = load_settings(ReconcilerSettings, wide)
    engine = await engine_at(str(tmp_path / "docker.sock"))
    pool = address_pool(settings, engine, settings.zones[Egress.INTERNET])
    given = [pool.at(index) for index in range(300)]
    assert (len(pool), given[244:246]) == (65524, ["10.211.0.255", "10.211.1.0"])
    await engine.close()
