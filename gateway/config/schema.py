"""The JSON Schema of the whole file, for editors: from the same models that read it."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ..devices.model import DeviceConfig, ModelConfig
from ..settings import LinkTables
from ..values import Model
from .folders import LINKS, PORTS, Folder
from .sections import Gateway
from .words import quantity


def schema() -> dict[str, Any]:
    """Of all kinds and modes that there are."""
    sections: Any = {
        "gateway": Gateway,
        "defaults": create_model("Defaults", __base__=Model, links=(LinkTables, None)),
        "ports": dict[str, _any_of(PORTS)],  # type: ignore[misc]
        "links": dict[str, _any_of(LINKS)],  # type: ignore[misc]
        "models": dict[str, ModelConfig],
        "devices": dict[str, DeviceConfig],
    }
    fields: Any = {name: (hint, None) for name, hint in sections.items()}
    file = create_model("File", __base__=Model, **fields)
    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    return draft | file.model_json_schema(schema_generator=_AsInToml)


def _any_of(folder: Folder[Any]) -> Any:
    kinds = reduce(or_, (folder.model(name) for name in folder.names()))
    return Annotated[kinds, Field(discriminator=folder.key)]


class _AsInToml(GenerateJsonSchema):
    """There is no null, and times and sizes are text with a unit."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        default = found.pop("default", None)
        if isinstance(default, int | float) and found.get("type") == "string":
            default = quantity(default, size="KB" in found.get("pattern", ""))
        return (
            found if default in (None, "", []) or isinstance(default, dict) else {**found, "default": default}
        )
