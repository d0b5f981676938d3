"""Settings: what is read, what is refused in which line, what is never shown; and env.template stays true."""

import errno
import os
import re
import stat
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.auth.providers.settings import GitHubSettings, OidcSettings
from gateway.settings import GatewaySettings
from reconciler.core.mounts import AllowedMount
from reconciler.settings import EPHEMERAL_FIRST_DEFAULT, ReconcilerSettings, ephemeral_first
from state.setting_values import ExtraOrigin, HostPort, PortRange, ProxyUrl
from state.settings import (
    SettingsError,
    SharedSettings,
    load_settings,
    manifest_variables,
    near_misses,
    setting_names,
    unwritable,
    usable_directory,
)

ROOT = Path(__file__).parents[1]
CLASSES = (GatewaySettings, ReconcilerSettings)
PASSWORD = "correct-horse-battery"
GITHUB = {"OAUTH_GITHUB_CLIENT_ID": "i", "OAUTH_GITHUB_CLIENT_SECRET": "s"}
ACME = {
    "OAUTH_ACME_ISSUER": "https://sso.acme.example",
    "OAUTH_ACME_CLIENT_ID": "a",
    "OAUTH_ACME_CLIENT_SECRET": "s",
}


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
    Read("a proxy", "EGRESS_PROXY", "http://10.211.8.2:3128/", ProxyUrl(IPv4Address("10.211.8.2"), 3128)),
    Read(
        "addresses",
        "FENCE_TRUSTED",
        "192.168.1.2, 10.1.0.4,192.168.1.9",
        (IPv4Address("192.168.1.2"), IPv4Address("10.1.0.4"), IPv4Address("192.168.1.9")),
    ),
    Read("what is required", "REQUIRE_ISOLATION", "true", True),
    Read("a bind", "RECONCILER_PRIVATE_BIND", "0.0.0.0:80", HostPort("0.0.0.0", 80)),
    Read("a bind of IPv6", "RECONCILER_PRIVATE_BIND", "[::1]:80", HostPort("::1", 80)),
    Read("ports", "CONTAINER_PORT_RANGE", "22000 - 22999", PortRange(22000, 22999)),
    Read("a list", "CEILING_IMAGES", "a:*, b:1 ,", ("a:*", "b:1")),
    Read("a size", "CEILING_MEMORY", "512Mi", 512 << 20),
    Read("registries", "CEILING_REGISTRIES", "GHCR.io/team/, a.b:5000", ("ghcr.io/team", "a.b:5000")),
    Read("Docker Hub by its older name", "CEILING_REGISTRIES", "index.docker.io", ("docker.io",)),
    Read("yes", "CEILING_IMAGES_PINNED", "true", True),
    Read(
        "mounts",
        "CEILING_MOUNTS",
        "/srv/models, /srv/shared:rw,",
        (AllowedMount("/srv/models"), AllowedMount("/srv/shared", writable=True)),
    ),
    Read("architectures", "EMULATED_ARCHITECTURES", "amd64,arm", ("amd64", "arm")),
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


READ_BY_THE_GATEWAY = [
    Read("addresses fold", "ADMIN_EMAILS", "Ann@Example.com, bob@b.c,", ("ann@example.com", "bob@b.c")),
    Read("a letter that only looks like one stays", "ADMIN_EMAILS", "\u212aim@b.c", ("\u212aim@b.c",)),
    Read("pending in capitals", "UNMATCHED_USERS", "Pending", "pending"),
    Read("a key's file", "SECRET_KEY_FILE", "./key", Path.cwd() / "key"),
    Read(
        "origins",
        "CORS_ORIGINS",
        "https://A.example/,http://b.example:80",
        ("https://a.example", "http://b.example"),
    ),
    Read(
        "an extra origin",
        "EXTRA_ORIGINS",
        "https://A.example/, http://b.example:81",
        (ExtraOrigin("https://a.example"), ExtraOrigin("http://b.example:81")),
    ),
    Read(
        "proxies",
        "TRUSTED_PROXIES",
        "10.0.0.5, 10.1.0.0/16,::1",
        (IPv4Network("10.0.0.5/32"), IPv4Network("10.1.0.0/16"), IPv6Network("::1/128")),
    ),
]


@pytest.mark.parametrize("case", READ_BY_THE_GATEWAY, ids=[case.because for case in READ_BY_THE_GATEWAY])
def test_is_read_by_the_gateway(case: Read) -> None:
    settings = load_settings(GatewaySettings, {case.name: case.written})
    assert getattr(settings, case.name.lower()) == case.value


@pytest.mark.parametrize(
    "extra", ["https://gw.example.com", "http://gw.example.com", "https://GW.example.com:443"]
)
def test_an_extra_origin_is_another_than_the_gateways(extra: str) -> None:
    """Both would be asked for by the same Host."""
    environ = {"GATEWAY_ORIGIN": "https://gw.example.com", "EXTRA_ORIGINS": extra}
    with pytest.raises(SettingsError) as refusal:
        load_settings(GatewaySettings, environ)
    (line,) = str(refusal.value).splitlines()
    assert "GATEWAY_ORIGIN=https://gw.example.com" in line
    for other in ("https://gw.example.com:8443", "https://mcp.gw.example.com", "http://localhost"):
        assert load_settings(GatewaySettings, {**environ, "EXTRA_ORIGINS": other}).extra_origins


def test_an_extra_origin_may_have_providers_of_its_own() -> None:
    environ = {**GITHUB, **ACME, "EXTRA_ORIGINS": "https://a.example=github+Acme+github"}
    settings = load_settings(GatewaySettings, environ)
    assert settings.extra_origins == (ExtraOrigin("https://a.example", ("github", "acme")),)
    assert str(settings.extra_origins[0]) == "https://a.example=github+acme"


def test_an_admin_may_be_named_by_one_providers_word() -> None:
    environ = {**GITHUB, **ACME, "ADMIN_EMAILS": "GitHub:Ann@example.com, bob@example.com"}
    settings = load_settings(GatewaySettings, environ)
    assert settings.admin_emails == ("github:ann@example.com", "bob@example.com")


# Providers


def test_github_and_google_need_an_id_and_a_secret() -> None:
    environ = {**GITHUB, "OAUTH_GOOGLE_CLIENT_ID": "g", "OAUTH_GOOGLE_CLIENT_SECRET": "s"}
    providers = load_settings(GatewaySettings, environ).oauth_providers
    github, google = providers["github"], providers["google"]
    assert isinstance(github, GitHubSettings)
    assert (github.url, github.api_url) == ("https://github.com", "https://api.github.com")
    assert isinstance(google, OidcSettings)
    assert (google.issuer, google.label) == ("https://accounts.google.com", "Google")
    assert google.scopes == ("openid", "email", "profile")


@pytest.mark.parametrize(
    ("url", "api_url"),
    [
        ("https://git.example.com/", "https://git.example.com/api/v3"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000/api/v3"),
    ],
)
def test_a_github_of_ones_own_has_its_own_api(url: str, api_url: str) -> None:
    """github.com's API is never shown its tokens."""
    github = load_settings(GatewaySettings, {**GITHUB, "OAUTH_GITHUB_URL": url}).oauth_providers["github"]
    assert isinstance(github, GitHubSettings)
    assert (github.url, github.api_url) == (url.removesuffix("/"), api_url)


def test_any_other_name_is_an_issuer() -> None:
    environ = {
        **ACME,
        "OAUTH_OIDC_ISSUER": "https://sso.example.com/",
        "OAUTH_OIDC_CLIENT_ID": " padded ",
        "OAUTH_OIDC_CLIENT_SECRET": "s",
        "OAUTH_BIG_CORP_2_ISSUER": "http://localhost:4000",
        "OAUTH_BIG_CORP_2_CLIENT_ID": "b",
        "OAUTH_BIG_CORP_2_CLIENT_SECRET": "s",
        "OAUTH_BIG_CORP_2_LABEL": "Big",
        "OAUTH_BIG_CORP_2_SCOPES": "openid  groups",
    }
    providers = load_settings(GatewaySettings, environ).oauth_providers
    assert list(providers) == ["acme", "big-corp-2", "oidc"]
    acme, big, oidc = providers.values()
    assert isinstance(acme, OidcSettings)
    assert isinstance(big, OidcSettings)
    assert isinstance(oidc, OidcSettings)
    assert (acme.label, big.label, oidc.label) == ("Acme", "Big", "Single sign-on")
    assert big.scopes == ("openid", "groups")
    assert (oidc.issuer, oidc.client_id) == ("https://sso.example.com/", "padded"), "kept byte for byte"


@pytest.mark.parametrize(
    "environ",
    [
        {"OAUTH_GITHUB_URL": "https://github.com", "OAUTH_OIDC_SCOPES": "openid email profile"},
        {"OAUTH_GOOGLE_ISSUER": "https://accounts.google.com"},
        {"OAUTH_DEBUG": "1", "OAUTH_CLIENT_ID": "of another program", "oauth_github_client_id": "small"},
        {"OAUTH_PROVIDERS": "github"},
    ],
    ids=["defaults", "Google's default", "another program's", "the field's name"],
)
def test_what_begins_no_family_configures_nobody(environ: dict[str, str]) -> None:
    assert load_settings(GatewaySettings, environ).oauth_providers == {}


@dataclass(frozen=True)
class WrongFamily:
    because: str
    environ: dict[str, str]
    begins: str
    mend: str


WRONG_FAMILIES = [
    WrongFamily(
        "an id alone",
        {"OAUTH_GITHUB_CLIENT_ID": "i"},
        "OAUTH_GITHUB_CLIENT_SECRET is missing beside OAUTH_GITHUB_CLIENT_ID",
        "set it too",
    ),
    WrongFamily(
        "a secret alone",
        {"OAUTH_GOOGLE_CLIENT_SECRET": PASSWORD},
        "OAUTH_GOOGLE_CLIENT_ID is missing beside OAUTH_GOOGLE_CLIENT_SECRET",
        "set it too",
    ),
    WrongFamily(
        "no issuer",
        {"OAUTH_ACME_CLIENT_ID": "i", "OAUTH_ACME_CLIENT_SECRET": PASSWORD},
        "OAUTH_ACME_ISSUER is missing beside OAUTH_ACME_CLIENT_ID and OAUTH_ACME_CLIENT_SECRET",
        "set it too",
    ),
    WrongFamily(
        "a name that is nearly one",
        {"OAUTH_GITHB_CLIENT_ID": "i", "OAUTH_GITHB_CLIENT_SECRET": PASSWORD},
        "OAUTH_GITHB_ISSUER is missing",
        "did you mean OAUTH_GITHUB_CLIENT_ID?",
    ),
    WrongFamily("http", {"OAUTH_ACME_ISSUER": "http://sso.example.com"}, "OAUTH_ACME_ISSUER=", "https://"),
    WrongFamily("no URL", {"OAUTH_ACME_ISSUER": "sso.example.com"}, "OAUTH_ACME_ISSUER=", "https://"),
    WrongFamily("a query", {"OAUTH_ACME_ISSUER": "https://a.b/?c"}, "OAUTH_ACME_ISSUER=", "https://"),
    WrongFamily("a password", {"OAUTH_ACME_ISSUER": "https://u:p@a.b"}, "OAUTH_ACME_ISSUER=", "https://"),
    WrongFamily(
        "a look-alike of loopback",
        {"OAUTH_GITHUB_URL": "http://localhost.example.com"},
        "OAUTH_GITHUB_URL=",
        "loopback",
    ),
    WrongFamily("ftp", {"OAUTH_GITHUB_API_URL": "ftp://api.github.com"}, "OAUTH_GITHUB_API_URL=", "https://"),
    WrongFamily("an id of words", {"OAUTH_ACME_CLIENT_ID": "a b"}, "OAUTH_ACME_CLIENT_ID=", "one word"),
    WrongFamily(
        "a secret of lines",
        {"OAUTH_ACME_CLIENT_SECRET": f"{PASSWORD}\nx"},
        "OAUTH_ACME_CLIENT_SECRET ",
        "one word",
    ),
    WrongFamily("no openid", {"OAUTH_ACME_SCOPES": "email"}, "OAUTH_ACME_SCOPES=", "openid email profile"),
    WrongFamily("a long label", {"OAUTH_ACME_LABEL": "l" * 61}, "OAUTH_ACME_LABEL=", "at most 60"),
    WrongFamily("a reserved name", {"OAUTH_APP_ISSUER": "https://a.b"}, "OAUTH_APP_*=", "another name"),
    WrongFamily("another reserved name", {"OAUTH_ANY_ISSUER": "https://a.b"}, "OAUTH_ANY_*=", "another name"),
    WrongFamily("no name", {"OAUTH_2_ISSUER": "https://a.b"}, "OAUTH_2_*=", "letter first"),
    WrongFamily("a long name", {f"OAUTH_{'A' * 33}_ISSUER": "https://a.b"}, "OAUTH_AAA", "at most 32"),
]


@pytest.mark.parametrize("case", WRONG_FAMILIES, ids=[case.because for case in WRONG_FAMILIES])
def test_a_family_that_is_wrong_is_refused_by_the_variable_that_is(case: WrongFamily) -> None:
    whole = {} if "missing" in case.begins else {**GITHUB, **ACME}
    with pytest.raises(SettingsError) as refusal:
        load_settings(GatewaySettings, {**whole, **case.environ})
    lines = [line for line in str(refusal.value).splitlines() if line.startswith(case.begins)]
    assert lines, str(refusal.value)
    assert case.mend in lines[0].partition("; ")[2]
    assert PASSWORD not in str(refusal.value)


def test_a_providers_secret_is_shown_nowhere() -> None:
    environ = {**ACME, "OAUTH_ACME_CLIENT_SECRET": PASSWORD}
    settings = load_settings(GatewaySettings, environ)
    assert settings.oauth_providers["acme"].client_secret.get_secret_value() == PASSWORD
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump_json()} {settings.model_dump()}"
    variables = manifest_variables(settings)
    assert PASSWORD not in str(variables)
    assert not any(name.startswith("OAUTH") for name in variables)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("OAUTH_GITHUB_CLIENT_SECERT", "OAUTH_GITHUB_CLIENT_SECRET"),
        ("OAUTH_GOOGLE_CLIENTID", "OAUTH_GOOGLE_CLIENT_ID"),
        ("OAUTH_OIDC_ISUER", "OAUTH_OIDC_ISSUER"),
        ("OAUTH_ACME_ISUER", "OAUTH_ACME_ISSUER"),
        ("ADMIN_EMAIL", "ADMIN_EMAILS"),
    ],
)
def test_a_providers_name_misspelt_in_the_file_is_pointed_out(
    tmp_path: Path, written: str, meant: str
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"{written}=x\nOAUTH_ACME_CLIENT_ID=i\nOAUTH_ACME_CLIENT_SECRET=s\n")
    (warning,) = near_misses(env_file, setting_names(*CLASSES))
    assert warning == f"{written} in {env_file} is not read; did you mean {meant}?"


def test_a_family_of_ones_own_name_is_no_misspelling(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}=x\n" for name in (*ACME, "OAUTH_ACME_LABEL", "OAUTH_ACME_SCOPES")))
    assert near_misses(env_file, setting_names(*CLASSES)) == []


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
    Wrong("CONTAINER_SUBNET_PREFIX", "198.18.0.0/16", "192.168.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "255.255.255", "192.168.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "192.168.0.0/16", "take one like 10.211.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "192.168.128.0/17", "take one like 10.211.0.0/16"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.0.0.0/8", "/16 to /27"),
    Wrong("CONTAINER_SUBNET_PREFIX", "10.0.0.0/30", "/16 to /27"),
    Wrong("EGRESS_PROXY", "10.211.8.2:3128", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://proxy.example:3128", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://me:secret@10.211.8.2:3128", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://10.211.8.2", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://10.211.8.2:0", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://10.211.8.900:3128", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "https://10.211.8.2:3128", "http://10.211.8.9:3128"),
    Wrong("EGRESS_PROXY", "http://10.211.8.1:3128", "from 10.211.8.2 to 10.211.8.10"),
    Wrong("EGRESS_PROXY", "http://10.211.8.11:3128", "from 10.211.8.2 to 10.211.8.10"),
    Wrong("EGRESS_PROXY", "http://10.211.7.2:3128", "from 10.211.8.2 to 10.211.8.10"),
    Wrong("FENCE_TRUSTED", "gateway", "10.211.7.2,10.211.7.4"),
    Wrong("FENCE_TRUSTED", "10.211.7.0/28", "10.211.7.2,10.211.7.4"),
    Wrong("FENCE_TRUSTED", "192.168.1.9,10.211.7.4", "CONTAINER_ADDRESSING=network"),
    Wrong("FENCE_TRUSTED", "10.211.9.200", "from 10.211.9.2 to 10.211.9.10"),
    Wrong("REQUIRE_ISOLATION", "perhaps", "valid boolean"),
    Wrong("CONTAINER_PORT_RANGE", "21000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "28999-21000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "80-1000", "21000-28999"),
    Wrong("CONTAINER_PORT_RANGE", "21000-65535", "let it end below"),
    Wrong("CONTAINER_ADDRESSING", "bridge", "'publish' or 'network'"),
    Wrong("RECONCILER_PRIVATE_BIND", "9002", "127.0.0.1:9000"),
    Wrong("RECONCILER_PRIVATE_BIND", "127.0.0.1:99999", "127.0.0.1:9000"),
    Wrong("RECONCILER_PRIVATE_BIND", "127.0.0.1:21000", "outside of it"),
    Wrong("DOCKER_HOST", "docker.sock", "unix:///var/run/docker.sock"),
    Wrong("PODMAN_SOCKET_PATH", "podman.sock", "unix:///run/podman/podman.sock"),
    Wrong("STARTS_AT_ONCE", "2", "greater than 2"),
    Wrong("STARTS_AT_ONCE", "many", "valid integer"),
    Wrong("CEILING_MEMORY", "4 GB", "1Gi"),
    Wrong("CEILING_CPUS", "0", "greater than 0"),
    Wrong("CEILING_REGISTRIES", "https://ghcr.io", "write ghcr.io"),
    Wrong("CEILING_REGISTRIES", "me@ghcr.io", "write ghcr.io"),
    Wrong("CEILING_REGISTRIES", "ghcr.io/Team", "write ghcr.io"),
    Wrong("CEILING_REGISTRIES", "ghcr.io/*", "write ghcr.io"),
    Wrong("CEILING_IMAGES_PINNED", "perhaps", "valid boolean"),
    Wrong("CEILING_MOUNTS", "srv/models", "write it like /srv/models"),
    Wrong("CEILING_MOUNTS", "/", "write it like /srv/models"),
    Wrong("CEILING_MOUNTS", "/srv/../etc", "write it like /srv/models"),
    Wrong("CEILING_MOUNTS", "/srv/models:ro", "write it like /srv/models"),
    Wrong("CEILING_DISK", "much", "1Gi"),
    Wrong("CEILING_DISK_FREE_MIN", "-1", "1Gi"),
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
    Wrong("ADMIN_EMAILS", "ann@example.com, bob", "ann@example.com,bob@example.com", GatewaySettings),
    Wrong("ADMIN_EMAILS", "ann@@example.com", "ann@example.com,bob@example.com", GatewaySettings),
    Wrong("ADMIN_EMAILS", "git hub:ann@example.com", "google:ann@example.com", GatewaySettings),
    Wrong("ADMIN_EMAILS", ":ann@example.com", "google:ann@example.com", GatewaySettings),
    Wrong("ADMIN_EMAILS", "github:ann", "google:ann@example.com", GatewaySettings),
    Wrong("ADMIN_EMAILS", "any:ann@example.com", "OAUTH_", GatewaySettings),
    Wrong("ADMIN_EMAILS", "github:ann@example.com", "OAUTH_", GatewaySettings),
    Wrong("UNMATCHED_USERS", "allow", "'refuse' or 'pending'", GatewaySettings),
    Wrong("SECRET_KEY_FILE", "~nobody-of-that-name/key", "in full", GatewaySettings),
    Wrong("CORS_ORIGINS", "https://a.example, *", "https://mcp.example.com", GatewaySettings),
    Wrong("CORS_ORIGINS", "https://a.example/path", "https://mcp.example.com", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "mcp.example.org", "https://mcp.example.com", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://a.example=", "origin=github+google", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://a.example=git hub", "origin=github+google", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://a.example,https://A.example:443", "each once", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "http://localhost:9000/", "leave it out", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://a.example,http://127.0.0.1:9000", "leave it out", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "http://[::1]:9000", "leave it out", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://localhost:9000", "leave it out", GatewaySettings),
    Wrong("EXTRA_ORIGINS", "https://a.example=github", "OAUTH_", GatewaySettings),
    Wrong("TRUSTED_PROXIES", "proxy.example", "10.0.0.0/24", GatewaySettings),
    Wrong("TRUSTED_PROXIES", "10.0.0.1/24", "10.0.0.0/24", GatewaySettings),
    Wrong("TRUSTED_PROXIES", "0.0.0.0/0", "own addresses", GatewaySettings),
    Wrong("TRUSTED_PROXIES", "::/0", "own addresses", GatewaySettings),
]


@pytest.mark.parametrize("case", WRONG, ids=[f"{case.name}={case.written}" for case in WRONG])
def test_is_refused_in_one_line_with_its_name_and_the_mend(case: Wrong) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(case.cls, {case.name: case.written})
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(case.name)
    assert case.mend in line.partition("; ")[2]


@pytest.mark.parametrize(
    ("origin", "domain", "is_refused"),
    [
        ("http://gw.example.com", "homes.gw.example.com", True),
        ("http://gw.example.com:9000", "homes.example.com", True),
        ("http://gw.example.com", "example.com", True),
        ("https://gw.example.com", "homes.gw.example.com", False),
        ("http://gw.example.com", "homes.example.net", False),
        ("http://localhost:9000", "homes.localhost", False),
        ("http://10.0.0.1:9000", "homes.example.com", False),
        ("http://gw.example.com", "", False),
    ],
)
def test_over_http_no_page_of_a_container_is_of_the_gateways_site(
    origin: str, domain: str, is_refused: bool
) -> None:
    environ = {"GATEWAY_ORIGIN": origin, "WORKLOAD_DOMAIN": domain}
    if not is_refused:
        assert load_settings(GatewaySettings, environ).gateway_origin == origin
        return
    with pytest.raises(SettingsError, match=r"^WORKLOAD_DOMAIN.*; use https, or a domain apart$"):
        load_settings(GatewaySettings, environ)


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
            for line in str(error).split("\n"):
                assert line.startswith(name) or f"is missing beside {name}; " in line
                assert "; " in line


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


@pytest.mark.parametrize(
    "line", ["REQUIRE_ISOLATION: true", 'LOG_LEVEL="debug', "LOG_LEVEL='debug", "= x", "export A B=c"]
)
def test_a_line_that_cannot_be_read_is_told_and_not_taken_for_nothing(tmp_path: Path, line: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"# ours\nCONTAINER_ENGINE=podman\n\n\n{line}\n")
    with pytest.raises(SettingsError, match=r"\.env, line 5, cannot be read; write NAME=value"):
        load_settings(ReconcilerSettings, {}, env_file)


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
    assert variables["CONTAINER_IMAGE"] == "ghcr.io/mcp-getgather/mcp-getgather:latest"
    assert variables["DEMO_IMAGE"] == "mcp-gateway-demo:latest"
    assert variables["CEILING_IMAGES"] == "a,b"
    assert variables["CONTAINER_PORT_RANGE"] == "21000-28999"
    assert "STORE_URL" not in variables
    assert "WORKLOAD_DOMAIN" not in variables


def test_the_ceiling_allows_the_image_that_is_set_and_the_demo_unless_told_otherwise() -> None:
    settings = load_settings(ReconcilerSettings, {"CONTAINER_IMAGE": "acme/app:1", "DEMO_IMAGE": "own:2"})
    assert settings.allowed_images == ("acme/app:1", "own:2", "mcp-gateway-demo", "mcp-gateway-demo:*")
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


@pytest.mark.parametrize(
    ("ephemeral", "mend"),
    [
        ("10000\t65535", "let it end below 10000"),
        ("1026\t65535", "let it end below 1026"),
        ("1025\t65535", 'sysctl -w net.ipv4.ip_local_port_range="32768 60999"'),
        ("1024\t65535", "set CONTAINER_ADDRESSING=network"),
    ],
)
def test_ports_that_are_ephemeral_are_refused_only_where_they_would_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ephemeral: str, mend: str
) -> None:
    """A host may have made nearly all of its ports ephemeral, and the fence of compose sees its host's."""
    (tmp_path / "ephemeral").write_text(f"{ephemeral}\n")
    monkeypatch.setattr("reconciler.settings.EPHEMERAL_PORTS_FILE", tmp_path / "ephemeral")
    with pytest.raises(SettingsError) as refusal:
        load_settings(ReconcilerSettings, {})
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("CONTAINER_PORT_RANGE reaches into the system's ephemeral ports")
    assert mend in line
    load_settings(ReconcilerSettings, {"CONTAINER_ADDRESSING": "network"})


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


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EACCES, "make it writable for this user"),
        (errno.EROFS, "make it writable for this user"),
    ],
)
def test_why_a_directory_cannot_be_written_decides_the_mend(number: int, mend: str) -> None:
    line = str(unwritable("STATE_DIR", Path("/full"), OSError(number, "no")))
    assert line == f'STATE_DIR="/full" cannot be written (no); {mend}, or name another directory'


# env.template

TEMPLATE = (ROOT / "env.template").read_text()
ASSIGNED = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", TEMPLATE, re.MULTILINE)


COMPOSED = {
    *re.findall(r"\$\{([A-Z][A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()),
    "COMPOSE_PROFILES",
}
"""What docker-compose.yml reads, or Compose itself."""


def test_env_template_names_every_setting_and_nothing_else() -> None:
    names = [name for name, _ in ASSIGNED]
    assert sorted(names) == sorted({*setting_names(*CLASSES), *COMPOSED})


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


# Secrets in files


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret, url = tmp_path / "secret", tmp_path / "url"
    secret.write_text(f"  {PASSWORD}\n")
    url.write_text("postgresql://a@b/c\n")
    environ = {name: value for name, value in ACME.items() if not name.endswith("SECRET")}
    environ |= {"OAUTH_ACME_CLIENT_SECRET_FILE": str(secret), "STORE_URL_FILE": str(url)}
    settings = load_settings(GatewaySettings, environ)
    assert settings.oauth_providers["acme"].client_secret.get_secret_value() == PASSWORD
    assert settings.store_url.get_secret_value() == "postgresql://a@b/c"
    assert PASSWORD not in f"{settings!r} {settings.model_dump()}"


def test_an_empty_file_of_a_secret_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    environ = {**GITHUB, "OAUTH_GITHUB_CLIENT_SECRET_FILE": str(tmp_path / "empty")}
    assert load_settings(GatewaySettings, environ) == load_settings(GatewaySettings, GITHUB)


@pytest.mark.parametrize("kind", ["absent", "directory", "binary", "both", "pipe"])
def test_a_file_of_a_secret_that_is_none_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret"
    match kind:
        case "directory":
            path.mkdir()
        case "binary":
            path.write_bytes(b"\xff\xfe")
        case "both":
            path.write_text(PASSWORD)
        case "pipe":
            os.mkfifo(path)
    environ = {"OAUTH_GITHUB_CLIENT_SECRET_FILE": str(path)} | (GITHUB if kind == "both" else {})
    if kind == "pipe":
        assert load_settings(GatewaySettings, environ).oauth_providers == {}, "nobody writes: it is empty"
        return
    with pytest.raises(SettingsError) as refusal:
        load_settings(GatewaySettings, environ)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("OAUTH_GITHUB_CLIENT_SECRET_FILE")
    assert "; " in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    ("trusted", "kept"),
    [
        ("10.211.7.2,10.211.7.11", "from 10.211.7.2 to 10.211.7.10"),
        ("10.211.9.200", "from 10.211.9.2 to 10.211.9.10"),
    ],
)
def test_where_addresses_are_ours_to_give_those_that_are_kept_may_be_trusted(trusted: str, kept: str) -> None:
    network = {"CONTAINER_ADDRESSING": "network"}
    with pytest.raises(SettingsError, match=f"FENCE_TRUSTED holds .*; trust addresses {kept}"):
        load_settings(ReconcilerSettings, {**network, "FENCE_TRUSTED": trusted})
    firsts = {**network, "FENCE_TRUSTED": "10.211.7.2,10.211.8.10,192.168.1.9"}
    assert len(load_settings(ReconcilerSettings, firsts).fence_trusted) == 3
    with pytest.raises(SettingsError, match=r"holds 10\.211\.7\.2 .*CONTAINER_ADDRESSING=publish"):
        load_settings(ReconcilerSettings, {**firsts, "CONTAINER_ADDRESSING": "publish"})


def test_a_proxy_for_containers_has_no_address_that_may_reach_them_all() -> None:
    given = {
        "CONTAINER_ADDRESSING": "network",
        "EGRESS_PROXY": "http://10.211.8.9:3128",
        "FENCE_TRUSTED": "10.211.7.2,10.211.8.9",
    }
    with pytest.raises(SettingsError, match=r"EGRESS_PROXY=\S+ has an address of FENCE_TRUSTED.*another one"):
        load_settings(ReconcilerSettings, given)
    assert load_settings(ReconcilerSettings, {**given, "FENCE_TRUSTED": "10.211.8.2"}).egress_proxy
