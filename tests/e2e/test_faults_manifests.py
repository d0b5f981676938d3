"""Manifests half saved, and a folder that vanishes: the last good state stays."""

import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.workload import user_manifest
from state.kinds.report import ManifestFile
from state.kinds.resource import ConditionType
from state.kinds.user_container import UserContainer
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine


def applied(house: House, path: str) -> str:
    """What the condition of a manifest file says."""
    found = [one for one in house.read(lambda tx: tx.list(ManifestFile)) if one.spec.path == path]
    condition = found[0].status.condition(ConditionType.APPLIED) if found else None
    return f"{condition.status} {condition.reason}" if condition is not None else ""


@pytest.mark.fault(22)
def test_a_half_saved_file_changes_nothing_and_says_where_it_breaks_off(
    shared_house: House, hand: Hand
) -> None:
    house = shared_house
    house.write_manifest("paula.yaml", user_manifest("paula"))
    until(lambda: house.endpoint("paula"), "paula is served")
    container = hand.id_of(house.container_name("paula"))

    whole = user_manifest("paula", power="Stopped")
    (house.manifests / "paula.yaml").write_text(whole[: whole.index("power") + 3])
    until(lambda: applied(house, "paula.yaml") == "False Refused", "the file is refused")
    [line] = [one for one in house.log_lines("manifest.refused") if one["file"] == "paula.yaml"]
    assert line["line"] == 4
    assert line["what"] and line["mend"]
    assert "paula.yaml" in house.mcpgw("status").stdout
    assert house.call("paula", "whoami").status == 200
    assert hand.id_of(house.container_name("paula")) == container

    house.write_manifest("paula.yaml", whole)
    until(lambda: hand.id_of(house.container_name("paula")) is None, "the whole file is in force")


@pytest.mark.fault(23)
def test_a_folder_that_vanishes_deletes_nobody(shared_house: House, hand: Hand) -> None:
    house = shared_house
    users = [f"many-{number}" for number in range(7)]
    house.write_manifest("many.yaml", "---\n".join(user_manifest(one, power="Stopped") for one in users))
    house.write_manifest("vera.yaml", user_manifest("vera"))
    until(lambda: house.endpoint("vera"), "vera is served")
    until(lambda: _declared(house) >= {*users, "vera"}, "everybody is declared")

    house.manifests.rename(house.folder / "elsewhere")
    until(lambda: [one for one in house.log_lines("manifest.refused") if one["file"] == "."], "it is told")
    assert _declared(house) >= {*users, "vera"}
    assert house.call("vera", "whoami").status == 200

    house.manifests.mkdir()
    until(lambda: "MassDelete" in house.log_path.read_text(), "an empty folder is told too")
    assert _declared(house) >= {*users, "vera"}
    assert house.call("vera", "whoami").status == 200

    house.manifests.rmdir()
    (house.folder / "elsewhere").rename(house.manifests)
    (house.manifests / "vera.yaml").unlink()
    until(lambda: "vera" not in _declared(house), "one file less is one user less")
    assert _declared(house) >= set(users)


def _declared(house: House) -> set[str]:
    return {one.name for one in house.read(lambda tx: tx.list(UserContainer))}
