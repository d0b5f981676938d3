"""Finding an engine, and the ways in which there is none that may be used."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from mcpgw.bootstrap import debian, docker, podman
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import PROJECT_DIR
from tests.engines import RealEngine

SYSTEM_PYTHON = "/usr/bin/python3"
PATIENCE_S = 60.0


@pytest.mark.engine
def test_what_runs_is_found_and_not_started_again(
    docker_engine: RealEngine, podman_engine: RealEngine
) -> None:
    assert docker.ensure_docker() == docker.ensure_docker()
    assert docker.ensure_docker().url == docker_engine.url
    assert podman.ensure_podman().url == podman_engine.url


@pytest.mark.engine
def test_an_engine_that_the_user_names_is_the_one(
    docker_engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)
    assert docker.ensure_docker().url == docker_engine.url


def test_an_engine_that_the_user_names_in_vain_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ensure in (("DOCKER_HOST", docker.ensure_docker), ("PODMAN_SOCKET_PATH", podman.ensure_podman)):
        monkeypatch.setenv(name, "unix:///nowhere.sock")
        with pytest.raises(BootstrapError, match=rf"{name}.*No such file.*unset it"):
            ensure()


def test_a_user_without_a_runtime_directory_is_told_how_to_have_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after `su -`: rootless Podman has its socket there."""
    (tmp_path / "run").touch()  # nothing can be made below it
    monkeypatch.delenv("PODMAN_SOCKET_PATH", raising=False)
    monkeypatch.setattr(podman, "_socket", lambda: tmp_path / "run" / "user" / "podman.sock")
    monkeypatch.setattr(podman, "found", lambda _: "/usr/bin/podman")
    with pytest.raises(BootstrapError, match=r"no runtime directory.*enable-linger.*XDG_RUNTIME_DIR"):
        podman.ensure_podman()


@pytest.mark.engine
def test_a_user_who_may_not_use_the_socket_gets_the_one_command(
    docker_engine: RealEngine, tmp_path: Path
) -> None:
    said = _as_nobody(tmp_path, "from mcpgw.bootstrap.docker import ensure_docker; ensure_docker()")
    assert "/var/run/docker.sock may not be used by this user" in said
    assert "usermod -aG docker" in said


def test_a_user_who_may_not_install_gets_the_one_command(tmp_path: Path) -> None:
    said = _as_nobody(
        tmp_path, "from mcpgw.bootstrap import debian; debian.install(['no-such-package'], why='Nothing')"
    )
    assert "Nothing is missing, and installing it takes root" in said
    assert "`sudo apt-get install -y no-such-package`" in said


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    said = _as_nobody(
        tmp_path, "from mcpgw.bootstrap.docker import ensure_docker; ensure_docker()", owned=False
    )
    assert ".cache" in said
    assert "cannot be written" in said


def test_where_there_is_no_debian_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=fedora\nID_LIKE="rhel centos"\n')
    monkeypatch.setattr(debian, "OS_RELEASE", release)
    with pytest.raises(BootstrapError, match=r"no Debian machine.*Install no-such-package with"):
        debian.install(["no-such-package"], why="Nothing")


@pytest.mark.parametrize(
    "text", ["ID=debian\n", "ID=ubuntu\nID_LIKE=debian\n", 'ID=mint\nID_LIKE="ubuntu debian"\n']
)
def test_debian_and_its_derivatives_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    monkeypatch.setattr(debian, "OS_RELEASE", release)
    assert debian.has_apt()


def test_pools_are_left_to_the_machines_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "daemon.json"
    monkeypatch.setattr(docker, "DAEMON_SETTINGS", settings)
    assert len(docker.pool_flags()) == 2 * len(docker.ADDRESS_POOLS)
    settings.write_text('{"default-address-pools": []}')
    assert docker.pool_flags() == []


def _as_nobody(folder: Path, statement: str, *, owned: bool = True) -> str:
    """What a copy of the set-up says when a user without rights runs the statement; it must be one line."""
    copy = folder / "project"
    shutil.copytree(PROJECT_DIR / "mcpgw" / "bootstrap", copy / "mcpgw" / "bootstrap")
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.parents):
        if path.owner() == pwd.getpwuid(os.geteuid()).pw_name and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    if owned:
        os.chown(copy, nobody.pw_uid, nobody.pw_gid)
    program = f"""
import sys
from mcpgw.bootstrap.errors import BootstrapError
try:
    {statement}
except BootstrapError as error:
    print(error)
    sys.exit(7)
"""
    done = subprocess.run(
        (SYSTEM_PYTHON, "-c", program),
        check=False,
        cwd=copy,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout
