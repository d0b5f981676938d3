"""Only what this installation made is ours: two checkouts of one project name do not collect each other.

The installation is a random name kept beside the data, and a label of every container. A container of
another one is shown as foreign: its name is respected, and nothing is ever done to it.
"""

from dataclasses import replace

from reconciler.core.container import ContainerSpec, Identity, ObservedContainer, Placement
from reconciler.engine.port import Engine
from reconciler.engine.wrapped import WrappedEngine


class OwnInstallation(WrappedEngine):
    """``inner``, seen by the installation of that name."""

    def __init__(self, inner: Engine, installation: str) -> None:
        super().__init__(inner)
        self._installation = installation

    async def list(self) -> list[ObservedContainer]:
        return [one for one in await super().list() if not self._is_neighbours(one)]

    async def inspect(self, container_name: str) -> ObservedContainer | None:
        seen = await super().inspect(container_name)
        return replace(seen, identity=None) if seen is not None and self._is_neighbours(seen) else seen

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        return await super().create(spec, placement, replace(identity, installation=self._installation))

    def _is_neighbours(self, container: ObservedContainer) -> bool:
        return container.identity is not None and container.identity.installation != self._installation
