"""Somebody else's hand at the engine: looks, kills and removes what our reconciler believes to be its own.

Docker's API through Docker's own client, so that nothing of ours stands in between.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import docker

from mcpgw.testing.house import House
from reconciler.core.zones import Zone
from tests.engines import PROJECT_LABEL, RealEngine

FOREIGN_LABEL = "not-ours"
API_VERSION = "1.41"  # the oldest that is supported, which Podman speaks too
LOOKS_MAX = 50
LOOK_PAUSE_S = 0.1


class Hand:
    def __init__(self, engine: RealEngine) -> None:
        self._engine = engine
        self._api = docker.APIClient(base_url=engine.url, version=API_VERSION)
        self._foreign: list[str] = []

    def about(self) -> dict[str, Any]:
        """What the engine says of itself and its machine."""
        found: dict[str, Any] = self._api.info()
        return found

    def containers(self, house: House) -> list[dict[str, Any]]:
        """Every container of the house's project, also dead ones, as the engine lists them."""
        filters = {"label": f"{PROJECT_LABEL}={house.project}"}
        found: list[dict[str, Any]] = self._api.containers(all=True, filters=filters)
        return found

    def ids(self, house: House) -> set[str]:
        return {one["Id"] for one in self.containers(house)}

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.inspect_container(name)
        return found

    def id_of(self, name: str) -> str | None:
        """The container of that name; None where there is none."""
        for _ in range(LOOKS_MAX):
            try:
                return str(self.inspect(name)["Id"])
            except docker.errors.NotFound:
                return None
            except docker.errors.APIError as error:  # Podman, of what it is just removing
                if error.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                time.sleep(LOOK_PAUSE_S)
        raise AssertionError(f"the engine does not say whether there is a {name}")

    def remove(self, name: str) -> None:
        """`docker rm -f`."""
        self._api.remove_container(name, force=True)

    def kill(self, name: str) -> None:
        self._api.kill(name)

    def say(self, name: str, text: str) -> None:
        """Print in the workload's place: on the standard output of what runs in the container."""
        script = 'printf "%s\\n" "$1" > /proc/1/fd/1'
        made = self._api.exec_create(name, ["/bin/sh", "-c", script, "sh", text])
        self._api.exec_start(made["Id"])
        assert self._api.exec_inspect(made["Id"])["ExitCode"] == 0

    def put_foreign(self, name: str, **more: Any) -> str:
        """A running container of somebody else's; its id."""
        return self.put(name, {FOREIGN_LABEL: name}, **more)

    def put(self, name: str, labels: dict[str, str], **more: Any) -> str:
        """A running container with such labels, which is gone after the tests; its id."""
        image = self._engine.image if self._engine.name == "docker" else f"localhost/{self._engine.image}"
        made = self._api.create_container(
            image,
            entrypoint=["sleep"],
            command=["3600"],
            name=name,
            labels=labels,
            host_config=self._api.create_host_config(network_mode="none", init=True),
            **more,
        )
        self._foreign.append(made["Id"])
        self._api.start(made["Id"])
        return str(made["Id"])

    def put_foreign_network(self, name: str, subnet: str = "") -> str:
        """Without a subnet it is the engine's to choose one."""
        pools = [docker.types.IPAMPool(subnet=subnet)] if subnet else []
        made = self._api.create_network(
            name, ipam=docker.types.IPAMConfig(pool_configs=pools), labels={FOREIGN_LABEL: name}
        )
        return str(made["Id"])

    def put_own_network(
        self, house: House, zone: Zone, *, internal: bool = False, ip_range: str | None = None
    ) -> None:
        """A network of the project's, as whoever else deploys it makes one: with its label, and peers that
        reach each other. It goes with the house."""
        pool = docker.types.IPAMPool(subnet=str(zone.subnet), iprange=ip_range)
        self._api.create_network(
            zone.network,
            internal=internal,
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            labels={PROJECT_LABEL: house.project},
            options={"com.docker.network.bridge.name": zone.bridge} if self._engine.name == "docker" else {},
        )

    def run(self, name: str, *command: str) -> str:
        """What a command prints that is run in the container."""
        made = self._api.exec_create(name, list(command))
        return bytes(self._api.exec_start(made["Id"])).decode()

    def address(self, name: str, network: str) -> str:
        """The container's address on that network."""
        return str(self.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def has_network(self, name: str) -> bool:
        return any(one["Name"] == name for one in self._api.networks(names=[name]))

    def remove_network(self, network_id: str) -> None:
        self._api.remove_network(network_id)

    def is_running(self, container_id: str) -> bool:
        return bool(self.inspect(container_id)["State"]["Running"])

    def close(self) -> None:
        for container_id in self._foreign:
            if self.id_of(container_id) is not None:
                self.remove(container_id)
        self._api.close()


@contextmanager
def hand_at(engine: RealEngine) -> Iterator[Hand]:
    hand = Hand(engine)
    try:
        yield hand
    finally:
        hand.close()
