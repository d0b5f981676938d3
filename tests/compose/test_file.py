"""What docker-compose.yml says, as Compose itself reads it: no engine is asked."""

import json
import os
import re
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import GatewaySettings
from mcpgw.bootstrap.compose import ensure_compose
from mcpgw.doctor_compose import SUBNETS
from reconciler.core.container import LABEL_PROJECT
from reconciler.core.zones import services_bridge, zones
from reconciler.engine.networks import DOCKER_BRIDGE_NAME
from reconciler.settings import ReconcilerSettings
from state.settings import SharedSettings, load_settings, setting_names

ROOT = Path(__file__).parents[2]
EVERYTHING = {"gateway", "reconciler", "fence", "tailscale", "edge", "observability"}
# Of no use there: the key is in the state's volume, and no port is published for a container.
NOT_PASSED = {"SECRET_KEY_FILE", "CONTAINER_PORT_RANGE"}
# Where things are in the containers, which is the compose file's to say. Everything else is the operator's.
FIXED = {
    "STATE_DIR",
    "GATEWAY_BIND",
    "GATEWAY_PRIVATE_BIND",
    "RECONCILER_PRIVATE_BIND",
    "CONTAINER_ADDRESSING",
    "FENCE_REPORT",
    "DOCKER_HOST",
    "PODMAN_SOCKET_PATH",
}
# Of these, only the place in the container: what they name is mounted there.
MOUNTED = {
    "MANIFESTS_DIR",
    "STORE_URL_FILE",
    "OAUTH_GITHUB_CLIENT_SECRET_FILE",
    "OAUTH_GOOGLE_CLIENT_SECRET_FILE",
    "OAUTH_OIDC_CLIENT_SECRET_FILE",
}
# What compose itself looks into; of all others, any text will do.
PROBES = {
    "CONTAINER_SUBNET_PREFIX": "10.50.1",
    "HOST_DATA_DIR": "/probe/homes",
    "MANIFESTS_DIR": "/probe/manifests",
}


def compose(env: str, *words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / ".env").write_text(env)
    return subprocess.run(
        (ensure_compose(), "--project-directory", ROOT, "--env-file", folder / ".env", *words),
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read(env: str, folder: Path, *profiles: str) -> dict[str, Any]:
    words = [word for one in profiles for word in ("--profile", one)]
    done = compose(env, *words, "config", "--format", "json", folder=folder)
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def read_check(env: str, folder: Path) -> dict[str, Any]:
    done = compose(
        env, "--file", ROOT / "docker-compose.check.yml", "config", "--format", "json", folder=folder
    )
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def services(env: str, folder: Path) -> set[str]:
    return set(compose(env, "config", "--services", folder=folder).stdout.split())


def test_an_empty_env_file_starts_the_three(tmp_path: Path) -> None:
    assert services("", tmp_path) == {"gateway", "reconciler", "fence"}


@pytest.mark.parametrize(
    ("key", "further"), [("#TS_AUTHKEY=", set()), ("TS_AUTHKEY=tskey-auth-x", {"tailscale"})]
)
def test_the_template_starts_the_router_once_there_is_a_key(
    tmp_path: Path, key: str, further: set[str]
) -> None:
    text = (ROOT / "env.template").read_text()
    assert "\n#TS_AUTHKEY=\n" in text
    env = text.replace("\n#TS_AUTHKEY=\n", f"\n{key}\n")
    assert services(env, tmp_path) == {"gateway", "reconciler", "fence"} | further


def test_every_profile_is_good(tmp_path: Path) -> None:
    assert set(read("", tmp_path, "*")["services"]) == EVERYTHING


@pytest.mark.parametrize(
    ("service", "cls"), [("gateway", GatewaySettings), ("reconciler", ReconcilerSettings)]
)
def test_every_setting_reaches_its_process(tmp_path: Path, service: str, cls: type[SharedSettings]) -> None:
    """By its name where it is not set, and with its value where it is."""
    names = set(setting_names(cls)) - NOT_PASSED
    given = {name: PROBES.get(name, f"probe-{name.lower()}") for name in names}
    assert set(read("", tmp_path)["services"][service]["environment"]) == names
    whole = read("".join(f"{name}={value}\n" for name, value in given.items()), tmp_path)
    passed = whole["services"][service]["environment"]
    lost = {name for name, value in given.items() if value not in (passed[name] or "")}
    assert lost == names & (FIXED | MOUNTED)
    sources = {one["file"] for one in whole["secrets"].values()}
    sources |= {one["source"] for one in whole["services"][service]["volumes"]}
    for name in lost & MOUNTED:
        assert any(one.endswith(given[name]) for one in sources), name


def test_what_the_file_says_in_the_operators_place_is_documented() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    assert {name for name in FIXED | NOT_PASSED if f"`{name}`" not in text} == set()


def test_an_operators_router_is_trusted_beside_the_services(tmp_path: Path) -> None:
    env = {"CONTAINER_ADDRESSING": "network"}
    said = {}
    for written in ("", "FENCE_TRUSTED=192.0.2.7, 10.211.7.9\n"):
        one = read(written, tmp_path)["services"]["fence"]["environment"]["FENCE_TRUSTED"]
        said[written] = load_settings(ReconcilerSettings, {**env, "FENCE_TRUSTED": one}).fence_trusted
    ours, both = said.values()
    services = read("", tmp_path, "tailscale")["services"]
    on_zones = {
        on["ipv4_address"]
        for name in ("gateway", "reconciler", "tailscale")
        for network, on in services[name]["networks"].items()
        if network != "services"
    }
    assert sorted(map(str, ours)) == sorted(on_zones)
    assert [*map(str, both)] == [*map(str, ours), "192.0.2.7", "10.211.7.9"]


def test_the_fence_knows_what_the_reconciler_knows_of_networks(tmp_path: Path) -> None:
    whole = read("EGRESS_PROXY=http://10.211.8.5:3128", tmp_path)["services"]
    fence, reconciler = whole["fence"]["environment"], whole["reconciler"]["environment"]
    assert {name: reconciler[name] for name in fence} == fence
    assert {"EGRESS_PROXY", "FENCE_REPORT", "FENCE_TRUSTED", "CONTAINER_SUBNET_PREFIX"} <= set(fence)


def test_only_the_reconciler_has_the_engine_and_only_the_fence_the_hosts_network(tmp_path: Path) -> None:
    whole = read("", tmp_path, "*")["services"]
    with_socket = {
        name
        for name, one in whole.items()
        if any("sock" in volume["target"] for volume in one.get("volumes", ()))
    }
    assert with_socket == {"reconciler"}
    assert {name for name, one in whole.items() if one.get("network_mode") == "host"} == {"fence"}
    assert not any(one.get("privileged") or one.get("pid") for one in whole.values())


@pytest.mark.parametrize(
    "env",
    [
        "",
        "CONTAINER_SUBNET_PREFIX=10.52.0\nPROXY_SUBNET_PREFIX=10.52.4\nCLOSED_SUBNET_PREFIX=10.52.8\nSUBNET_BITS=22",
    ],
)
def test_the_check_knows_what_the_reconciler_knows_and_every_subnet(tmp_path: Path, env: str) -> None:
    env += "\nTS_AUTHKEY=tskey-auth-x\nCOMPOSE_PROFILES=tailscale\nSTORE_URL_FILE=/probe/url\n"
    whole, own = read(env, tmp_path), read_check(env, tmp_path)
    (check,) = own["services"].values()
    reconciler = whole["services"]["reconciler"]
    for part in ("image", "user", "cap_add", "cap_drop", "security_opt", "read_only", "secrets"):
        assert check[part] == reconciler[part], part
    bound = [(one["source"], one["target"]) for one in reconciler["volumes"] if one["type"] == "bind"]
    assert [(one["source"], one["target"]) for one in check["volumes"]] == bound, "and no state"
    assert own["secrets"]["store_url"]["file"] == whole["secrets"]["store_url"]["file"] == "/probe/url"
    subnets = [one["ipam"]["config"][0]["subnet"] for one in whole["networks"].values()]
    assert sorted(check["environment"][setting] for setting in SUBNETS) == sorted(subnets)
    further = dict(check["environment"].items() - reconciler["environment"].items())
    assert (further.pop("TS_AUTHKEY"), further.pop("COMPOSE_PROFILES")) == ("tskey-auth-x", "tailscale")
    assert set(further) == set(SUBNETS) - {"CONTAINER_SUBNET_PREFIX"}


def test_the_check_ends_by_itself_and_needs_no_network(tmp_path: Path) -> None:
    """One that is taken would keep it from saying so. Nor are the stack's containers its orphans."""
    own = read_check("", tmp_path)
    assert "networks" not in own
    assert own["name"] != read("", tmp_path)["name"]
    (check,) = own["services"].values()
    assert check["command"] == ["doctor", "compose"], "it looks, and serves nobody"
    assert (check["network_mode"], check["restart"], check["healthcheck"]["disable"]) == ("host", "no", True)
    assert not check.get("networks")
    assert "ports" not in check


def test_private_ports_and_the_reconciler_are_published_nowhere(tmp_path: Path) -> None:
    whole = read("", tmp_path, "*")["services"]
    published = {
        name: sorted({port["target"] for port in one["ports"]})
        for name, one in whole.items()
        if "ports" in one
    }
    assert published == {"gateway": [9000], "edge": [80, 443], "observability": [9090]}
    assert {port["host_ip"] for port in whole["gateway"]["ports"]} == {"127.0.0.1"}
    assert {port["host_ip"] for port in whole["observability"]["ports"]} == {"127.0.0.1"}


def test_every_service_starts_again_and_its_log_has_an_end(tmp_path: Path) -> None:
    for name, one in read("", tmp_path, "*")["services"].items():
        assert one["restart"] == "unless-stopped", name
        assert one["logging"]["driver"] == "json-file", name
        assert {"max-size", "max-file"} <= set(one["logging"]["options"]), name


def test_every_service_says_how_it_is(tmp_path: Path) -> None:
    for name, one in read("", tmp_path, "*")["services"].items():
        assert one["healthcheck"]["test"][0] == "CMD", f"{name} goes by no shell that its image need not have"
        assert {"interval", "timeout", "retries", "start_period"} <= set(one["healthcheck"]), name
        assert not one.get("depends_on"), f"{name} does not wait for another's health"


def test_what_is_ours_is_read_only_without_capabilities_and_gains_none(tmp_path: Path) -> None:
    whole = read("", tmp_path, "edge", "observability")["services"]
    for name, one in whole.items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in one["security_opt"], name
    assert "user" not in whole["gateway"], "the image's own, which is not root"
    assert "cap_add" not in whole["gateway"]
    assert whole["reconciler"]["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID"]
    assert whole["fence"]["cap_add"] == ["NET_ADMIN"]


def test_the_gateway_has_longer_to_stop_than_it_may_take(tmp_path: Path) -> None:
    longest_s = next(
        one.le for one in GatewaySettings.model_fields["drain_timeout_s"].metadata if hasattr(one, "le")
    )
    assert longest_s < 120
    assert read("", tmp_path)["services"]["gateway"]["stop_grace_period"] == "2m0s"


def test_the_edge_waits_longer_than_a_gateway_may_take_to_stop() -> None:
    [waited_s] = re.findall(r"lb_try_duration (\d+)s", (ROOT / "deploy" / "Caddyfile").read_text())
    [most] = [
        one.le for one in GatewaySettings.model_fields["drain_timeout_s"].metadata if hasattr(one, "le")
    ]
    assert int(waited_s) >= most + 30


def test_the_router_advertises_the_subnet_and_hides_the_tailnet_from_containers(tmp_path: Path) -> None:
    env = "TS_AUTHKEY=tskey-auth-x\nCONTAINER_SUBNET_PREFIX=10.50.1\n"
    env += "PROXY_SUBNET_PREFIX=10.50.2\nCLOSED_SUBNET_PREFIX=10.50.3\n"
    router = read(env, tmp_path, "tailscale")["services"]["tailscale"]
    said = router["environment"]
    assert (said["TS_ROUTES"], said["TS_AUTHKEY"]) == ("10.50.1.0/24", "tskey-auth-x")
    assert "--snat-subnet-routes=true" in said["TS_EXTRA_ARGS"]
    assert said["TS_STATE_DIR"] in {volume["target"] for volume in router["volumes"]}
    assert router["networks"]["containers"]["ipv4_address"] == "10.50.1.4"
    assert set(router["networks"]) == {"containers"}


def test_a_subnet_alone_is_refused_by_the_name_of_what_is_missing(tmp_path: Path) -> None:
    """Compose would take the default for the others, which the reconciler does not."""
    networks = read("CONTAINER_SUBNET_PREFIX=10.50.1", tmp_path)["networks"]
    for name, setting in (("proxy", "PROXY_SUBNET_PREFIX"), ("closed", "CLOSED_SUBNET_PREFIX")):
        (config,) = networks[name]["ipam"]["config"]
        assert config["subnet"].startswith(f"{setting}-is-missing-beside-CONTAINER_SUBNET_PREFIX"), config


def test_room_for_more_than_a_24_holds_is_one_setting(tmp_path: Path) -> None:
    env = "CONTAINER_SUBNET_PREFIX=10.220.0\nPROXY_SUBNET_PREFIX=10.221.0\nCLOSED_SUBNET_PREFIX=10.222.0\n"
    whole = read(env + "SUBNET_BITS=16", tmp_path, "*")
    given = whole["services"]["reconciler"]["environment"]
    said = {name: value for name, value in given.items() if value and not name.endswith("_FILE")}
    settings = load_settings(ReconcilerSettings, said)
    zones = {zone.network: str(zone.subnet) for zone in settings.zones.values()}
    subnets = {one["name"]: one["ipam"]["config"][0]["subnet"] for one in whole["networks"].values()}
    assert zones.items() <= subnets.items()
    assert zones["mcpgw"] == "10.220.0.0/16"
    assert whole["services"]["tailscale"]["environment"]["TS_ROUTES"] == "10.220.0.0/16"


def test_every_address_on_a_network_is_given_so_that_nobody_takes_anothers(tmp_path: Path) -> None:
    taken = [
        on["ipv4_address"]
        for one in read("", tmp_path, "*")["services"].values()
        for on in one.get("networks", {}).values()
    ]
    assert len(set(taken)) == len(taken) == 11


def test_users_networks_are_what_the_reconciler_would_make(tmp_path: Path) -> None:
    networks = read("", tmp_path)["networks"]
    services = networks.pop("services")
    assert services["driver_opts"] == {DOCKER_BRIDGE_NAME: services_bridge("mcpgw")}
    told = {
        (
            one["name"],
            one["ipam"]["config"][0]["subnet"],
            one["driver_opts"][DOCKER_BRIDGE_NAME],
            one.get("internal", False),
        )
        for one in networks.values()
    }
    made = zones("mcpgw", IPv4Network("10.211.7.0/24")).values()
    assert told == {(zone.network, str(zone.subnet), zone.bridge, zone.is_internal) for zone in made}
    assert all(one["labels"] == {LABEL_PROJECT: "mcpgw"} for one in networks.values())


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "github"
    whole = read(f"OAUTH_GITHUB_CLIENT_SECRET_FILE={secret}", tmp_path)
    assert whole["secrets"]["oauth_github_client_secret"]["file"] == str(secret)
    given = whole["services"]["gateway"]
    path = given["environment"]["OAUTH_GITHUB_CLIENT_SECRET_FILE"]
    assert path == "/run/secrets/oauth_github_client_secret"
    assert {one["source"] for one in whole["services"]["reconciler"]["secrets"]} == {"store_url"}
    empty = Path(whole["secrets"]["oauth_google_client_secret"]["file"])
    assert empty.read_bytes() == b"", "an empty one counts as not set"


def test_files_that_are_mounted_are_there(tmp_path: Path) -> None:
    for one in read("", tmp_path, "*")["services"].values():
        for volume in one.get("volumes", ()):
            if volume["type"] == "bind" and re.search(r"/deploy/\w+(\.\w+)?$", volume["source"]):
                assert Path(volume["source"]).exists() or volume["target"].endswith("certificates")
