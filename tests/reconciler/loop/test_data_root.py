"""HOST_DATA_DIR itself: whose it is, and whether it is there at all."""

from pathlib import Path

import pytest

from reconciler.core.errors import TransientError
from reconciler.loop.directories import HostDirectories
from state.settings import SettingsError


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
