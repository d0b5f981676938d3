"""Whom an object belongs to: a manifest file, or the API. A whole object belongs to one of them.

Decides who may edit; knows neither YAML nor the store. Used by whoever edits for a person, and by
:mod:`state.manifests.plan`.
"""

from state.kinds.resource import Resource
from state.store.errors import ManagedElsewhere

BY_API = "api"
_BY_FILE = "file:"


def by_file(file: str) -> str:
    """The ``managedBy`` of what stands in ``file``."""
    return _BY_FILE + file


def owning_file(obj: Resource) -> str | None:
    """The manifest file that ``obj`` belongs to, or None where it is the API's."""
    managed_by = obj.metadata.managed_by
    return managed_by.removeprefix(_BY_FILE) if managed_by.startswith(_BY_FILE) else None


def refuse_foreign_edit(obj: Resource) -> None:
    """Raises ManagedElsewhere (409 for the API) when ``obj`` is a file's, naming the file."""
    file = owning_file(obj)
    if file is not None:
        raise ManagedElsewhere(
            f"{obj.kind} {obj.name} belongs to the manifest {file}; edit it there", obj.metadata.managed_by
        )
