"""The JSON Schemas say what the models do, and the files in docs/schemas are what the models say today."""

from pathlib import Path
from typing import Any

import pytest

from state.manifests import schema
from state.manifests.written import WRITTEN

ROOT = Path(__file__).parents[3]


def test_the_files_are_what_the_models_say() -> None:
    found = {path.name: path.read_text() for path in (ROOT / schema.FOLDER).iterdir()}
    assert found == schema.texts(), "write them anew: python -m state.manifests.schema"


def test_they_are_written_where_they_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(schema.texts())
    assert len(capsys.readouterr().out.splitlines()) == len(schema.texts())


@pytest.mark.parametrize("kind", WRITTEN)
def test_people_give_an_object_a_kind_a_name_and_a_spec(kind: str) -> None:
    found = schema.schema_of(kind)
    assert set(found["required"]) == {"kind", "metadata", "spec"}
    assert found["properties"]["kind"]["const"] == kind
    assert found["additionalProperties"] is False


@pytest.mark.parametrize("kind", WRITTEN)
def test_fields_are_in_camel_case(kind: str) -> None:
    names = {name for mapping in _mappings(schema.schema_of(kind)) for name in mapping.get("properties", {})}
    assert "spec" in names
    assert not [name for name in names if "_" in name or name[:1].isupper()]


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_mapping_refuses_fields_that_it_does_not_know(kind: str) -> None:
    mappings = [mapping for mapping in _mappings(schema.schema_of(kind)) if "properties" in mapping]
    assert all(mapping["additionalProperties"] is False for mapping in mappings)


@pytest.mark.parametrize("kind", WRITTEN)
def test_each_field_of_a_spec_is_described(kind: str) -> None:
    spec = schema.subschema(kind, ["spec"])
    described = {
        name: schema.subschema(kind, ["spec", name]).get("description") for name in spec["properties"]
    }
    assert [name for name, description in described.items() if not description] == []


def test_one_schema_takes_any_kind() -> None:
    found = schema.manifest_schema()
    assert [option["$ref"] for option in found["oneOf"]] == [f"#/$defs/{kind}" for kind in WRITTEN]
    references = {mapping["$ref"] for mapping in _mappings(found) if "$ref" in mapping}
    assert {reference.removeprefix("#/$defs/") for reference in references} <= set(found["$defs"])


def test_what_stands_at_a_path_is_found_through_lists_references_and_null() -> None:
    assert schema.subschema("ContainerTemplate", ["spec", "routes", 0, "access"])["enum"] == [
        "owner",
        "link",
        "any",
    ]
    assert "mountPath" in schema.subschema("ContainerTemplate", ["spec", "data"])["properties"]
    assert schema.subschema("UserContainer", ["spec", "overrides", "image"])["type"] == "string"
    assert schema.subschema("App", ["spec", "nothing", 3, "there"]) == {}


def _mappings(node: Any) -> list[dict[str, Any]]:
    match node:
        case dict():
            return [node, *(found for value in node.values() for found in _mappings(value))]
        case list():
            return [found for value in node for found in _mappings(value)]
    return []
