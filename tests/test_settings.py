"""Settings: what is read, what is refused in which line, what is never shown; and env.template stays true."""

import os
import re
import stat
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from reconciler.settings import EPHEMERAL_FIRST_DEFAULT, ReconcilerSettings, ephemeral_first
from state.setting_values import HostPort, PortRange
from state.settings import (
    SettingsError,
    SharedSettings,
    load_settings,
    manifest_variables,
    near_misses,
    setting_names,
    usable_directory,
)

ROOT = Path(__file__).parents[1]
CLASSES = (GatewaySettings, ReconcilerSettings)
PASSWORD = "correct-horse-battery"


@pytest.mark.parametrize("cls", CLASSES)
def test_nothing_has_to_be_set(cls: type[SharedSettings]) -> None:
    settings = load_settings(cls, {})
    assert settings.container_project_name == "mcpgw"
    assert settings.gateway_origin == "http://localhost:9000"
    assert settings.state_dir == Path.cwd() / "var" / "state"
    assert settings.store_url.get_secret_value() == f"sqlite:///{settings.state_dir}/state.db"


def test_each_process_has_its_own_private_port() -> None:
    gateway, reconciler = load_settings(GatewaySettings, {}), load_settings(ReconcilerSettings, {})
    binds = [gateway.gateway_bind, gateway.gateway_private_bind, reconciler.reconciler_private_bind]
    assert [str(bind) for bind in binds] == ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9100"]
    assert all(bind.is_loopback for bind in binds)


def test_the_store_is_in_the_state_dir_unless_set() -> None:
    settings = load_settings(GatewaySettings, {"STATE_DIR": "/srv/state"})
    assert settings.store_url.get_secret_value() == "sqlite:////srv/state/state.db"
    other = load_settings(GatewaySettings, {"STORE_URL": "postgresql://a@b/c"})
    assert other.store_url.get_secret_value() == "postgresql://a@b/c"


def test_neither_process_reads_what_only_the_other_may_know() -> None:
    environ = {"GATEWAY_BIND": "127.0.0.1:9002", "DOCKER_HOST": "unix:///run/docker.sock"}
    assert not hasattr(load_settings(ReconcilerSettings, environ), "gateway_bind")
    assert not hasattr(load_settings(GatewaySettings, environ), "docker_host")


@dataclass(frozen=True)
class Read:
    because: str
    name: str
    written: str
    value: object


READ = [
    Read("three octets are a /24", "CONTAINER_SUBNET_PREFIX", "10.77.1", IPv4Network("10.77.1.0/24")),
    Read("a CIDR is itself", "CONTAINER_SUBNET_PREFIX", "172.20.0.0/16", IPv4Network("172.20.0.0/16")),
    Read("a bind", "RECONCILER_PRIVATE_BIND", "0.0.0.0:80", HostPort("0.0.0.0", 80)),
    Read("a bind of IPv6", "RECONCILER_PRIVATE_BIND", "[::1]:80", HostPort("::1", 80)),
    Read("ports", "CONTAINER_PORT_RANGE", "22000 - 22999", PortRange(22000, 22999)),
    Read("a list", "CEILING_IMAGES", "a:*, b:1 ,", ("a:*", "b:1")),
    Read("a size", "CEILING_MEMORY", "512Mi", 512 << 20),
    Read("an engine in capitals", "CONTAINER_ENGINE", "Podman", "podman"),
    Read("a level in capitals", "LOG_LEVEL", "DEBUG", "debug"),
    Read("an origin with a slash", "GATEWAY_ORIGIN", "https://mcp.example.com/", "https://mcp.example.com"),
    Read("an origin in capitals", "GATEWAY_ORIGIN", "HTTPS://MCP.Example.com:443", "https://mcp.example.com"),
    Read("an origin with a port", "GATEWAY_ORIGIN", "http://localhost:9123", "http://localhost:9123"),
    Read("a wildcard is its domain", "WORKLOAD_DOMAIN", "*.Homes.example.net.", "homes.example.net"),
    Read("a home directory", "HOST_DATA_DIR", "~/homes", Path.home() / "homes"),
    Read("a relative path", "HOST_DATA_DIR", "./homes", Path.cwd() / "homes"),
    Read("an empty value is none", "CONTAINER_ENGINE", "", "docker"),
    Read("blanks are no value", "CONTAINER_ENGINE", "  ", "docker"),
]


@pytest.mark.parametrize("case", READ, ids=[case.because for case in READ])
def test_is_read(case: Read) -> None:
    settings = load_settings(ReconcilerSettings, {case.name: case.written})
    assert getattr(settings, case.name.lower()) == case.value


@dataclass(frozen=True)
class Wrong:
    name: str
    written: str
    mend: str
    cls: type[SharedSettings] = ReconcilerSettings


WRONG = [
    Wrong("CONTAINER_ENGINE", "lxc", "'docker' or 'podman'"),
    Wrong("CONTAINER_PROJECT_NAME", "My Project", "DNS label"),
    Wrong("CONTAINER_PROJECT_NAME", "p" * 33, "at most 32"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.211", "10.211.7"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.211.700", "10.211.7"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.211.7.1/24", "10.211.7"),
    Wrong("CONTAINER_SUBNET_PREFIX", "8.8.8", "192.168.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "127.0.0", "192.168.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.0.0.0/8", "/16 to /27"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.0.0.0/30", "/16 to /27"),
    Wrong("CONTAINER_PORT_RANGE", "21000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "28999-21000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "80-1000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "21000-65535", "let it end below"),
    Wrong("CONTAINER_ADDRESSING", "bridge", "'publish' or 'network'"),
    Wrong("RECONCILER_PRIVATE_BIND", "9002", "127.0.0.1:9000"),
    Wrong("RECONCILER_PRIVATE_BIND", "127.0.0.1:99999", "127.0.0.1:9000"),
    Wrong("RECONCILER_PRIVATE_BIND", "127.0.0.1:21000", "outside of it"),
    Wrong("DOCKER_HOST", "docker.sock", "unix:///var/run/docker.sock"),
    Wrong("STARTS_AT_ONCE", "2", "greater than 2"),
    Wrong("STARTS_AT_ONCE", "many", "valid integer"),
    Wrong("CEILING_MEMORY", "4 GB", "1Gi"),
    Wrong("CEILING_CPUS", "0", "greater than 0"),
    Wrong("CEILING_PIDS", "1", "or equal to 8"),
    Wrong("CEILING_CONTAINERS", "0", "or equal to 1"),
    Wrong("CEILING_CREATES_PER_MINUTE", "-1", "or equal to 1"),
    Wrong("HOST_DATA_DIR", "~nobody-of-that-name/x", "in full"),
    Wrong("GATEWAY_ORIGIN", "localhost:9000", "https://mcp.example.com"),
    Wrong("GATEWAY_ORIGIN", "https://mcp.example.com/path", "https://mcp.example.com"),
    Wrong("GATEWAY_ORIGIN", "https://mcp.example.com:port", "https://mcp.example.com"),
    Wrong("WORKLOAD_DOMAIN", "https://homes.example.net", "homes.example.net"),
    Wrong("LOG_LEVEL", "loud", "'debug'"),
    Wrong("GATEWAY_BIND", "*:9000", "127.0.0.1:9000", GatewaySettings),
    Wrong("GATEWAY_PRIVATE_BIND", "0.0.0.0:9000", "choose another", GatewaySettings),
    Wrong("GATEWAY_WORKERS", "0", "or equal to 1", GatewaySettings),
    Wrong("HOLD_TIMEOUT_S", "forever", "valid number", GatewaySettings),
    Wrong("HOLD_TIMEOUT_S", "inf", "less than or equal to 600", GatewaySettings),
    Wrong("DEFAULT_TEMPLATE", "Demo!", "template's name", GatewaySettings),
]


@pytest.mark.parametrize("case", WRONG, ids=[f"{case.name}={case.written}" for case in WRONG])
def test_is_refused_in_one_line_with_its_name_and_the_mend(case: Wrong) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(case.cls, {case.name: case.written})
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(case.name)
    assert case.mend in line.partition("; ")[2]


def test_every_wrong_setting_has_its_line() -> None:
    environ = {"LOG_LEVEL": "loud", "CONTAINER_ENGINE": "lxc", "STATE_DIR": "~nobody-of-that-name/x"}
    with pytest.raises(SettingsError) as refusal:
        load_settings(ReconcilerSettings, environ)
    names = [line.partition("=")[0] for line in str(refusal.value).splitlines()]
    assert sorted(names) == ["CONTAINER_ENGINE", "LOG_LEVEL", "STATE_DIR"]


def test_a_refused_secret_is_not_shown() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(GatewaySettings, {"STORE_URL": f"mysql://u:{PASSWORD}@h/d"})
    assert "STORE_URL" in str(refusal.value)
    assert PASSWORD not in str(refusal.value)


def test_an_accepted_secret_is_not_shown_either() -> None:
    settings = load_settings(GatewaySettings, {"STORE_URL": f"postgresql://u:{PASSWORD}@h/d"})
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert PASSWORD not in str(manifest_variables(settings))


@given(st.sampled_from(setting_names(*CLASSES)), st.text(max_size=80))
def test_any_value_is_taken_or_refused_by_name(name: str, value: str) -> None:
    for cls in CLASSES:
        try:
            load_settings(cls, {name: value})
        except SettingsError as error:
            assert all(line.startswith(name) and "; " in line for line in str(error).split("\n"))


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "# ours\nCONTAINER_ENGINE=podman\nLOG_LEVEL='debug'\nUNRELATED=1\nexport STARTS_AT_ONCE=3\n"
    )
    settings = load_settings(ReconcilerSettings, {"LOG_LEVEL": "error"}, env_file)
    assert (settings.container_engine, settings.log_level, settings.starts_at_once) == ("podman", "error", 3)


def test_what_was_chosen_for_the_machine_comes_after_both_and_an_empty_line_hides_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / ".env"
    file.write_text("DOCKER_HOST=unix:///of/the/file.sock\nCONTAINER_IMAGE=\n")
    chosen = {"DOCKER_HOST": "unix:///chosen.sock", "CONTAINER_IMAGE": "chosen:1"}
    settings = load_settings(ReconcilerSettings, {}, file, chosen)
    assert (settings.docker_host, settings.container_image) == ("unix:///of/the/file.sock", "chosen:1")
    named = load_settings(ReconcilerSettings, {"CONTAINER_IMAGE": "named:1"}, file, chosen)
    assert named.container_image == "named:1"


def test_a_file_that_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    assert load_settings(ReconcilerSettings, {}, tmp_path / ".env").container_engine == "docker"


@pytest.mark.parametrize("kind", ["binary", "directory"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    env_file = tmp_path / ".env"
    if kind == "binary":
        env_file.write_bytes(b"A=\xff\n")
    else:
        env_file.mkdir()
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load_settings(ReconcilerSettings, {}, env_file)


def test_the_processs_own_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_PROJECT_NAME", "other")
    assert load_settings(ReconcilerSettings).container_project_name == "other"


def test_a_name_misspelt_in_the_file_is_pointed_out(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("CONTAINER_ENGIN=podman\nGATEWAY_ORIGIN=http://localhost:9000\nHTTP_PROXY=x\n")
    (warning,) = near_misses(env_file, setting_names(*CLASSES))
    assert "CONTAINER_ENGIN in" in warning
    assert "did you mean CONTAINER_ENGINE?" in warning


def test_manifests_may_name_settings_that_are_set_and_no_secret() -> None:
    environ = {"STORE_URL": f"postgresql://u:{PASSWORD}@h/d", "CEILING_IMAGES": "a,b"}
    variables = manifest_variables(load_settings(ReconcilerSettings, environ))
    assert variables["CONTAINER_IMAGE"] == "mcp-gateway-demo:latest"
    assert variables["CEILING_IMAGES"] == "a,b"
    assert variables["CONTAINER_PORT_RANGE"] == "21000-28999"
    assert "STORE_URL" not in variables
    assert "WORKLOAD_DOMAIN" not in variables


def test_the_ceiling_allows_the_image_that_is_set_and_the_demo_unless_told_otherwise() -> None:
    settings = load_settings(ReconcilerSettings, {"CONTAINER_IMAGE": "acme/app:1"})
    assert settings.allowed_images == ("acme/app:1", "mcp-gateway-demo", "mcp-gateway-demo:*")
    assert load_settings(ReconcilerSettings, {"CEILING_IMAGES": "x:*"}).allowed_images == ("x:*",)


def test_the_default_ports_lie_below_the_systems_ephemeral_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(ReconcilerSettings, {}).container_port_range.last < ephemeral_first()
    monkeypatch.setattr("reconciler.settings.EPHEMERAL_PORTS_FILE", tmp_path / "missing")
    assert ephemeral_first() == EPHEMERAL_FIRST_DEFAULT
    (tmp_path / "narrow").write_text("28000\t60999\n")
    monkeypatch.setattr("reconciler.settings.EPHEMERAL_PORTS_FILE", tmp_path / "narrow")
    with pytest.raises(SettingsError, match="let it end below 28000"):
        load_settings(ReconcilerSettings, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_only_this_machine_reaches(host: str) -> None:
    assert HostPort(host, 1).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com"])
def test_others_reach(host: str) -> None:
    assert not HostPort(host, 1).is_loopback


def test_a_directory_is_made_where_it_is_missing(tmp_path: Path) -> None:
    made = usable_directory("HOST_DATA_DIR", tmp_path / "a" / "b")
    assert made.is_dir()
    assert list(made.iterdir()) == []


def test_a_directory_gets_its_mode_whatever_the_umask_and_one_that_is_there_keeps_its_own(
    tmp_path: Path,
) -> None:
    before = os.umask(0o077)
    try:
        made = usable_directory("STATE_DIR", tmp_path / "made", mode=0o2770)
        (tmp_path / "there").mkdir(mode=0o700)
        there = usable_directory("STATE_DIR", tmp_path / "there", mode=0o2770)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (made, there)] == [0o2770, 0o700]


def test_a_directory_that_cannot_be_written_is_named_in_one_line(tmp_path: Path) -> None:
    """A file in the way, since root may write into any directory."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as refusal:
        usable_directory("HOST_DATA_DIR", tmp_path / "file" / "homes")
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("HOST_DATA_DIR=")
    assert "; " in line


# env.template

TEMPLATE = (ROOT / "env.template").read_text()
ASSIGNED = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", TEMPLATE, re.MULTILINE)


def test_env_template_names_every_setting_and_nothing_else() -> None:
    names = [name for name, _ in ASSIGNED]
    assert sorted(names) == sorted(setting_names(*CLASSES))


def test_env_template_shows_the_defaults() -> None:
    shown = {name: value for name, value in ASSIGNED if value}
    for cls in CLASSES:
        assert load_settings(cls, shown) == load_settings(cls, {})


def test_env_template_shows_no_default_for_what_has_none() -> None:
    silent = {name for name, value in ASSIGNED if not value}
    for cls in CLASSES:
        settings = load_settings(cls, {})
        for name in silent & {field.upper() for field in cls.model_fields}:
            value = getattr(settings, name.lower())
            assert (
                value in (None, "", ()) or isinstance(value, SecretStr) or settings.state_dir in value.parents
            )


def test_env_template_says_something_of_each_setting() -> None:
    """Settings that stand together share what is said above them."""
    blocks = [block.splitlines() for block in TEMPLATE.split("\n\n")]
    for block in blocks:
        if any(re.match(r"#?[A-Z][A-Z0-9_]*=", line) for line in block):
            assert block[0].startswith("# "), block


def test_env_template_is_a_file_that_is_read(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(re.sub(r"^#(?=[A-Z][A-Z0-9_]*=)", "", TEMPLATE, flags=re.MULTILINE))
    for cls in CLASSES:
        assert load_settings(cls, {}, env_file) == load_settings(cls, {})
    assert near_misses(env_file, setting_names(*CLASSES)) == []
