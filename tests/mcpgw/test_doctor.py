"""`mcpgw doctor`, as an operator runs it: what it finds where nothing is right; it changes nothing."""

import asyncio
import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from mcpgw import doctor as doctor_module
from mcpgw.cli import main
from mcpgw.doctor_compose import SUBNETS
from mcpgw.doctor_looks import Finding
from reconciler.core.isolation import FENCED, Isolation, unfenced
from state.kinds.report import Reconciler, ReconcilerSpec, ReconcilerStatus
from state.kinds.resource import Condition, ConditionType, Metadata, Truth
from state.logs import configure
from state.store import open_store
from state.store.port import Tx
from tests.other_user import NOBODY, open_folder

Doctor = Callable[..., tuple[int, dict[str, str]]]

NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Doctor]:
    """Runs it in a folder with this `.env`: the exit code, and what is said of each thing, verdict first."""
    monkeypatch.chdir(tmp_path)
    for name in ("COMPOSE_PROFILES", "TS_AUTHKEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)

    def run(part: str = "", **settings: str) -> tuple[int, dict[str, str]]:
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        code = main(["doctor", *filter(None, [part])])
        said: dict[str, str] = {}
        for line in capsys.readouterr().out.splitlines():
            if len(words := line.split(maxsplit=2)) == 3 and words[0] in ("ok", "warning", "trouble"):
                said[words[1]] = said.get(words[1], "") + f"{words[0]} {words[2]}\n"
        return code, said

    before = structlog.get_config()
    yield run
    structlog.configure(**before)
    configure("info", "tests")
    structlog.reset_defaults()


def test_where_nothing_is_each_thing_is_named_with_its_mend_and_nothing_is_made(
    doctor: Doctor, tmp_path: Path
) -> None:
    code, said = doctor()
    assert code == 1
    assert said["settings"].startswith("ok accepted, from .env")
    assert "is not there yet; the first start makes it" in said["STATE_DIR"]
    assert said["MANIFESTS_DIR"].startswith("trouble ")
    assert said["engine"].startswith(f"trouble no container engine answers at {NOWHERE} (DOCKER_HOST)")
    assert said["store"] == "warning is not there yet; the first start makes it\n"
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_folders_that_hang_are_told_and_not_waited_for(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = threading.Event()
    monkeypatch.setattr("mcpgw.doctor.LOOK_S_MAX", 0.5)
    monkeypatch.setattr("mcpgw.doctor_looks.is_absent", lambda _: mended.wait(60))
    code, said = doctor()
    mended.set()
    assert code == 1
    assert said["folders"].startswith("trouble did not answer within 0.5 s")
    assert "engine" in said, "the others are looked at"


def test_a_disk_that_fails_is_a_finding(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/homes")

    monkeypatch.setattr("mcpgw.doctor_looks.is_absent", fail)
    code, said = doctor()
    assert code == 1
    assert said["folders"].startswith("trouble cannot be looked at: [Errno 5] Input/output error: '/homes'")
    assert "engine" in said, "the others are looked at"


def test_wrong_settings_are_all_named_and_nothing_else_is_looked_at(doctor: Doctor) -> None:
    code, said = doctor(GATEWAY_ORIGIN="ftp://x", CONTAINER_SUBNET_PREFIX="8.8.8", CONTAINER_PORT_RAGNE="1-2")
    assert code == 1
    assert {"GATEWAY_ORIGIN", "CONTAINER_SUBNET_PREFIX"} <= set(said["settings"].replace("=", " ").split())
    assert "nothing else was looked at" in said["settings"]
    assert list(said) == ["settings"]


def test_where_only_one_parts_settings_are_only_its_own_are_looked_at(doctor: Doctor) -> None:
    settings = {"GATEWAY_ORIGIN": "https://a.example", "TS_AUTHKEY": "abc", "STARTS_AT_ONCE": "0"}
    assert {"sign-in", "store"} <= doctor(part="gateway", **settings)[1].keys()
    assert not {"engine", "TS_AUTHKEY", "MANIFESTS_DIR"} & doctor(part="gateway", **settings)[1].keys()
    settings["STARTS_AT_ONCE"] = "8"
    assert {"engine", "store", "MANIFESTS_DIR"} <= doctor(part="reconciler", **settings)[1].keys()
    assert not {"sign-in", "WORKLOAD_DOMAIN"} & doctor(part="reconciler", **settings)[1].keys()


def test_a_setting_that_nobody_reads_is_pointed_out(doctor: Doctor) -> None:
    assert "did you mean CONTAINER_PORT_RANGE?" in doctor(CONTAINER_PORT_RAGNE="21000-21999")[1]["settings"]


@pytest.mark.parametrize(
    ("settings", "about", "said"),
    [
        ({"COMPOSE_PROFILES": "edge,tailscale"}, "TS_AUTHKEY", "warning is not set, and COMPOSE_PROFILES"),
        ({"TS_AUTHKEY": "abc"}, "TS_AUTHKEY", "trouble does not begin with tskey-"),
        ({"TS_AUTHKEY": "tskey-auth-x"}, "TS_AUTHKEY", "ok is set; that its route is approved"),
        (
            {"GATEWAY_ORIGIN": "https://a.example"},
            "sign-in",
            "trouble nobody can sign in at https://a.example",
        ),
        ({"GATEWAY_ORIGIN": "http://a.example"}, "GATEWAY_ORIGIN", "trouble http://a.example is plain http"),
        ({"GATEWAY_ORIGIN": "https://a.example"}, "WORKLOAD_DOMAIN", "warning is not set"),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_what_keeps_people_out_is_found_in_the_settings(
    doctor: Doctor, settings: dict[str, str], about: str, said: str
) -> None:
    assert doctor(**settings)[1][about].startswith(said)


def test_a_provider_without_any_rule_lets_nobody_in(doctor: Doctor, tmp_path: Path) -> None:
    made(tmp_path)
    provider = {"OAUTH_GITHUB_CLIENT_ID": "id", "OAUTH_GITHUB_CLIENT_SECRET": "secret"}
    assert doctor(**provider)[1]["access"].startswith("trouble nobody may come in")
    assert "access" not in doctor(**provider, ADMIN_EMAILS="github:ann@example.com")[1]


def test_who_is_at_work_is_told_by_their_leases(doctor: Doctor, tmp_path: Path) -> None:
    made(tmp_path)
    _, said = doctor()
    assert said["reconciler"].startswith("trouble none is at work")
    assert said["gateway"].startswith("trouble none is at work")
    made(tmp_path, alive_s=60.0)
    _, said = doctor()
    assert said["reconciler"].startswith("ok at work (reconciler-1)")
    assert said["gateway"].startswith("ok 1 at work")


def test_whether_the_fence_stands_is_told_with_the_command_where_it_does_not(
    doctor: Doctor, tmp_path: Path
) -> None:
    made(tmp_path, alive_s=60.0)
    assert "Isolated" not in doctor()[1]["reconciler"], "nothing was reported yet"
    report(tmp_path, unfenced("NotFenced", "there is no fence"))
    code, said = doctor()
    assert code == 1
    [line] = [one for one in said["reconciler"].splitlines() if "Isolated" in one]
    assert line.startswith("trouble Isolated False NotFenced: there is no fence, so containers may reach ")
    assert "run `mcpgw fence` as root" in line
    report(tmp_path, Isolation(FENCED, ""))
    assert doctor()[1]["reconciler"].splitlines()[-1] == "ok Isolated True Fenced"


def test_an_engine_that_hangs_is_a_finding(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> "object":
        yield Finding(doctor_module.Verdict.OK, "engine", "docker 1")
        await asyncio.sleep(3600)

    monkeypatch.setattr(doctor_module, "at_engine", hang)
    monkeypatch.setattr(doctor_module, "LOOK_S_MAX", 0.2)
    code, said = doctor()
    assert code == 1
    assert said["engine"] == "ok docker 1\ntrouble did not answer within 0.2 s; see whether it hangs\n"


def test_a_cidr_in_composes_env_is_told_to_be_three_octets(doctor: Doctor) -> None:
    """The compose file puts the size behind it."""
    code, said = doctor("compose", CONTAINER_SUBNET_PREFIX="10.211.7.0/24.0/24")
    assert code == 1
    assert "in Compose's .env three octets alone, with SUBNET_BITS for the size" in said["settings"]


def test_a_look_that_did_not_foresee_something_is_a_finding(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> "object":
        raise ValueError("172.20.0.1/16 has host bits set")

    monkeypatch.setattr(doctor_module, "at_folders", stumble)
    code, said = doctor()
    assert code == 1
    assert said["folders"].startswith("trouble cannot be looked at: ValueError('172.20.0.1/16 has host bits")


def test_what_only_compose_knows_is_left_to_its_own_file(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SUBNETS:
        monkeypatch.delenv(name, raising=False)
    _, said = doctor("compose")
    assert "docker compose -f docker-compose.check.yml run --rm check" in said["subnets"]
    assert "store" not in said, "which is the stack's"
    assert "STATE_DIR" not in said
    for name in SUBNETS:
        monkeypatch.setenv(name, "10.211.7.0/24")
    code, said = doctor("compose")
    assert code == 1
    assert said["subnets"].startswith(
        "trouble could not be looked at: ENGINE_SOCKET names an engine that cannot be"
    )


def made(folder: Path, *, alive_s: float = 0.0) -> None:
    """A store where the settings expect it, with a worker and a reconciler that live for so long."""
    state = folder / "var" / "state"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def make() -> None:
        store = await open_store(f"sqlite:///{state}/state.db")
        if alive_s:
            await store.join("gateway-1", ttl_s=alive_s)
            await store.lead("reconciler-1", ttl_s=alive_s)
        await store.close()

    asyncio.run(make())


def report(folder: Path, isolation: Isolation) -> None:
    """What the reconciler says of itself into the store, as it does after each look at the fence's report."""
    truth = Truth.TRUE if isolation.is_fenced else Truth.FALSE
    condition = Condition(
        type=ConditionType.ISOLATED,
        status=truth,
        reason=isolation.reason,
        message=isolation.message,
        since=datetime.now(UTC),
    )

    def write(tx: Tx) -> None:
        spec = ReconcilerSpec(project="mcpgw")
        told = tx.get(Reconciler, "mcpgw") or tx.create(
            Reconciler(metadata=Metadata(name="mcpgw"), spec=spec)
        )
        tx.update_status(told.replaced(status=ReconcilerStatus(conditions=(condition,))))

    async def put() -> None:
        store = await open_store(f"sqlite:///{folder}/var/state/state.db")
        await store.transact(write, actor="tests")
        await store.close()

    asyncio.run(put())


def test_the_developers_link_counts_only_where_nobody_else_reaches_the_gateway(doctor: Doctor) -> None:
    assert doctor("gateway")[1]["sign-in"].startswith("ok by the local developer's link")
    open_to_all = {"GATEWAY_BIND": "0.0.0.0:9000"}
    code, said = doctor("gateway", **open_to_all)
    assert code == 1
    mend = "set a provider's OAUTH_… settings"
    assert said["sign-in"].startswith(f"trouble nobody can sign in at http://localhost:9000: {mend}")
    assert "GATEWAY_BIND=0.0.0.0:9000" in said["sign-in"]
    provider = {"OAUTH_GITHUB_CLIENT_ID": "id", "OAUTH_GITHUB_CLIENT_SECRET": "secret"}
    assert doctor("gateway", **open_to_all, **provider)[1]["sign-in"].startswith("ok github")


def test_what_root_keeps_from_an_operators_eyes_is_said_and_the_rest_too(tmp_path: Path) -> None:
    """After `sudo ./run up`, asked without it."""
    with open_folder() as folder:
        made(folder)
        (folder / "var" / "state").chmod(0o2770)
        (folder / ".env").write_text(f"DOCKER_HOST={NOWHERE}\n")
        program = (
            "import os, sys; from mcpgw import cli, doctor; "
            f"os.chdir({str(folder)!r}); os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
            "sys.exit(cli.main(['doctor']))"
        )
        path = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            (sys.executable, "-c", program),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=path,
        )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1
    for setting in ("STATE_DIR", "store", "engine"):
        assert re.search(rf"^trouble +{setting} ", done.stdout, re.MULTILINE), done.stdout
