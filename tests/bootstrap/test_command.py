"""Other programs, and what is said while they run."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mcpgw.bootstrap import command, paths, progress
from mcpgw.bootstrap.errors import BootstrapError
from tests.other_user import OtherUser, open_folder


def test_the_output_is_returned_and_logged(tmp_path: Path) -> None:
    assert command.run(("echo", "hello"), mend="", log=tmp_path / "log") == "hello\n"
    assert (tmp_path / "log").read_text() == "$ echo hello\nhello\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("/nowhere/program",), "/nowhere/program is not installed. Do this."),
        (("sh", "-c", "echo a; echo E: because >&2; echo b; exit 1"), "failed: E: because. Do this."),
        (("sh", "-c", "echo first; echo last; exit 1"), "failed: last. Do this."),
        (("sh", "-c", "exit 4"), "failed: exit code 4. Do this."),
        (("sleep", "60"), "did not end within 0 s. Do this."),
    ],
    ids=["missing", "an error line", "the last line", "no word", "hanging"],
)
def test_a_failure_is_one_line_with_the_mend(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(BootstrapError) as caught:
        command.run(words, mend="Do this", timeout_s=0.4)
    assert str(caught.value).endswith(told)
    assert "\n" not in str(caught.value)


def test_programs_are_found_where_a_users_path_does_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert command.found("sh") is not None
    assert command.found("no-such-program") is None


def test_what_is_quick_goes_unmentioned(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("something quick"):
        pass
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_named_repeated_and_closed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.01)
    monkeypatch.setattr(progress, "REPEAT_S", 0.01)
    repeated = threading.Event()
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            repeated.set()

    monkeypatch.setattr(progress, "say", note)
    with progress.step("something slow"):
        assert repeated.wait(30)
    assert lines[0] == "something slow …"
    assert lines[1].startswith("something slow … ")
    assert lines[-1].startswith("something slow: done in ")


def test_two_set_ups_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path)
    monkeypatch.setattr(paths, "LOCK_POLL_S", 0.01)
    inside, order = threading.Event(), []

    def second() -> None:
        inside.wait(30)
        with paths.only_one("x"):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with paths.only_one("x"):
        inside.set()
        other.join(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_a_lock_that_is_never_freed_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path)
    monkeypatch.setattr(paths, "LOCK_WAIT_MAX_S", 0.1)
    with paths.only_one("x"), pytest.raises(BootstrapError, match="another set-up"), paths.only_one("x"):
        pass


def test_a_lock_that_another_user_made_is_taken_all_the_same() -> None:
    """`sudo ./run up` once, and `./run up` after."""
    with open_folder() as folder:
        locks = folder / "locks"
        locks.mkdir()
        OtherUser().give(locks)
        (locks / "demo-image").touch(mode=0o644)
        program = (
            "from pathlib import Path; from mcpgw.bootstrap import paths; "
            f"paths.CACHE_DIR = Path({str(folder)!r}); lock = paths.only_one('demo-image'); "
            "lock.__enter__(); print('held')"
        )
        words = (*OtherUser().words, sys.executable, "-c", program)
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=60, cwd=paths.PROJECT_DIR
        )
    assert done.stdout == "held\n", done.stderr


@pytest.mark.parametrize("name", ["locks", "logs"])
def test_what_cannot_be_written_in_the_cache_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path)
    (tmp_path / name / "x").mkdir(parents=True)  # something else in its place
    with pytest.raises(BootstrapError, match=f"{name}/x cannot be written.*or delete {tmp_path}"):
        if name == "locks":
            with paths.only_one("x"):
                pass
        else:
            command.run(("true",), mend="", log=tmp_path / "logs" / "x")
