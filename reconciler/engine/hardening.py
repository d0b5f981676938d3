"""The HostConfig every container gets: what a workload may not do, from the first container on.

Decides limits, privileges, mounts and where a port is bound. Left alone on purpose: the OOM score (a
negative one takes privilege), rlimits (no hard limit may be raised), seccomp and namespaces (the engines'
defaults are the strict ones). Next: :mod:`reconciler.engine.docker`.

Source: CIS Docker Benchmark 1.6, section 5; https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.core.container import ContainerSpec, Mount, Placement
from reconciler.core.errors import TerminalError

NANOS_PER_CPU = 1_000_000_000
TMP_BYTES_MAX = 64 << 20  # counted against the memory limit like any other page
OPEN_TMPFS = f"rw,nosuid,nodev,mode=1777,size={TMP_BYTES_MAX}"
CLOSED_TMPFS = "ro,nosuid,nodev,size=64k"
LOG_FILE_MEGABYTES_MAX = 10
LOG_FILES_MAX = 3
LOOPBACK = "127.0.0.1"
IPV6_SETTINGS = Path("/proc/sys/net/ipv6")

Json = Mapping[str, Any]

DOCKER_LOGS: Json = {
    "Type": "json-file",
    "Config": {"max-size": f"{LOG_FILE_MEGABYTES_MAX}m", "max-file": str(LOG_FILES_MAX)},
}
DOCKER_NETWORK: Json = {
    # Containers of one bridge do not reach each other; the host reaches them all, published or not.
    "com.docker.network.bridge.enable_icc": "false",
    "com.docker.network.bridge.host_binding_ipv4": LOOPBACK,
}
# The operator's proxy is a neighbour, too, and that of everybody: here the fence alone keeps peers apart.
DOCKER_PROXY_NETWORK: Json = {**DOCKER_NETWORK, "com.docker.network.bridge.enable_icc": "true"}
# Podman's bridges of different networks do not reach each other; within one it cannot part containers.
PODMAN_NETWORK: Json = {"isolate": "true"}
PODMAN_LOGS: Json = {"Type": "k8s-file", "Config": {"max-size": f"{LOG_FILE_MEGABYTES_MAX}m"}}


# Whoever may not go out asks nobody there for names, either. Docker's own name server would ask the host's in
# their stead, past every rule, where that is on the host's loopback; this one is the container's own.
# Source: CVE-2024-29018, mended in 23.0.11, 25.0.5 and 26; moby, libnetwork/sandbox_dns_unix.go, setupDNS.
DOCKER_CLOSED: Json = {"Dns": [LOOPBACK]}
PODMAN_CLOSED: Json = {}  # its networks have no name server

# Networks and fence speak of IPv4 alone: no other way out, and none to a neighbour on the same bridge.
IPV6_OFF: Json = {"net.ipv6.conf.all.disable_ipv6": "1"}


def host_config(
    spec: ContainerSpec,
    placement: Placement,
    network: str,
    published: str | None,
    logs: Json,
    sysctls: Json,
    layer_bytes: int = 0,
    opened: tuple[str, ...] = (),
) -> dict[str, Any]:
    """``published`` is the loopback port to bind, "" for any, None for none. ``layer_bytes`` is for what is
    written outside of mounts, 0 for no limit. ``opened`` is what the engine would make writable, without a
    bound, in a root that is read-only."""
    config: dict[str, Any] = {
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.cap_add),
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes,  # equal means: no swap on top
        "NanoCpus": int(spec.cpus * NANOS_PER_CPU),
        "PidsLimit": spec.pids,
        "ShmSize": spec.shm_bytes,
        "ReadonlyRootfs": spec.read_only_root,
        "RestartPolicy": {"Name": "no"},  # the reconciler restarts, with backoff and on record
        "Init": True,  # reaps zombies and passes signals on to a program that is not made to be PID 1
        "LogConfig": logs,
        "Sysctls": dict(sysctls),
        "DnsSearch": ["."],  # the host's search domains are nobody's business inside
        "Mounts": _mounts(spec, placement),
    }
    if spec.read_only_root:
        mounted = {mount["Target"] for mount in config["Mounts"]}
        tmpfs = dict.fromkeys(opened, CLOSED_TMPFS) | {"/tmp": OPEN_TMPFS}  # noqa: S108 — inside
        config["Tmpfs"] = {path: options for path, options in tmpfs.items() if path not in mounted}
    if layer_bytes:
        config["StorageOpt"] = {"size": str(layer_bytes)}
    if spec.runtime:
        config["Runtime"] = spec.runtime
    if published is not None:
        config["PortBindings"] = {f"{spec.port}/tcp": [{"HostIp": LOOPBACK, "HostPort": published}]}
    return config


def sysctls(*, is_here: bool) -> Json:
    """What is set in every container's network. A kernel without IPv6 has nothing to switch off, and no
    container starts that sets what is not there; of another machine's the usual is believed."""
    return IPV6_OFF if not is_here or IPV6_SETTINGS.exists() else {}


def loopback_port(address: str) -> str:
    """``"127.0.0.1:21007"`` → ``"21007"``. Only the loopback will do: the gateway is the one way in."""
    host, _, port = address.rpartition(":")
    if host != LOOPBACK or not port.isdigit():
        raise TerminalError(
            "SpecRefused", f"{address} is not on the loopback: ports are published there only"
        )
    return port


def _mounts(spec: ContainerSpec, placement: Placement) -> list[dict[str, Any]]:
    # Mounts and not Binds: a missing host directory is then an error, and never made by the engine as root.
    mounts = [_of_the_host(one) for one in spec.mounts]
    if spec.data_mount_path and placement.data_path:
        mounts.append({"Type": "bind", "Source": placement.data_path, "Target": spec.data_mount_path})
    return mounts


def _of_the_host(one: Mount) -> dict[str, Any]:
    """What else is mounted below the source stays out: an engine's read-only does not reach in there."""
    return {
        "Type": "bind",
        "Source": one.source,
        "Target": one.target,
        "ReadOnly": one.read_only,
        "BindOptions": {"NonRecursive": True, "Propagation": "rprivate"},
    }
