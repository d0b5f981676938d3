"""The `run` script, in a project of its own: an environment is made, and made again when the lock changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcpgw.bootstrap.paths import PROJECT_DIR

PATIENCE_S = 120.0
LOCK = "requirements-dev.lock"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The script, a lock that names nothing, and a program to hand over to."""
    shutil.copy(PROJECT_DIR / "run", tmp_path / "run")
    (tmp_path / LOCK).write_text("# nothing\n")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__main__.py").write_text("import sys; print(sys.prefix, *sys.argv[1:])")
    return tmp_path


def run(project: Path, *words: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    if path:
        environment["MCPGW_PYTHON"] = "python3"
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run(
        ("/bin/sh", "run", *words),
        check=False,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_an_environment_is_made_once_and_again_when_the_lock_changes(project: Path) -> None:
    first = run(project, "bench", "--some", "two words")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{project / '.venv'} --some two words\n"
    assert "creating .venv" in first.stderr
    second = run(project, "bench")
    assert second.stderr == ""
    (project / LOCK).write_text("# nothing yet\n")
    third = run(project, "bench")
    assert third.stderr == f"mcpgw: installing the Python packages of {LOCK}\n"


def test_a_broken_environment_is_made_anew(project: Path) -> None:
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    shutil.copy(project / LOCK, project / ".venv" / LOCK)
    done = run(project, "bench")
    assert done.returncode == 0, done.stderr
    assert "creating .venv" in done.stderr


def test_a_package_whose_hash_is_wrong_is_refused(project: Path) -> None:
    (project / LOCK).write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    done = run(project, "bench")
    assert done.returncode == 1
    assert f"installing the packages of {LOCK} failed" in done.stderr.splitlines()[-1]
    assert not (project / ".venv" / LOCK).exists()


def test_a_machine_without_python_is_told_what_to_install(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "mkdir", "cmp", "cat", "flock"):
        (tools / tool).symlink_to(shutil.which(tool) or f"/usr/bin/{tool}")
    done = run(project, "bench", path=str(tools))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("mcpgw: Python 3.11 or later is missing.")


@pytest.fixture
def debian_without_venv(project: Path) -> str:
    """A PATH whose Python has no ensurepip until an apt-get, which notes what it is asked for, has run."""
    tools = project / "tools"
    tools.mkdir()
    installed = project / "installed"
    (tools / "python3").write_text(
        f"""#!/bin/sh
case "$*" in *"import ensurepip"*) [ -e {installed} ]; exit $? ;; esac
exec {sys.executable} "$@"
"""
    )
    (tools / "apt-get").write_text(f'#!/bin/sh\necho "$@" >>{installed}\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return f"{tools}:/usr/bin:/bin"


def test_debians_package_for_environments_is_installed_and_that_is_said(
    project: Path, debian_without_venv: str
) -> None:
    done = run(project, "bench", path=debian_without_venv)
    assert done.returncode == 0, done.stderr
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"installing a Debian package for .venv: {package}" in done.stderr
    assert (project / "installed").read_text() == f"install -y --no-install-recommends {package}\n"


def test_who_may_not_install_it_gets_the_one_command(project: Path, debian_without_venv: str) -> None:
    """A user that is not root, as `id` has it: the script asks nothing else."""
    (project / "tools" / "id").write_text("#!/bin/sh\necho 1000\n")
    (project / "tools" / "id").chmod(0o755)
    done = run(project, "bench", path=debian_without_venv)
    assert done.returncode == 1
    assert "Run `sudo apt-get install -y --no-install-recommends python3." in done.stderr.splitlines()[-1]
    assert not (project / "installed").exists()


@pytest.mark.parametrize("words", [(), ("nonsense",)])
def test_a_word_it_does_not_know_shows_the_usage(project: Path, words: tuple[str, ...]) -> None:
    done = run(project, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./run up")
