"""A Python environment for clients of another major: made once, and again when its lock changes."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mcpgw.bootstrap import client_env, command, paths
from mcpgw.bootstrap.client_env import ensure_python_env
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.testing import ensure_client_env


def test_the_older_client_has_an_environment_without_ours() -> None:
    asks = (
        "import importlib.util as u, importlib.metadata as m; print(m.version('mcp'), u.find_spec('fastapi'))"
    )
    told = subprocess.run(
        (ensure_client_env(), "-c", asks), capture_output=True, text=True, check=True
    ).stdout
    version, _, ours = told.strip().partition(" ")
    assert (version.partition(".")[0], ours) == ("1", "None")


def test_it_is_made_once_and_again_when_the_lock_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "cache")
    commands: list[Sequence[str]] = []

    def counted(words: Sequence[str], **options: Any) -> str:
        commands.append(words)
        return command.run(words, **options)

    monkeypatch.setattr(client_env, "run", counted)
    lock = tmp_path / "some.lock"
    lock.write_text("# nothing\n")
    first = ensure_python_env(lock)
    assert ensure_python_env(lock) == first
    assert len(commands) == 2
    told = subprocess.run((first, "-c", "import sys; print(sys.prefix)"), capture_output=True, check=True)
    assert Path(told.stdout.decode().strip()) == first.parents[1]
    lock.write_text("# nothing more\n")
    assert ensure_python_env(lock) != first


def test_a_package_that_is_not_what_the_lock_says_is_a_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "cache")
    lock = tmp_path / "some.lock"
    lock.write_text("no-hash-beside-this==1.0\n")
    with pytest.raises(BootstrapError, match="See that the Python package index answers") as caught:
        ensure_python_env(lock)
    assert "\n" not in str(caught.value)
    assert [path.suffix for path in (tmp_path / "cache" / "python").iterdir()] == [".draft"]
