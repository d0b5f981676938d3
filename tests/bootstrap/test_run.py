"""The `run` script, in a project of its own: an environment is made, and made again when the lock changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcpgw.bootstrap.paths import PROJECT_DIR
from tests.other_user import OtherUser, open_folder

PATIENCE_S = 120.0
LOCK = "requirements-dev.lock"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return put_project(tmp_path)


def put_project(folder: Path) -> Path:
    """The script, a lock that names nothing, and a program to hand over to."""
    shutil.copy(PROJECT_DIR / "run", folder / "run")
    (folder / LOCK).write_text("# nothing\n")
    (folder / "bench").mkdir()
    (folder / "bench" / "__main__.py").write_text("import sys; print(sys.prefix, *sys.argv[1:])")
    return folder


def run(
    project: Path, *words: str, path: str | None = None, prefix: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    if path:
        environment["MCPGW_PYTHON"] = "python3"
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run(
        (*prefix, "/bin/sh", "run", *words),
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


@pytest.mark.parametrize(
    ("made_by_root", "what"), [(".cache/locks/venv", ".cache"), (".venv/bin/mcpgw", ".cache .venv")]
)
def test_what_another_user_has_set_up_is_told_with_the_way_to_take_it_over(
    made_by_root: str, what: str
) -> None:
    """As after `sudo ./run up`."""
    somebody = OtherUser()
    with open_folder() as folder:
        made = put_project(folder) / made_by_root
        made.parent.mkdir(parents=True)
        somebody.give(folder)
        made.touch(mode=0o644)
        done = run(folder, "bench", prefix=somebody.bare_words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "may not be written, as what an earlier ./run made here is another user's" in line
    assert f"`sudo chown -R {somebody.uid} {what}`" in line


def test_a_folder_that_is_another_users_is_told_as_such() -> None:
    somebody = OtherUser()
    with open_folder() as folder:
        done = run(put_project(folder), "bench", prefix=somebody.bare_words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "this folder is another user's" in line
    assert f"`sudo chown {somebody.uid} .`" in line


@pytest.mark.parametrize("words", [(), ("nonsense",)])
def test_a_word_it_does_not_know_shows_the_usage(project: Path, words: tuple[str, ...]) -> None:
    done = run(project, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./run up")
