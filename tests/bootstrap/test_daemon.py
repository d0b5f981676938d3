"""Daemons in the background: started, found dead, found deaf; and the pid files that dead ones leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.bootstrap import daemon, paths
from mcpgw.bootstrap.command import found
from mcpgw.bootstrap.engine_api import answers
from mcpgw.bootstrap.errors import BootstrapError

PATIENCE_S = 30.0

ENGINE_LIKE = """
import os, socketserver, sys, time
from http.server import BaseHTTPRequestHandler
open(sys.argv[2], "w").write(str(os.getpid()))
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers()
        self.wfile.write(b"OK")
    def address_string(self): return "someone"
time.sleep(0.5)
socketserver.UnixStreamServer(sys.argv[1], Answer).serve_forever()
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """Where a daemon of the test leaves its pid; it is ended afterwards."""
    path = tmp_path / "daemon.pid"
    yield path
    pid = int(path.read_text())
    os.kill(pid, signal.SIGTERM)
    _wait_for_the_end_of(pid)
    for mount in _mounts_below(tmp_path):  # a killed dockerd leaves its folders mounted
        subprocess.run(("umount", mount), check=True, timeout=PATIENCE_S)


def _mounts_below(folder: Path) -> list[str]:
    """The mount points below the folder, the innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def _wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_daemon_is_started_and_outlives_its_starter(tmp_path: Path, cache: Path, pid_file: Path) -> None:
    url = f"unix://{tmp_path}/engine.sock"
    daemon.start("engine-like", (sys.executable, "-c", ENGINE_LIKE, url[7:], str(pid_file)), url=url)
    assert answers(url)
    pid = int(pid_file.read_text())
    assert os.getsid(pid) != os.getsid(0)
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()


@pytest.mark.engine
def test_a_dockerd_is_started_after_one_that_was_killed(tmp_path: Path, cache: Path, pid_file: Path) -> None:
    """A second daemon beside the machine's own, in a network namespace: it removes docker0 where it runs."""
    program, url = found("dockerd"), f"unix://{tmp_path}/d.sock"
    assert program is not None
    folders = ("--data-root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/x", "--pidfile", str(pid_file))
    words = (
        "unshare",
        "--net",
        program,
        "-H",
        url,
        *folders,
        "--bridge=none",
        "--iptables=false",
        "--storage-driver=vfs",
    )
    daemon.start("dockerd-test", words, url=url)
    killed = int(pid_file.read_text())
    stale = ((pid_file, "dockerd"), (tmp_path / "x" / "containerd" / "containerd.pid", "containerd"))
    pids = [daemon.forget_stale_pid_file(file, name) for file, name in stale]
    os.kill(killed, signal.SIGKILL)  # its containerd dies with it
    for pid in pids:
        assert pid is not None
        _wait_for_the_end_of(pid)
    for file, name in stale:
        assert daemon.forget_stale_pid_file(file, name) is None
        assert not file.exists()
    daemon.start("dockerd-test", words, url=url)
    assert int(pid_file.read_text()) != killed


def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(cache: Path) -> None:
    with pytest.raises(BootstrapError, match=r"ended at once: no room here\. Look into .*broken\.log"):
        daemon.start("broken", ("/bin/sh", "-c", "echo no room here; exit 1"), url="unix:///nowhere.sock")


def test_a_daemon_that_does_not_answer_is_told(
    tmp_path: Path, cache: Path, pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "ANSWER_MAX_S", 0.3)
    with pytest.raises(BootstrapError, match="deaf does not answer at unix:///nowhere"):
        words = ("/bin/sh", "-c", f"echo $$ >{pid_file}; exec sleep 60")
        daemon.start("deaf", words, url="unix:///nowhere.sock")


def test_a_pid_file_of_a_process_that_is_gone_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(("true",))
    gone.wait()
    file = tmp_path / "x.pid"
    file.write_text(str(gone.pid))
    assert daemon.forget_stale_pid_file(file, "dockerd") is None
    assert not file.exists()


def test_a_pid_file_whose_number_another_program_has_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "x.pid"
    file.write_text(f"{os.getpid()}\n")
    assert daemon.forget_stale_pid_file(file, "dockerd") is None
    assert not file.exists()


@pytest.mark.parametrize("text", [None, "", "not a number"])
def test_a_pid_file_that_says_nothing_stops_nothing(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "x.pid"
    if text is not None:
        file.write_text(text)
    assert daemon.forget_stale_pid_file(file, "dockerd") is None
