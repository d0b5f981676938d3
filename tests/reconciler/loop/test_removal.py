"""Trees that are deleted: deep ones, wide ones, and such as change meanwhile."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.loop import removal
from reconciler.loop.removal import DEPTH_MAX, remove_tree

FILES_MAX = 200  # open at once in these tests


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def dig(tree: Path, depth: int) -> None:
    """So many directories in each other, with a file in each: deeper than any path may be long."""
    within = os.open(tree, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=within))
        os.mkdir("deeper", dir_fd=within)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=within)
        os.close(within)
        within = inner
    os.close(within)


@pytest.mark.parametrize("depth", [0, 1, DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1, 5_000])
def test_a_tree_goes_however_deep_it_is(tree: Path, depth: int, few_files: None) -> None:
    dig(tree, depth)
    remove_tree(tree)
    assert not tree.exists()


def test_a_wide_tree_goes_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "NAMES_MAX", 10)
    for one in range(35):
        (tree / f"of-{one}").mkdir()
        dig(tree / f"of-{one}", 3)
        (tree / f"file-{one}").touch()
        (tree / f"empty-{one}").mkdir()
    remove_tree(tree)
    assert not tree.exists()


def test_links_go_and_what_they_name_stays(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tree / "directory").symlink_to(outside)
    (tree / "file").symlink_to(outside / "precious")
    (tree / "nowhere").symlink_to("nowhere")
    os.link(outside / "precious", tree / "linked")
    os.mkfifo(tree / "pipe")
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").read_text() == "x"


def test_a_link_in_the_trees_own_place_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tmp_path / "tree").symlink_to(outside)
    with pytest.raises(OSError, match="directory"):
        remove_tree(tmp_path / "tree")
    assert (outside / "precious").read_text() == "x"


def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tree / "first").mkdir()
    (tree / "first" / "file").touch()

    def swap() -> bool:
        """As soon as it is looked at, before anything was deleted."""
        if (tree / "first").is_dir() and not (tree / "first").is_symlink():
            (tree / "first").rename(tmp_path / "away")
            (tree / "first").symlink_to(outside)
        return False

    with pytest.raises(OSError, match="Not a directory"):
        remove_tree(tree, is_over=swap)
    assert (outside / "precious").read_text() == "x"
    remove_tree(tree)
    assert (outside / "precious").read_text() == "x"


def test_what_goes_away_meanwhile_is_no_error(tree: Path) -> None:
    for name in "abc":
        (tree / name).touch()

    def vanish() -> bool:
        for one in tree.iterdir():
            one.unlink()
        return False

    remove_tree(tree, is_over=vanish)
    assert not tree.exists()


def test_it_ends_when_it_is_told_and_goes_on_the_next_time(tree: Path) -> None:
    dig(tree, 3 * DEPTH_MAX)
    asked = iter([False] * 100)
    with pytest.raises(InterruptedError):
        remove_tree(tree, is_over=lambda: next(asked, True))
    assert tree.exists()
    remove_tree(tree)
    assert not tree.exists()


def test_names_that_are_listed_for_ever_and_never_found_are_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged directory, or one of another system's: it must not be read without end."""
    (tree / "ghost").touch()

    def unlink(name: str, *, dir_fd: int) -> None:
        raise FileNotFoundError(name)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(OSError, match="cannot be found"):
        remove_tree(tree)
