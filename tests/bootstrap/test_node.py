"""Packages from npm: installed once a lock, and what older locks had installed goes when nobody needs it."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from mcpgw.bootstrap import paths
from mcpgw.bootstrap.node import DRAFT, UNUSED_KEPT_S, ensure_npm_packages


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "cache")
    return tmp_path / "cache" / "npm"


def locked(folder: Path, name: str, version: str = "1.0.0") -> Path:
    """A package that needs none. Another version is another lock."""
    folder.mkdir(exist_ok=True)
    root = {"name": name, "version": version}
    (folder / "package.json").write_text(json.dumps(root))
    lock = {**root, "lockfileVersion": 3, "requires": True, "packages": {"": root}}
    (folder / "package-lock.json").write_text(json.dumps(lock))
    return folder


def installed(folder: Path, name: str, version: str = "1.0.0") -> Path:
    return ensure_npm_packages(locked(folder, name, version)).parent


def age(folder: Path) -> None:
    at = time.time() - UNUSED_KEPT_S - 60
    os.utime(folder, (at, at))


def test_an_older_locks_folder_goes_and_a_neighbours_stays(tmp_path: Path, cache: Path) -> None:
    older, neighbour = installed(tmp_path / "a", "a"), installed(tmp_path / "b", "b")
    for folder in (older, neighbour):
        age(folder)
    newer = installed(tmp_path / "a", "a", "2.0.0")
    assert newer != older
    assert sorted(cache.iterdir()) == sorted((newer, neighbour))


def test_what_was_asked_for_lately_stays(tmp_path: Path, cache: Path) -> None:
    """Two branches, tested in turn or at once: neither takes the packages away from below the other."""
    one = installed(tmp_path / "a", "a")
    age(one)
    assert installed(tmp_path / "a", "a") == one, "and with that it is recent"
    other = installed(tmp_path / "a", "a", "2.0.0")
    assert sorted(cache.iterdir()) == sorted((one, other))


def test_what_died_half_way_goes_too(tmp_path: Path, cache: Path) -> None:
    older = installed(tmp_path / "a", "a")
    half = cache / f"0123456789ab{DRAFT}"
    (half / "node_modules").mkdir(parents=True)
    (older.with_suffix(DRAFT)).mkdir()
    for folder in (half, older, older.with_suffix(DRAFT)):
        age(folder)
    newer = installed(tmp_path / "a", "a", "2.0.0")
    assert list(cache.iterdir()) == [newer]


def test_two_at_once_leave_what_both_need(tmp_path: Path, cache: Path) -> None:
    older = installed(tmp_path / "a", "a")
    age(older)
    locks = [locked(tmp_path / folder, "a", version) for folder, version in (("x", "2.0.0"), ("y", "3.0.0"))]
    found: list[Path] = []
    at_once = [
        threading.Thread(target=lambda lock=lock: found.append(ensure_npm_packages(lock).parent))
        for lock in locks * 2
    ]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert len(found) == 4
    assert sorted(cache.iterdir()) == sorted(set(found))
