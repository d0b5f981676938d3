"""What stands in the store, in the orders that a plan asks for it.

Next: :mod:`state.manifests.conflicts`.
"""

from collections.abc import Iterable

from state.kinds.resource import Resource
from state.manifests.ownership import owning_file

ObjectKey = tuple[str, str]  # kind and name


class Standing:
    """The stored objects of the kinds that people write, those being deleted among them."""

    def __init__(self, stored: Iterable[Resource]) -> None:
        self.objects = tuple(stored)
        self._by_key = {key_of(obj): obj for obj in self.objects}
        self._holders = {(obj.kind, unique): obj for obj in self.objects for unique in obj.unique_keys()}
        self.of_files = tuple(
            obj for obj in self.objects if owning_file(obj) is not None and not obj.metadata.is_deleted
        )
        self.files = frozenset(file_of(obj) for obj in self.of_files)

    def named_like(self, obj: Resource) -> Resource | None:
        return self._by_key.get(key_of(obj))

    def other_holders(self, obj: Resource) -> list[Resource]:
        """Whoever else holds what ``obj`` would have to itself."""
        holders = [self._holders.get((obj.kind, unique)) for unique in obj.unique_keys()]
        return [holder for holder in holders if holder is not None and holder.name != obj.name]

    def count_of(self, file: str) -> int:
        return sum(1 for obj in self.of_files if file_of(obj) == file)


def key_of(obj: Resource) -> ObjectKey:
    return obj.kind, obj.name


def file_of(obj: Resource) -> str:
    """The file of an object that has one."""
    file = owning_file(obj)
    assert file is not None, "only a file's objects are asked for their file"
    return file
