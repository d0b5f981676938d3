"""What `mcpgw up` chose is read by root, in a folder to which the gateway's user may write."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpgw.choices import read_choices, write_choices

CHOSEN = {"DOCKER_HOST": "unix:///run/docker.sock", "DEMO_IMAGE": "demo:1"}


def test_what_was_chosen_is_read_and_nothing_else(tmp_path: Path) -> None:
    assert read_choices(tmp_path) == {}
    write_choices(tmp_path, CHOSEN)
    assert read_choices(tmp_path) == CHOSEN
    write_choices(tmp_path, {**CHOSEN, "STORE_URL": "sqlite:////x", "HOST_DATA_DIR": "/"})
    assert read_choices(tmp_path) == CHOSEN


def test_what_another_user_left_has_no_say(tmp_path: Path) -> None:
    write_choices(tmp_path, CHOSEN)
    os.chown(tmp_path / "up.json", 1234, 1234)
    assert read_choices(tmp_path) == {}


def _link(path: Path) -> None:
    write_choices(path.parent.parent, CHOSEN)
    path.symlink_to(path.parent.parent / path.name)


LEFT: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link": _link,
    "a folder": Path.mkdir,
    "without an end": lambda path: path.symlink_to("/dev/zero"),
    "too large": lambda path: path.write_text(json.dumps({"DEMO_IMAGE": "x" * (1 << 20)})),
    "too deep": lambda path: path.write_text("[" * 16_000),
    "no object": lambda path: path.write_text("[]"),
    "no text": lambda path: path.write_bytes(b"\xff"),
    "no word": lambda path: path.write_text('{"DEMO_IMAGE": 1}'),
}


@pytest.mark.parametrize("leave", LEFT.values(), ids=LEFT.keys())
def test_nothing_in_its_place_is_waited_for_or_believed(
    tmp_path: Path, leave: Callable[[Path], object]
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    leave(folder / "up.json")
    assert read_choices(folder) == {}
