"""The HostConfig every container gets: what a workload may not do, from the first container on.

Decides limits, privileges, mounts and where a port is bound. Left alone on purpose: the OOM score (a
negative one takes privilege), rlimits (no hard limit may be raised), seccomp and namespaces (the engines'
defaults are the strict ones). Next: :mod:`reconciler.engine.docker`.

Source: CIS Docker Benchmark 1.6, section 5; https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from collections.abc import Mapping
from typing import Any

from reconciler.core.container import ContainerSpec, Placement
from reconciler.core.errors import TerminalError

NANOS_PER_CPU = 1_000_000_000
TMP_BYTES_MAX = 64 << 20  # counted against the memory limit like any other page
LOG_FILE_MEGABYTES_MAX = 10
LOG_FILES_MAX = 3
LOOPBACK = "127.0.0.1"

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
# Podman's bridges of different networks do not reach each other; within one it cannot part containers.
PODMAN_NETWORK: Json = {"isolate": "true"}
PODMAN_LOGS: Json = {"Type": "k8s-file", "Config": {"max-size": f"{LOG_FILE_MEGABYTES_MAX}m"}}


def host_config(
    spec: ContainerSpec, placement: Placement, network: str, published: str | None, logs: Json
) -> dict[str, Any]:
    """``published`` is the loopback port to bind, "" for any, None for none."""
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
        "DnsSearch": ["."],  # the host's search domains are nobody's business inside
        "Mounts": _mounts(spec, placement),
    }
    if spec.read_only_root:
        config["Tmpfs"] = {"/tmp": f"rw,nosuid,nodev,mode=1777,size={TMP_BYTES_MAX}"}  # noqa: S108 — inside
    if spec.runtime:
        config["Runtime"] = spec.runtime
    if published is not None:
        config["PortBindings"] = {f"{spec.port}/tcp": [{"HostIp": LOOPBACK, "HostPort": published}]}
    return config


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
    if not spec.data_mount_path or not placement.data_path:
        return []
    return [{"Type": "bind", "Source": placement.data_path, "Target": spec.data_mount_path}]
