"""The program `nft` as it may be, but for the real one: missing, hanging, failing, or talking nonsense."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from mcpgw.fence import nft, programs
from mcpgw.fence import resolvers as resolvers_module
from mcpgw.fence.errors import FenceError
from mcpgw.fence.resolvers import resolvers
from mcpgw.fence.ruleset import Ruleset, ruleset
from reconciler.core.zones import zones


@pytest.fixture
def rules() -> Ruleset:
    around = zones("p", IPv4Network("10.211.7.0/24"))
    return ruleset("p", around, trusted=(), proxy=None, resolvers=())


def put(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called nft before the real one."""
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec sleep 60", "nft did not end within 1 s"),
        ("echo 'Error: no such thing' >&2; exit 1", "nft says: Error: no such thing"),
        ("exit 1", "nft says: no reason given"),
        ("exit 0", "nft answers no JSON"),
        ("echo '[]'", "nft answers no JSON"),
        ("echo '{\"nftables\": 1}'", "nft answers no JSON"),
    ],
    ids=["hangs", "fails", "fails silently", "says nothing", "says something else", "says half of it"],
)
def test_a_fence_that_cannot_be_read_is_an_error_in_one_line_and_never_stands(
    rules: Ruleset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    put(tmp_path, script, monkeypatch)
    monkeypatch.setattr(programs, "RUN_S_MAX", 1.0)
    with pytest.raises(FenceError, match=said) as caught:
        nft.fault_of(rules)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(FenceError):
        nft.write(rules)


def test_an_nft_that_takes_the_rules_and_keeps_none_is_found_out(
    rules: Ruleset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "echo '{\"nftables\": []}'", monkeypatch)
    with pytest.raises(FenceError, match="was written and does not stand: table inet mcpgw_p is not there"):
        nft.write(rules)


def test_a_missing_nft_is_named_with_the_command_that_installs_it(
    rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "found", lambda _program: None)
    with pytest.raises(FenceError, match="nft is not installed; run `apt-get install nftables` as root"):
        nft.fault_of(rules)


def test_another_system_than_linux_is_told_where_its_containers_are(
    rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(FenceError, match="virtual machine; run `mcpgw fence` in there"):
        nft.fault_of(rules)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["nameserver 192.168.1.1\nnameserver 9.9.9.9\n"], ["192.168.1.1", "9.9.9.9"]),
        (["nameserver 127.0.0.53\n", "nameserver 10.0.0.2\n"], ["10.0.0.2"]),
        (["nameserver fe80::1%eth0\nsearch lan\nnameserver\nnameserver nonsense\n"], []),
        ([None, "nameserver 10.0.0.2"], ["10.0.0.2"]),
        ([None], []),
        (["nameserver 10.0.0.2\nnameserver 10.0.0.2\n"], ["10.0.0.2"]),
    ],
    ids=["as written", "the stub's own", "nothing of use", "no first file", "no file", "once each"],
)
def test_name_servers_are_those_that_engines_give_to_containers(
    texts: list[str | None], found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{number}.conf" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        if text is not None:
            file.write_text(text)
    monkeypatch.setattr(resolvers_module, "FILES", tuple(files))
    assert list(map(str, resolvers())) == found
