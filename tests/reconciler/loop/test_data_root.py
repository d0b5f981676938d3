"""HOST_DATA_DIR itself: whose it is, and whether it is there at all."""

import stat
import threading
from pathlib import Path

import pytest

from reconciler.core.errors import TransientError
from reconciler.loop import directories as directories_module
from reconciler.loop.directories import HostDirectories
from state.settings import SettingsError
from tests.reconciler.loop.test_directories import claim

HANGING = "h" * 26


async def test_it_belongs_to_the_project_that_was_there_first(tmp_path: Path) -> None:
    root = tmp_path / "homes"
    await HostDirectories(root).belong_to("mcpgw")
    await HostDirectories(root).belong_to("mcpgw")
    with pytest.raises(SettingsError, match="of project mcpgw, and CONTAINER_PROJECT_NAME is staging"):
        await HostDirectories(root).belong_to("staging")
    await HostDirectories(tmp_path / "others").belong_to("staging")


async def test_what_was_there_before_projects_were_told_apart_is_taken_over(tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path)
    installation = await directories.installation()
    await directories.belong_to("mcpgw")
    assert await directories.installation() == installation


async def test_whether_anything_was_ever_kept_there_can_be_told(tmp_path: Path) -> None:
    directories = HostDirectories(tmp_path / "homes")
    assert not await directories.is_known()
    await directories.belong_to("mcpgw")
    assert not await directories.is_known()
    await directories.installation()
    assert await directories.is_known()


async def test_one_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "homes").touch()
    with pytest.raises(TransientError, match="HOST_DATA_DIR"):
        await HostDirectories(tmp_path / "homes").belong_to("mcpgw")


async def test_a_disk_that_hangs_is_said_and_holds_up_its_own_home_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs may yet be done: nothing else is begun for that Home before it is."""
    monkeypatch.setattr(directories_module, "CALL_S_MAX", 0.2)
    may_go_on, written = threading.Event(), []
    real = directories_module._write_durably

    def write(path: Path, content: bytes) -> None:
        if path.parent.name == HANGING and not written:
            written.append("late")
            may_go_on.wait(30)
        elif path.parent.name == HANGING:
            written.append("afterwards")
        real(path, content)

    monkeypatch.setattr(directories_module, "_write_durably", write)
    directories = HostDirectories(tmp_path)
    for _ in range(3):
        with pytest.raises(TransientError, match=r"did not answer within 0\.2 s.*HOST_DATA_DIR") as said:
            await directories.record(claim(HANGING, "github:1"))
        assert said.value.reason == "DataDirectoryUnusable"
    await directories.record(claim("o" * 26, "github:2"))
    assert written == ["late"]
    monkeypatch.setattr(directories_module, "CALL_S_MAX", 30.0)
    may_go_on.set()
    later = claim(HANGING, "github:1").model_copy(update={"template": "other"})
    await directories.record(later)
    assert written == ["late", "afterwards"]
    assert later in await directories.claims()
    directories.close()


async def test_nobody_else_lists_the_homes(tmp_path: Path) -> None:
    """An engine that makes the folder, to mount it, makes it for everybody."""
    root = tmp_path / "homes"
    root.mkdir()
    root.chmod(0o2757)
    await HostDirectories(root).belong_to("mcpgw")
    assert stat.S_IMODE(root.stat().st_mode) == 0o2751
