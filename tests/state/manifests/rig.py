"""Manifests as tests write them, and the store as they look at it."""

from pathlib import Path
from textwrap import dedent
from typing import TypeVar

from state.kinds.report import ManifestFile, ManifestFileStatus, manifest_file_name
from state.kinds.resource import Condition, ConditionType, Resource
from state.manifests.apply import apply_folder
from state.manifests.folder import FolderReader
from state.manifests.parse import Declared, parse_manifest
from state.manifests.problem import ManifestError, Problem
from state.manifests.verdict import Plan
from state.store.port import Store

R = TypeVar("R", bound=Resource)

ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{key}: &{key} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)

VARIABLES = {"CONTAINER_IMAGE": "demo:1", "GATEWAY_ORIGIN": "http://localhost:9000"}


def template(name: str = "demo", *, image: str = "demo:1") -> str:
    return f"kind: ContainerTemplate\nmetadata: {{name: {name}}}\nspec: {{image: {image!r}, port: 8080}}\n"


def user(name: str, *, of: str | None = None, template: str = "demo", power: str = "Auto") -> str:
    spec = f'{{user: "github:{of or name}", template: {template}, power: {power}}}'
    return f"kind: UserContainer\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def app(name: str, *, key: str = "a", template: str = "demo") -> str:
    spec = f"{{keySha256: {key * 64}, template: {template}}}"
    return f"kind: App\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def policy(*rules: str, name: str = "default") -> str:
    return f"kind: AccessPolicy\nmetadata: {{name: {name}}}\nspec:\n  rules: [{', '.join(rules)}]\n"


def together(*documents: str) -> str:
    return "---\n".join(documents)


def users(count: int, *, start: int = 0) -> str:
    return together(*(user(f"u{number}") for number in range(start, start + count)))


def parsed(text: str | bytes) -> tuple[Declared, ...]:
    raw = text if isinstance(text, bytes) else dedent(text).encode()
    return parse_manifest("team.yaml", raw, VARIABLES)


def problems(text: str | bytes) -> tuple[Problem, ...]:
    """What is wrong with ``text``; a test that finds nothing wrong fails here."""
    try:
        found = parsed(text)
    except ManifestError as error:
        return error.problems
    raise AssertionError(f"nothing is refused: {found}")


class Desk:
    """A folder, the store, and an operator's passes over them."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self._reader = FolderReader(folder, VARIABLES)

    def save(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.yaml").write_text(text)

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.yaml").unlink()

    async def apply(self, *, gone: frozenset[str] | None = None, allow_deletes: bool = False) -> Plan:
        return await apply_folder(self.store, self._reader.read(), gone=gone, allow_deletes=allow_deletes)

    async def all(self, kind: type[R]) -> list[R]:
        return await self.store.read(lambda tx: tx.list(kind))

    async def names(self, kind: type[R]) -> list[str]:
        """Of those that nobody deleted."""
        return [obj.name for obj in await self.all(kind) if not obj.metadata.is_deleted]

    async def get(self, kind: type[R], name: str) -> R:
        found = await self.store.read(lambda tx: tx.get(kind, name))
        assert found is not None, f"{kind.kind} {name} is in the store"
        return found

    async def file_status(self, path: str) -> ManifestFileStatus:
        return (await self.get(ManifestFile, manifest_file_name(path))).status

    async def applied(self, path: str) -> Condition:
        condition = (await self.file_status(path)).condition(ConditionType.APPLIED)
        assert condition is not None, "a report has its condition"
        return condition
