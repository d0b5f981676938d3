"""What operators type, run as they run it: `apply`, `thaw` and `schema`."""

import json
import shutil
import time
from functools import partial

import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template, user_manifest
from state.kinds.resource import ConditionType
from state.kinds.user_container import UserContainer
from state.manifests.schema import manifest_schema
from tests.e2e.conftest import Opener
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

SETTLED_S = 10.0


def declared(house: House) -> set[str]:
    users = house.read(lambda tx: tx.list(UserContainer))
    return {one.name for one in users if not one.metadata.is_deleted}


def test_apply_says_what_came_of_the_folder_and_holds_mass_deletes_back(open_house: Opener) -> None:
    with open_house(begin="nothing") as house:
        users = [f"user-{number}" for number in range(8)]
        house.write_manifest("users.yaml", "---\n".join(map(user_manifest, users)))
        done = house.mcpgw("apply")
        assert (done.returncode, done.stdout) == (0, "9 objects written\n"), done.stderr
        assert declared(house) == set(users)

        house.write_manifest("broken.yaml", "kind: [\n")
        done = house.mcpgw("apply")
        assert (done.returncode, done.stdout) == (1, "0 objects written\n")
        assert done.stderr.startswith("broken.yaml:1:")
        (house.manifests / "broken.yaml").unlink()

        house.write_manifest("users.yaml", user_manifest(users[0]))
        held_back = house.mcpgw("apply")
        assert held_back.returncode == 1
        assert "--allow-deletes" in held_back.stderr
        assert declared(house) == set(users)
        done = house.mcpgw("apply", "--allow-deletes")
        assert done.returncode == 0, done.stderr
        assert declared(house) == {users[0]}


def test_schema_prints_what_the_documents_hold_and_needs_no_store(open_house: Opener) -> None:
    with open_house(begin="nothing") as house:
        house.environment["STORE_URL"] = "sqlite:////nowhere/at/all.db"
        printed = house.mcpgw("schema")
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout) == manifest_schema()


@pytest.mark.fault(16)
def test_an_old_backup_loses_nobody_and_removes_nothing_until_somebody_thaws_it(
    open_house: Opener, hand: Hand
) -> None:
    """Alice's container is newer than the backup, Bob came after it."""
    with open_house(begin="up") as house:
        house.serve("alice")
        name = house.container_name("alice")
        house.stop()
        backup = shutil.copytree(house.environment["STATE_DIR"], house.folder / "backup")
        old, first = (house.manifests / "demo.yaml").read_text(), hand.id_of(name)
        house.write_manifest("demo.yaml", demo_template(house.image, env={"EDITED": "yes"}))
        _up_again(house)
        until(lambda: hand.id_of(name) not in (None, first), "alice's container is as edited")
        for user in ("alice", "bob"):
            house.serve(user)
            assert house.call(user, "disk", text=f"kept by {user}").status == 200
        house.stop()
        before = hand.ids(house)
        assert len(before) == 2

        shutil.rmtree(house.environment["STATE_DIR"])
        shutil.copytree(backup, house.environment["STATE_DIR"])
        house.write_manifest("demo.yaml", old)
        _up_again(house)
        frozen = partial(house.reconcilers_condition, ConditionType.DESTRUCTION_FROZEN)
        until(lambda: frozen().startswith("True"), "it says so itself")
        assert "mcpgw thaw" in house.mcpgw("status").stdout
        house.serve("bob")
        assert house.call("bob", "disk").result["result"] == "kept by bob"
        time.sleep(SETTLED_S)  # enough to replace both, if it may
        assert hand.ids(house) == before

        thawed = house.mcpgw("thaw")
        assert thawed.returncode == 0, thawed.stderr
        until(lambda: not before & hand.ids(house), "the store rules, and its template")
        assert frozen().startswith("False")
        for user in ("alice", "bob"):
            house.serve(user)
            assert house.call(user, "disk").result["result"] == f"kept by {user}"
        assert len(hand.ids(house)) == 2


def _up_again(house: House) -> None:
    house.up.start()
    house.wait_ready()


def test_doctor_and_status_say_who_is_at_work_and_what_is_wrong(open_house: Opener) -> None:
    with open_house() as house:
        house.serve("ann")
        house.write_manifest("broken.yaml", "kind: [\n")
        until(lambda: "trouble  broken.yaml" in house.mcpgw("doctor").stdout, "the file is found")
        said = house.mcpgw("doctor").stdout
        lines = {" ".join(line.split()) for line in said.splitlines()}
        assert f"ok engine 1 containers of {house.project}" in lines
        assert f"ok image template demo: {house.image} is there" in lines
        assert "ok gateway 1 at work" in lines
        assert "ok users 1 of them, 0 not as they should be" in lines
        assert any(line.startswith("ok reconciler EngineReachable True Answers") for line in lines)
        assert "no reconciler is at work" not in house.mcpgw("status").stdout

        house.reconciler.stop()
        done = house.mcpgw("doctor")
        assert done.returncode == 1
        assert "none is at work, so what is said of containers below is old" in done.stdout
        assert "no reconciler is at work" in house.mcpgw("status").stdout
