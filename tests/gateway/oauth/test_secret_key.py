"""Where the key that seals comes from, and which files are refused as one."""

import base64
import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.auth.secret_key import MARK_CHARS, SecretKey, load_secret_key
from state.settings import SettingsError

MAKE_ONE = """
import sys
from pathlib import Path
from gateway.auth.secret_key import load_secret_key
sys.stdout.buffer.write(load_secret_key(Path(sys.argv[1]), None).seal(b"x", "n"))
"""


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(tmp_path: Path, path: Path | None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_secret_key(tmp_path, path)
    line = str(caught.value)
    assert "SECRET_KEY_FILE" in line and "\n" not in line
    return line


def test_a_value_opens_with_the_key_that_sealed_it_under_its_name_alone() -> None:
    key, other = SecretKey(b"k" * 32), SecretKey(b"o" * 32)
    sealed = key.seal(b"value", "name")
    assert key.unseal(sealed, "name") == b"value"
    assert key.unseal(sealed, "other") is None
    assert other.unseal(sealed, "name") is None
    assert key.unseal(sealed[:-1] + b"x", "name") is None
    assert key.unseal(b"", "name") is None and key.unseal(b"\x01x", "name") is None
    assert sealed != key.seal(b"value", "name") and b"value" not in sealed


def test_a_mark_is_one_keys_on_one_value_under_one_name() -> None:
    key = SecretKey(b"k" * 32)
    mark = key.mark("value", "name")
    assert (len(mark), mark) == (MARK_CHARS, SecretKey(b"k" * 32).mark("value", "name"))
    others = (
        key.mark("valuf", "name"),
        key.mark("value", "names"),
        SecretKey(b"o" * 32).mark("value", "name"),
    )
    assert mark not in others
    assert key.mark("b", "a") != key.mark("", "a\nb")


def test_a_key_is_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    sealed = load_secret_key(tmp_path / "state", None).seal(b"x", "n")
    path = tmp_path / "state" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_secret_key(tmp_path / "state", None).unseal(sealed, "n") == b"x"
    assert list(path.parent.iterdir()) == [path], "nothing else is left behind"


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    started = [
        subprocess.Popen((sys.executable, "-c", MAKE_ONE, str(tmp_path)), stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    sealed = [process.communicate(timeout=60)[0] for process in started]
    key = load_secret_key(tmp_path, None)
    assert [key.unseal(value, "n") for value in sealed] == [b"x"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("form", ["urlsafe", "standard", "unpadded", "hex"])
def test_a_key_of_ones_own_is_taken_in_any_usual_form(tmp_path: Path, form: str) -> None:
    raw = b"\xfb\xff" + secrets.token_bytes(30)
    forms = {
        "urlsafe": base64.urlsafe_b64encode(raw),
        "standard": base64.b64encode(raw) + b"\n",
        "unpadded": base64.b64encode(raw).rstrip(b"="),
        "hex": raw.hex().encode() + b"\r\n",
    }
    path = written(tmp_path / "key", forms[form])
    assert SecretKey(raw).unseal(load_secret_key(tmp_path, path).seal(b"x", "n"), "n") == b"x"
    assert not (tmp_path / "secret.key").exists()


def test_a_group_may_read_a_key_that_was_mounted(tmp_path: Path) -> None:
    path = written(tmp_path / "key", base64.b64encode(b"k" * 32), 0o440)
    assert load_secret_key(tmp_path, path)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602, 0o444])
def test_a_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    line = refused(tmp_path, written(tmp_path / "key", base64.b64encode(b"k" * 32), mode))
    assert f"{mode:04o}" in line and "chmod 600" in line


@pytest.mark.parametrize(
    "content", [b"", b"short", b"x" * 44, b"x" * 2000, b"\xff" * 32, b"=" * 44, b"g" * 64]
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    line = refused(tmp_path, written(tmp_path / "key", content))
    assert "openssl rand -base64 32" in line
    assert len(content) < 5 or content.decode("latin-1") not in line


def test_a_key_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path, tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path, tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "no file" in refused(tmp_path, tmp_path / "pipe")


def test_a_key_of_ours_that_was_opened_to_others_is_refused(tmp_path: Path) -> None:
    load_secret_key(tmp_path, None)
    (tmp_path / "secret.key").chmod(0o644)
    assert "secret.key" in refused(tmp_path, None)
