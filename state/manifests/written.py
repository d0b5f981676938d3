"""What may stand in a manifest's document: the kinds that people write, as they write them.

One model a kind, both for checking and for the JSON Schemas (:mod:`state.manifests.schema`). People give an
object its name and its spec; all other metadata and every status are the store's.
Next: :mod:`state.manifests.parse`.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from state.kinds.access_policy import AccessPolicy, AccessPolicySpec
from state.kinds.app import App, AppSpec
from state.kinds.resource import Metadata, Name, Resource, Shape
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.kinds.user_container import UserContainerSpec, new_user_container
from state.manifests.ownership import by_file


class WrittenMetadata(Shape):
    """The object's name; it is unique within its kind."""

    name: Name


class Written(Shape):
    """A document of a manifest."""

    api_version: Annotated[
        Literal["mcp-gateway/v1"], Field(description="May be left out while there is one version.")
    ] = "mcp-gateway/v1"
    metadata: WrittenMetadata

    def declared_in(self, file: str) -> Resource:
        """The object that the document asks for, as yet unknown to the store."""
        raise NotImplementedError


class WrittenContainerTemplate(Written):
    """What to run for a user, how it lives, and what of it the world may reach."""

    kind: Literal["ContainerTemplate"]
    spec: ContainerTemplateSpec

    def declared_in(self, file: str) -> Resource:
        return ContainerTemplate(metadata=_metadata(self, file), spec=self.spec)


class WrittenUserContainer(Written):
    """That a user has a container of a template; the pair of both is unique."""

    kind: Literal["UserContainer"]
    spec: UserContainerSpec

    def declared_in(self, file: str) -> Resource:
        return new_user_container(self.metadata.name, self.spec, managed_by=by_file(file))


class WrittenApp(Written):
    """A first-party program that acts for its own users, with a key whose hash stands here."""

    kind: Literal["App"]
    spec: AppSpec

    def declared_in(self, file: str) -> Resource:
        return App(metadata=_metadata(self, file), spec=self.spec)


class WrittenAccessPolicy(Written):
    """Who may come in, and as what. Of several, the rules of the one whose name sorts first come first."""

    kind: Literal["AccessPolicy"]
    spec: AccessPolicySpec

    def declared_in(self, file: str) -> Resource:
        return AccessPolicy(metadata=_metadata(self, file), spec=self.spec)


def _metadata(written: Written, file: str) -> Metadata:
    return Metadata(name=written.metadata.name, managed_by=by_file(file))


WRITTEN: Final[dict[str, type[Written]]] = {
    "ContainerTemplate": WrittenContainerTemplate,
    "UserContainer": WrittenUserContainer,
    "App": WrittenApp,
    "AccessPolicy": WrittenAccessPolicy,
}
