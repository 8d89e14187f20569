"""Devices, models and points as they stand in the file: what is told to the technician, what they become."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.devices.model import DeviceConfig, ModelConfig
from gateway.wire.points import Codec, Table


def device(points: dict[str, Any], **keys: Any) -> DeviceConfig:
    return DeviceConfig.model_validate({"port": "meters", "unit_id": 1, "points": points, **keys})


def model(points: dict[str, Any], **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"points": points, **keys})


def problems(error: pytest.ExceptionInfo[ValidationError]) -> list[tuple[str, str]]:
    found = error.value.errors()
    return [
        (".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ").removeprefix("Input "))
        for one in found
    ]


@pytest.mark.parametrize(
    ("point", "key", "text"),
    [
        ({"unit": "V"}, "", "where is it? write one of coil, discrete_input, holding, input = ADDRESS"),
        ({"holding": 1, "coil": 2}, ".holding", "a point has one address: coil or holding"),
        ({"holding": 65536}, ".holding", "an address is 0 to 65535"),
        (
            {"holding": 400061},
            ".holding",
            "an address is 0 to 65535: manuals write 400061 for 60",
        ),
        (
            {"holding": 65534, "type": "float64"},
            ".holding",
            "float64 takes 4 registers: it would end behind 65535",
        ),
        (
            {"holding": 1, "type": "string(200)"},
            ".holding",
            "string(200) takes 100 registers, but one read may fetch 80 (max_registers)",
        ),
        (
            {"holding": 1, "type": "string"},
            ".type",
            "write string(N), where N is its length in bytes, 1 to 250: string(16)",
        ),
        (
            {"holding": 1, "type": "float"},
            ".type",
            "a type is one of bool int16 uint16 int32 uint32 int64 uint64 float32 float64 string(N)",
        ),
        ({"holding": 1, "type": "bool"}, ".type", "a register has 16 bits: say which one, bit = 0 to 15"),
        ({"coil": 1, "type": "int16"}, ".type", "a coil is one bit: no int16"),
        ({"holding": 1, "bit": 20}, ".bit", "should be less than or equal to 15"),
        (
            {"holding": 1, "type": "float32", "bit": 3},
            ".bit",
            "bit does not go with float32: it is one of the 16 bits of a register",
        ),
        ({"coil": 1, "bit": 3}, ".bit", "bit does not go with a coil: it is one bit"),
        ({"coil": 1, "scale": 0.1}, ".scale", "scale does not go with a coil: it is one bit"),
        (
            {"holding": 1, "bit": 1, "scale": 0.1},
            ".scale",
            "scale does not go with bit: one bit is no number",
        ),
        ({"holding": 1, "type": "string(4)", "scale": 0.1}, ".scale", "scale does not go with string(4)"),
        ({"holding": 1, "type": "float32", "map": {"0": "off"}}, ".map", "map does not go with float32"),
        (
            {"holding": 1, "map": {"0": "off"}, "decimals": 1},
            ".decimals",
            "decimals does not go with map, which makes a text of the raw value",
        ),
        (
            {"holding": 1, "type": "string(4)", "deadband": 1},
            ".deadband",
            "deadband does not go with string(4)",
        ),
        ({"coil": 1, "deadband": 1}, ".deadband", "deadband does not go with a coil: it is one bit"),
        (
            {"holding": 1, "bit": 1, "deadband": 1},
            ".deadband",
            "deadband does not go with bit: one bit is no number",
        ),
        (
            {"holding": 1, "map": {"0": "off"}, "deadband": 1},
            ".deadband",
            "deadband does not go with map, which makes a text of the raw value",
        ),
        ({"holding": 1, "deadband": -0.1}, ".deadband", "a deadband is 0 or more, in the point's unit"),
        ({"holding": 1, "deadband": True}, ".deadband", "a number, for example 0.01"),
        ({"holding": 1, "scale": 0}, ".scale", "a scale of 0 would make every value the same"),
        ({"holding": 1, "scale": "0.1"}, ".scale", "a number, for example 0.01"),
        ({"holding": 1, "offset": float("nan")}, ".offset", "a number, for example 0.01"),
        (
            {"holding": 1, "map": {"off": "0"}},
            ".map",
            '"off" is no raw value: write whole numbers, { "0" = "off" }',
        ),
        ({"holding": 1, "map": {"65536": "x"}}, ".map", "65536 is no uint16: 0 to 65535"),
        ({"holding": 1, "bit": 1, "map": {"2": "x"}}, ".map", "a bit is 0 or 1, never 2"),
        ({"holding": 1, "invalid": 70000}, ".invalid", "70000 is no uint16: 0 to 65535"),
        ({"holding": 1, "invalid": 1.5}, ".invalid", "1.5 is no uint16: a raw value is a whole number"),
        ({"holding": 1, "invalid": "--"}, ".invalid", "uint16 is never '--'"),
        ({"holding": 1, "type": "string(2)", "invalid": 0}, ".invalid", "string(2) is never 0"),
        ({"holding": 1, "invalid": [True]}, ".invalid", "a number, for example 0.01"),
    ],
)
def test_a_wrong_point_is_named_with_its_place(point: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(ValidationError) as error:
        device({"p": point}, max_registers=80)

    assert problems(error) == [(f"points.p{key}", text)]


def test_all_wrong_points_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as error:
        device({"a": {"coil": 1, "scale": 2, "unit": "V"}, "b": {}, "c": {"input": 0, "colour": "red"}})

    assert [place for place, _ in problems(error)] == ["points.a.scale", "points.b", "points.c.colour"]


def test_a_key_of_a_device_is_unknown_in_a_point() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        device({"p": {"holding": 1, "publish": 1}})


@pytest.mark.parametrize(
    ("point", "key", "text"),
    [
        (
            {"input": 1, "writable": True},
            ".writable",
            "writable does not go with input: that can only be read",
        ),
        (
            {"discrete_input": 1, "writable": True},
            ".writable",
            "writable does not go with discrete_input: that can only be read",
        ),
        (
            {"holding": 1, "min": 5},
            ".min",
            "min limits what may be written: it goes with writable = true",
        ),
        (
            {"holding": 1, "max": 5, "writable": False},
            ".max",
            "max limits what may be written: it goes with writable = true",
        ),
        (
            {"holding": 1, "writable": True, "min": 6, "max": 5},
            ".min",
            "min is more than max: nothing lies between 6 and 5",
        ),
        ({"holding": 1, "writable": True, "min": -1}, ".min", "-1 does not fit uint16"),
        ({"holding": 1, "writable": True, "scale": 0.1, "max": 7000}, ".max", "7000 does not fit uint16"),
        ({"holding": 1, "writable": True, "max": "7"}, ".max", "a number, for example 0.01"),
        ({"coil": 1, "writable": True, "max": 1}, ".max", "max goes with numbers"),
        ({"holding": 1, "bit": 2, "writable": True, "min": 0}, ".min", "min goes with numbers"),
        ({"holding": 1, "map": {"0": "off"}, "writable": True, "min": 0}, ".min", "min goes with numbers"),
        ({"holding": 1, "type": "string(4)", "writable": True, "min": 0}, ".min", "min goes with numbers"),
        (
            {"holding": 1, "type": "string(247)", "writable": True},
            ".type",
            "one write takes string(246) at most",
        ),
        (
            {"holding": 1, "map": {"0": "off", "1": "on", "2": "on"}, "writable": True},
            ".map",
            'which raw value is to be written for "on"? there are 2',
        ),
        ({"holding": 1, "writable": 1}, ".writable", "should be a valid boolean"),
    ],
)
def test_what_cannot_be_written_is_named_with_its_place(point: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(ValidationError) as error:
        device({"p": point})

    assert problems(error) == [(f"points.p{key}", text)]


@pytest.mark.parametrize("name", ["id", "expires"])
def test_a_point_that_can_be_written_has_no_name_that_commands_use(name: str) -> None:
    assert not device({name: {"holding": 1}}).writable
    with pytest.raises(ValidationError) as error:
        device({name: {"holding": 1, "writable": True}})

    text = f'"{name}" has a meaning of its own in commands: choose another name'
    assert problems(error) == [(f"points.{name}", text)]


def test_a_device_has_another_shape_when_it_begins_to_take_commands() -> None:
    read, one, two = (
        device({name: {"coil": place, "writable": place < most} for place, name in enumerate("ab")})
        for most in (0, 1, 2)
    )
    assert read.shape != one.shape
    assert one.shape == two.shape
    assert list(two.writable) == ["a", "b"]


def test_a_point_becomes_its_codec() -> None:
    points = {
        "voltage": {"input": 0, "type": "float32", "byte_order": "CDAB", "decimals": 1, "invalid": -1},
        "status": {"holding": 5, "map": {"0": "off", "0x10": "on"}, "invalid": [0xFFFF, 0xFFFE]},
        "fault": {"holding": 6, "type": "int16", "bit": 15},
        "reading": {"holding": 7, "type": "int16", "scale": 0.1, "offset": -40, "invalid": 0x8000},
        "relay": {"coil": 3},
    }
    codecs = {name: point.codec for name, point in device(points).points.items()}

    assert codecs == {
        "voltage": Codec(type="float32", byte_order="CDAB", decimals=1, invalid=(-1,)),
        "status": Codec(map={0: "off", 16: "on"}, invalid=(0xFFFF, 0xFFFE)),
        "fault": Codec(type="int16", bit=15),
        "reading": Codec(type="int16", scale=0.1, offset=-40, invalid=(-32768,)),
        "relay": Codec(type="bool"),
    }


def test_a_device_has_its_models_points_and_its_own() -> None:
    kind = model({"v": {"input": 0, "type": "float32"}, "e": {"input": 342}}, max_registers=80, max_gap=4)
    whole = device({"e": {"holding": 60}, "r": {"coil": 3}}, model="sdm", max_gap=2).with_model(kind)

    assert {name: (point.table, point.address) for name, point in whole.points.items()} == {
        "v": (Table.INPUT, 0),
        "e": (Table.HOLDING, 60),
        "r": (Table.COIL, 3),
    }
    assert (whole.max_registers, whole.max_gap) == (80, 2)


@pytest.mark.parametrize(
    ("model_base", "device_base", "addresses"),
    [
        ({}, {}, {"theirs": 7, "own": 9}),
        ({"address_base": 1}, {}, {"theirs": 6, "own": 8}),
        ({"address_base": 1}, {"address_base": 0}, {"theirs": 6, "own": 9}),
        ({}, {"address_base": 1}, {"theirs": 7, "own": 8}),
    ],
)
def test_a_models_points_count_from_its_own_base(
    model_base: dict[str, int], device_base: dict[str, int], addresses: dict[str, int]
) -> None:
    kind = model({"theirs": {"input": 7}}, **model_base)
    whole = device({"own": {"input": 9}}, model="sdm", **device_base).with_model(kind)

    assert {name: point.address for name, point in whole.points.items()} == addresses
    assert whole.with_model(None) == whole


def test_a_device_without_a_model_counts_from_its_own_base() -> None:
    whole = device({"p": {"holding": 65535, "unit": "V"}}, address_base=1).with_model(None)

    assert whole.points["p"].address == 65534
    assert whole.points["p"].unit == "V"


def test_there_is_no_address_0_where_addresses_count_from_1() -> None:
    text = "addresses count from 1 here (address_base = 1): there is no 0"
    kind = model({"v": {"input": 1}}, address_base=1)
    with pytest.raises(ValidationError) as in_model:
        model({"v": {"input": 0}}, address_base=1)
    with pytest.raises(ValidationError) as in_device:
        device({"v": {"coil": 0}}, address_base=1)
    with pytest.raises(ValidationError) as together:
        device({"w": {"holding": 0}}, model="sdm").with_model(kind)

    assert problems(in_model) == [("points.v.input", text)]
    assert problems(in_device) == [("points.v.coil", text)]
    assert problems(together) == [("points.w.holding", text)]


def test_a_models_point_has_to_fit_the_limits_of_the_device() -> None:
    kind = model({"serial": {"holding": 0, "type": "string(40)"}})
    with pytest.raises(ValidationError) as error:
        device({}, model="sdm", max_registers=10).with_model(kind)

    assert problems(error) == [
        (
            "points.serial.holding",
            "string(40) takes 20 registers, but one read may fetch 10 (max_registers)",
        )
    ]


def test_a_device_without_any_point_is_refused() -> None:
    with pytest.raises(ValidationError) as error:
        device({}).with_model(None)

    assert problems(error) == [("", "no points: write [devices.NAME.points] or name a model")]


@pytest.mark.parametrize(
    "keys",
    [
        {"unit_id": 0},
        {"unit_id": 248},
        {"poll_interval": "0s"},
        {"poll_interval": 5},
        {"address_base": 2},
        {"max_registers": 126},
        {"max_registers": 0},
        {"max_gap": -1},
    ],
)
def test_a_setting_out_of_range_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        device({"p": {"holding": 1}}, **keys)

    assert [place for place, _ in problems(error)] == list(keys)


def test_the_schema_for_editors_knows_every_point_key() -> None:
    schema = DeviceConfig.model_json_schema()["$defs"]["Point"]["properties"]

    assert {"input", "holding", "coil", "discrete_input", "type", "byte_order", "invalid"} <= set(schema)


@pytest.mark.parametrize(
    ("publish", "key", "text"),
    [
        ({}, "publish", "no sample would be published: write every, on_change = true, or both"),
        (
            {"on_change": False},
            "publish",
            "no sample would be published: write every, on_change = true, or both",
        ),
        ({"every": "4s"}, "publish.every", "there are no samples that often: see poll_interval"),
        ({"every": "0s"}, "publish.every", "should be greater than 0"),
        (
            {"every": 300},
            "publish.every",
            'a time is a number and its unit in quotes: "500ms", "20s", "5m", "2h", "7d"',
        ),
    ],
)
def test_a_rule_of_publishing_that_makes_no_sense_is_told(
    publish: dict[str, Any], key: str, text: str
) -> None:
    with pytest.raises(ValidationError) as error:
        device({"p": {"holding": 1}}, poll_interval="5s", publish=publish)
    assert problems(error) == [(key, text)]
