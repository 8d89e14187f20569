"""The shipped sample and the schema: both know every key that there is."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from config_kit import ENVIRON, FILLED, SAMPLE, inner_models, read, said

from gateway.config import Gateway, load, schema
from gateway.config.folders import LINKS, PORTS
from gateway.devices.model import DeviceConfig, ModelConfig
from gateway.settings import LinkTables
from gateway.values import Model


def test_the_sample_switches_nothing_on(tmp_path: Path) -> None:
    loaded = load(SAMPLE, {}, hostname="gw")
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert loaded.tree == load(Path(os.devnull), {}, hostname="gw").tree


def test_the_sample_is_good_when_all_of_it_is_switched_on(tmp_path: Path) -> None:
    assert [line for line in said(read(tmp_path, FILLED, ENVIRON)) if "there is no file" not in line] == []


def test_the_first_line_of_the_sample_names_the_schema() -> None:
    lines = SAMPLE.read_text().splitlines()
    assert lines[0] == "#:schema ./gateway.schema.json"
    assert "gatewayctl schema" in lines[1]


def declared(model: type[Model], key: str) -> str:
    """A key by the class that has it first, so that what all ports share need be shown only once."""
    first = [each for each in model.__mro__ if key in getattr(each, "__annotations__", {})][-1]
    return f"{first.__module__}.{first.__name__}.{key}"


def every(model: type[Model]) -> Iterator[str]:
    for key, field in model.model_fields.items():
        yield declared(model, key)
        for inner, _ in inner_models(field.annotation):
            yield from every(inner)


def shown(model: type[Model], table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield declared(model, key)
        for inner, named in inner_models(model.model_fields[key].annotation):
            for one in value.values() if named else [value]:
                if isinstance(one, dict):
                    yield from shown(inner, one)


def test_the_sample_shows_every_key_that_there_is() -> None:
    data = tomllib.loads(FILLED)
    models = [Gateway, ModelConfig, DeviceConfig]
    found = {*shown(Gateway, data["gateway"]), *shown(LinkTables, data["defaults"]["links"])}
    for model, section in ((ModelConfig, "models"), (DeviceConfig, "devices")):
        found.update(*(shown(model, table) for table in data[section].values()))
    for folder, section in ((PORTS, "ports"), (LINKS, "links")):
        models += [folder.model(name) for name in folder.names()]
        found.update(*(shown(folder.model(table[folder.key]), table) for table in data[section].values()))
    assert {key for model in models for key in every(model)} - found == set()


def test_the_sample_says_of_each_value_whether_it_is_the_default() -> None:
    defaults: dict[str, list[Any]] = {}
    for table in schema()["$defs"].values():
        for key, field in table.get("properties", {}).items():
            if "default" in field:
                defaults.setdefault(key, []).append(field["default"])
    checked = 0
    for line in SAMPLE.read_text().splitlines():
        found = re.match(r"#(\w+) = (.+?)\s+# (.*)", line)
        if found and found[1] in defaults and "default" not in found[3] and "needed" not in found[3]:
            assert tomllib.loads(f"x = {found[2]}")["x"] in defaults[found[1]], line
            checked += 1
    assert checked > 20


def refused(value: Any, rule: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """As much of JSON Schema as ours uses."""
    if "$ref" in rule:
        return refused(value, whole["$defs"][rule["$ref"].rsplit("/")[-1]], whole)
    for word in ("anyOf", "oneOf"):
        if word in rule and all(refused(value, one, whole) for one in rule[word]):
            return True
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    types = [rule["type"]] if isinstance(rule.get("type"), str) else rule.get("type", [])
    if types and not any(isinstance(value, kinds[one]) for one in types):
        return True
    if value not in rule.get("enum", [value]) or value != rule.get("const", value):
        return True
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        return True
    if isinstance(value, int | float) and not rule.get("minimum", value) <= value <= rule.get(
        "maximum", value
    ):
        return True
    if isinstance(value, list):
        return any(refused(one, rule.get("items", {}), whole) for one in value)
    return isinstance(value, dict) and refused_table(value, rule, whole)


def refused_table(table: dict[str, Any], rule: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    keys, others = rule.get("properties", {}), rule.get("additionalProperties", {})
    return not set(rule.get("required", ())) <= set(table) or any(
        refused(value, keys[key], whole) if key in keys else others is False or refused(value, others, whole)
        for key, value in table.items()
    )


def test_the_schema_takes_the_sample() -> None:
    whole = json.loads(json.dumps(schema()))
    assert not refused(tomllib.loads(FILLED), whole, whole)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('mode = "modbus-rtu"', 'mode = "modbus"'),
        ('kind = "tcp"', 'kind = "http"'),
        ("baudrate = 115200", "baudrate = 20"),
        ("baudrate = 115200", "baudrat = 115200"),
        ('format = "7E2"', 'format = "9E2"'),
        ('response_timeout = "1s"', "response_timeout = 1"),
        ('max = "4KB"', 'max = "4K"'),
        ("retries = 1 ", 'retries = "1" '),
        ('type = "float32", unit = "V"', 'type = "float", unit = "V"'),
        ("unit_id = 1 ", "unit_id = 0 "),
    ],
)
def test_the_schema_refuses_what_the_daemon_refuses(good: str, bad: str, tmp_path: Path) -> None:
    whole = schema()
    assert good in FILLED
    text = FILLED.replace(good, bad)
    assert read(tmp_path, text, ENVIRON).tree is None
    assert refused(tomllib.loads(text), whole, whole)


def test_the_schema_has_a_default_for_times_as_they_are_written() -> None:
    ports = schema()["$defs"]["gateway__ports__modbus_rtu__Config"]["properties"]
    assert (ports["request_timeout"]["default"], ports["turnaround_delay"]["default"]) == ("2.5s", "100ms")
