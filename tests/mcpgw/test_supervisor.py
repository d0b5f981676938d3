"""The supervisor, with small programs in place of the two processes: death, refusal, stop, its own death."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from mcpgw import supervisor
from mcpgw.supervisor import Part, Supervisor
from state.settings import EXIT_SETTINGS
from tests.gateway.rig import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
# Each notes its pid; then it does what its name says.
NOTE = "import os, pathlib, signal, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); "
RUN = NOTE + "time.sleep(60)"
STUBBORN = NOTE + "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
CANNOT = NOTE + f"sys.exit({EXIT_SETTINGS})"
DIE = NOTE + "sys.exit(3)"


class Notes:
    """What the programs of one test wrote down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def part(self, name: str, program: str) -> Part:
        return Part(name, ("-c", program, str(self._folder / name)))

    def pids(self, name: str) -> list[int]:
        file = self._folder / name
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_part_that_dies_is_started_again_and_the_other_runs_on(
    notes: Notes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_S_MIN", 0.05)
    watched = Supervisor([notes.part("one", RUN), notes.part("two", RUN)], {})
    running = asyncio.create_task(watched.run())
    for count in (1, 2, 3):
        await until(lambda count=count: len(notes.pids("one")) == count, f"start {count}")
        os.kill(notes.pids("one")[-1], signal.SIGKILL)
    await until(lambda: len(notes.pids("one")) == 4, "the last start")
    assert len(notes.pids("two")) == 1
    watched.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 0
    assert not [pid for name in ("one", "two") for pid in notes.pids(name) if lives(pid)]
    told = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("mcpgw: one ended with -9")
    ]
    assert [line.rpartition(" in ")[2] for line in told] == ["0.05 s", "0.1 s", "0.2 s"]


async def test_one_that_dies_at_once_is_not_started_in_a_hot_loop(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_S_MIN", 0.2)
    watched = Supervisor([notes.part("one", DIE)], {})
    running = asyncio.create_task(watched.run())
    await asyncio.sleep(2.0)
    watched.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 0
    assert 1 < len(notes.pids("one")) <= 5, "after 0.2, 0.4, 0.8, 1.6 s"


async def test_a_part_that_its_settings_stop_ends_everything_with_its_code(notes: Notes) -> None:
    watched = Supervisor([notes.part("one", RUN), notes.part("two", CANNOT)], {})
    assert await asyncio.wait_for(watched.run(), PATIENCE_S) == EXIT_SETTINGS
    assert len(notes.pids("two")) == 1
    assert not [pid for pid in notes.pids("one") if lives(pid)]


async def test_one_that_will_not_stop_is_killed_in_time(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "STOP_S_MAX", 0.3)
    watched = Supervisor([notes.part("one", STUBBORN)], {})
    running = asyncio.create_task(watched.run())
    said = ""

    def is_deaf() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "deaf" in said

    await until(is_deaf, "its deafness")
    watched.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 0
    assert not lives(notes.pids("one")[0])


async def test_parts_do_not_outlive_a_supervisor_that_was_killed(notes: Notes, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from mcpgw.supervisor import Part, Supervisor; "
        f"asyncio.run(Supervisor([Part('one', ('-c', {RUN!r}, sys.argv[1]))], {{}}).run())"
    )
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "one")), cwd=ROOT
    )
    await until(lambda: notes.pids("one"), "the start")
    watching.kill()
    await watching.wait()
    await until(lambda: not lives(notes.pids("one")[0]), "the part's end")
