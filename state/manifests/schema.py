"""JSON Schemas of the kinds that people write, for editors and for naming fields in problems.

``python -m state.manifests.schema`` writes ``docs/schemas/<Kind>.json`` and ``manifest.json`` (any of them).
They come from the models that check manifests, so that an editor and the reconciler say the same.
"""

import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from state.manifests.written import WRITTEN

Schema = dict[str, Any]

FOLDER: Final = Path("docs/schemas")
ANY_KIND: Final = "manifest"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, Schema]:
    """By file name without ``.json``: each kind's schema, and one that takes a document of any kind."""
    each = {kind: {"$schema": _DIALECT, **schema_of(kind)} for kind in WRITTEN}
    return {**each, ANY_KIND: manifest_schema()}


@cache
def schema_of(kind: str) -> Schema:
    """The schema of one kind's documents. Not to be changed by the caller."""
    schema = WRITTEN[kind].model_json_schema(by_alias=True)
    return _without_titles(schema) | {"title": kind}


def subschema(kind: str, path: Iterable[str | int]) -> Schema:
    """The schema of what stands at ``path`` in a document; empty where no schema says anything."""
    root = schema_of(kind)
    here = root
    for part in path:
        here = _step(root, here, part)
    return _followed(root, here)


def _step(root: Schema, here: Schema, part: str | int) -> Schema:
    here = _followed(root, here)
    if isinstance(part, int):
        items: Schema = here.get("items", {})
        return items
    field: Schema | None = here.get("properties", {}).get(part)
    if field is not None:
        return field
    values = here.get("additionalProperties", {})
    return values if isinstance(values, dict) else {}


def _followed(root: Schema, here: Schema) -> Schema:
    """``here`` without its ``$ref`` or a null beside it; its own words win over the target's."""
    options = [option for option in here.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        here = {**options[0], **{key: value for key, value in here.items() if key != "anyOf"}}
    if "$ref" not in here:
        return here
    target: Schema = root["$defs"][here["$ref"].removeprefix("#/$defs/")]
    return _followed(root, {**target, **{key: value for key, value in here.items() if key != "$ref"}})


def manifest_schema() -> Schema:
    """One schema for a whole file: editors check every document of it against this."""
    definitions: Schema = {}
    for kind in WRITTEN:
        schema = dict(schema_of(kind))
        definitions |= schema.pop("$defs", {})
        definitions[kind] = schema
    one_of = [{"$ref": f"#/$defs/{kind}"} for kind in WRITTEN]
    return {"$schema": _DIALECT, "title": "A manifest of mcp-gateway", "oneOf": one_of, "$defs": definitions}


def _without_titles(schema: Schema) -> Schema:
    """pydantic titles every field with its own name, which tells an editor nothing."""

    def cleaned(node: Any, *, names_fields: bool = False) -> Any:
        match node:
            case dict():
                kept = node if names_fields else {k: v for k, v in node.items() if k != "title"}
                return {
                    key: cleaned(value, names_fields=not names_fields and key in ("properties", "$defs"))
                    for key, value in kept.items()
                }
            case list():
                return [cleaned(item) for item in node]
        return node

    clean: Schema = cleaned(schema)
    return clean


def texts() -> dict[str, str]:
    """What ``docs/schemas`` holds, by file name."""
    return {f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas().items()}


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text)
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main()
