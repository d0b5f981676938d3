"""`mcpgw fence` as root types it, in a network namespace of the test's own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.fence.keeping import Fence
from mcpgw.testing.waiting import until
from reconciler.settings import ReconcilerSettings
from state.fence import FenceReport, boot_id, read_fence
from state.settings import load_settings
from tests.mcpgw.fence.rig import PROJECT, environment, kept, run_verb, said
from tests.netns import Host, host

TABLE = f"mcpgw_{PROJECT}"
MENDED_S_MAX = 90.0  # two rounds, and a slow machine
SUBNETS = ["10.211.7.0/24", "10.211.8.0/24", "10.211.9.0/24"]

# What somebody may do to it by hand, and what is said of it then.
DAMAGE = {
    "a table goes": (f"delete table bridge {TABLE}", f"table bridge {TABLE} is not there"),
    "the other table goes": (f"delete table inet {TABLE}", f"table inet {TABLE} is not there"),
    "a chain is emptied": (
        f"flush chain inet {TABLE} input",
        f"chain input of table inet {TABLE} has other rules",
    ),
    "a chain goes": (
        f"flush chain inet {TABLE} forward; delete chain inet {TABLE} forward",
        f"table inet {TABLE} has other chains",
    ),
    "a rule goes before the others": (
        f"insert rule bridge {TABLE} forward accept",
        f"chain forward of table bridge {TABLE} has other rules",
    ),
    "a rule is replaced": (
        f"replace rule inet {TABLE} input handle {{handle}} accept",
        f"chain input of table inet {TABLE} has other rules",
    ),
    "a table is switched off": (
        f"add table inet {TABLE} {{{{ flags dormant; }}}}",
        f"table inet {TABLE} is switched off",
    ),
}


@pytest.fixture
def machine() -> Iterator[Host]:
    with host() as made:
        yield made


def tables(machine: Host) -> list[str]:
    return machine.run("nft", "list", "tables").splitlines()


def handle(machine: Host) -> int:
    """Of the first rule of what reaches the host."""
    listed = json.loads(machine.run("nft", "-j", "-a", "list", "chain", "inet", TABLE, "input"))["nftables"]
    return next(int(one["rule"]["handle"]) for one in listed if "rule" in one)


def report(folder: Path) -> FenceReport:
    found = read_fence(folder / "fence.json")
    assert found is not None
    return found


def test_it_is_written_again_and_again_and_checked_and_removed(machine: Host, tmp_path: Path) -> None:
    unfenced = run_verb(machine, tmp_path, "--check")
    assert (unfenced.returncode, unfenced.stdout) == (1, "")
    assert f"table inet {TABLE} is not there; run `mcpgw fence` as root" in unfenced.stderr
    listings = []
    for _ in range(2):
        written = run_verb(machine, tmp_path, FENCE_TRUSTED="10.211.7.2")
        assert (written.returncode, written.stderr) == (0, "")
        assert (
            "stands around 10.211.7.0/24, 10.211.8.0/24, 10.211.9.0/24; trusted: 10.211.7.2" in written.stdout
        )
        listings.append(machine.run("nft", "list", "ruleset"))
    assert listings[0] == listings[1]
    told = report(tmp_path)
    assert ([str(one) for one in told.subnets], [str(one) for one in told.trusted]) == (
        SUBNETS,
        ["10.211.7.2"],
    )
    assert (told.boot_id, told.proxy, told.kept) == (boot_id(), "", False)
    assert run_verb(machine, tmp_path, "--check", FENCE_TRUSTED="10.211.7.2").returncode == 0
    assert run_verb(machine, tmp_path, "--check").returncode == 1, "of others it is not the fence"
    for _ in range(2):
        removed = run_verb(machine, tmp_path, "--remove")
        assert (removed.returncode, removed.stderr) == (0, "")
        assert tables(machine) == []
        assert read_fence(tmp_path / "fence.json") is None


def test_one_that_was_written_with_other_settings_is_not_believed_in(machine: Host, tmp_path: Path) -> None:
    proxy = "http://10.211.8.9:3128"
    assert run_verb(machine, tmp_path, FENCE_TRUSTED="10.211.7.2", EGRESS_PROXY=proxy).returncode == 0
    assert report(tmp_path).proxy == proxy

    def is_reported(**changes: str) -> bool:
        as_written = {"FENCE_TRUSTED": "10.211.7.2", "EGRESS_PROXY": proxy}
        settings = {**environment(tmp_path), **as_written, **changes}
        return Fence(load_settings(ReconcilerSettings, settings)).is_reported()

    assert is_reported()
    assert not is_reported(FENCE_TRUSTED="")
    assert not is_reported(FENCE_TRUSTED="10.211.7.2,10.211.7.4")
    assert not is_reported(EGRESS_PROXY="")
    assert not is_reported(EGRESS_PROXY="http://10.211.8.9:8080")


@pytest.mark.parametrize(("damage", "fault"), DAMAGE.values(), ids=DAMAGE)
def test_what_somebody_did_to_it_is_named_and_mended(
    machine: Host, tmp_path: Path, damage: str, fault: str
) -> None:
    assert run_verb(machine, tmp_path).returncode == 0
    machine.run("nft", damage.format(handle=handle(machine)))
    checked = run_verb(machine, tmp_path, "--check")
    assert checked.returncode == 1
    assert fault in checked.stderr
    assert run_verb(machine, tmp_path).returncode == 0
    assert run_verb(machine, tmp_path, "--check").returncode == 0


def test_whoever_keeps_it_mends_it_reports_on_and_leaves_it_standing(machine: Host, tmp_path: Path) -> None:
    machine.run("nft", "add table inet somebodys")
    with kept(machine, tmp_path) as keeping:
        first = report(tmp_path)
        assert first.kept
        machine.run("nft", f"delete table bridge {TABLE}")
        until(lambda: "was broken, and stands again" in said(tmp_path), "it is mended", MENDED_S_MAX)
        assert f"table bridge {TABLE} is not there" in said(tmp_path)
        assert run_verb(machine, tmp_path, "--check").returncode == 0
        assert report(tmp_path).written_at > first.written_at
        keeping.send_signal(signal.SIGTERM)
        assert keeping.wait(30) == 0
    assert tables(machine) == ["table inet somebodys", f"table inet {TABLE}", f"table bridge {TABLE}"]
    assert report(tmp_path).kept, "and is not believed in much longer"


def test_whoever_is_killed_while_keeping_it_leaves_it_standing(machine: Host, tmp_path: Path) -> None:
    with kept(machine, tmp_path) as keeping:
        keeping.kill()
    assert run_verb(machine, tmp_path, "--check").returncode == 0


@pytest.mark.parametrize("verb", [(), ("--keep",), ("--check",), ("--remove",)], ids=" ".join)
def test_without_the_rights_one_line_says_which(machine: Host, tmp_path: Path, verb: tuple[str, ...]) -> None:
    words = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", sys.executable)
    done = subprocess.run(
        ("nsenter", f"--net=/run/netns/{machine.name}", *words, "-m", "mcpgw", "fence", *verb),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "takes root, or CAP_NET_ADMIN" in done.stderr
    assert tables(machine) == []


def test_a_report_that_cannot_be_written_is_told_and_its_setting_named(machine: Host, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "fence.json"
    done = run_verb(machine, tmp_path, FENCE_REPORT=str(nowhere))
    assert done.returncode == 1
    assert f"the fence stands, but FENCE_REPORT={nowhere} cannot be written" in done.stderr
