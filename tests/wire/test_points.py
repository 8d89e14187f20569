"""Registers to values: every type and byte order, and what is no value at all."""

import math
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from gateway.wire.points import BYTE_ORDERS, Codec, NoReading, Table, check_type, raw_integer

NUMBERS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
PYMODBUS = ModbusClientMixin.DATATYPE


def registers(octets: bytes, byte_order: str = "ABCD") -> list[int]:
    """`octets`, most significant first, as a device with this byte order holds them."""
    words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    if byte_order in ("CDAB", "DCBA"):
        words.reverse()
    if byte_order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


@given(st.data(), st.sampled_from(sorted(NUMBERS)), st.sampled_from(BYTE_ORDERS))
def test_every_number_comes_back_as_the_device_holds_it(data: st.DataObject, name: str, order: str) -> None:
    size = struct.calcsize(NUMBERS[name])
    octets = data.draw(st.binary(min_size=size, max_size=size))
    expected = struct.unpack(">" + NUMBERS[name], octets)[0]
    assume(math.isfinite(expected))

    value = Codec(type=name, byte_order=order).value(registers(octets, order))

    assert struct.pack(">" + NUMBERS[name], value) == octets
    assert type(value) is type(expected)


@pytest.mark.parametrize("order", ["ABCD", "CDAB"])
@pytest.mark.parametrize(
    ("name", "data_type", "value"),
    [
        ("int16", PYMODBUS.INT16, -2),
        ("uint16", PYMODBUS.UINT16, 65534),
        ("int32", PYMODBUS.INT32, -70_000),
        ("uint32", PYMODBUS.UINT32, 4_000_000_000),
        ("int64", PYMODBUS.INT64, -(2**60) - 1),
        ("uint64", PYMODBUS.UINT64, 2**63 + 1),
        ("float32", PYMODBUS.FLOAT32, 230.1),
        ("float64", PYMODBUS.FLOAT64, 0.1),
        ("string(8)", PYMODBUS.STRING, "SDM630-M"),
    ],
)
def test_registers_written_by_pymodbus_read_the_same(
    name: str, data_type: PYMODBUS, value: int | float | str, order: str
) -> None:
    word_order = "big" if order == "ABCD" else "little"
    held = ModbusClientMixin.convert_to_registers(value, data_type, word_order=word_order)

    assert len(held) == Codec(type=name).registers
    assert Codec(type=name, byte_order=order).value(held) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_the_shortest_number_that_is_this_float32(number: float) -> None:
    value = Codec(type="float32").value(registers(struct.pack(">f", number)))

    assert struct.pack(">f", value) == struct.pack(">f", number)
    assert len(repr(value)) <= len(repr(number))


@pytest.mark.parametrize(
    ("codec", "held", "value"),
    [
        (Codec(type="float32"), [0x4366, 0x199A], 230.1),
        (Codec(scale=0.1), [2301], 230.1),  # in binary 230.10000000000002
        (Codec(scale=0.001, offset=-50), [1234], -48.766),
        (Codec(scale=10), [7], 70),
        (Codec(scale=0.5, decimals=0), [7], 4),
        (Codec(scale=0.01, decimals=1), [1234], 12.3),
        (Codec(decimals=2), [7], 7),
        (Codec(type="float32", offset=1), [0x4366, 0x199A], 231.1),
        (Codec(type="uint64", scale=1000), [0xFFFF] * 4, (2**64 - 1) * 1000),
        (Codec(type="int64"), [0x8000, 0, 0, 1], -(2**63) + 1),
        (Codec(type="bool"), [1], True),
        (Codec(type="bool"), [0], False),
        (Codec(bit=3), [0b1000], True),
        (Codec(type="bool", bit=0), [0b1000], False),
        (Codec(type="int16", bit=15), [0x8000], True),
        (Codec(byte_order="BADC", bit=8), [0x0001], True),
        (Codec(map={0: "off", 1: "on"}), [1], "on"),
        (Codec(map={0: "off", 1: "on"}), [7], "7"),
        (Codec(type="int16", map={-1: "fault"}), [0xFFFF], "fault"),
        (Codec(type="bool", map={0: "open", 1: "closed"}), [1], "closed"),
        (Codec(bit=1, map={0: "open", 1: "closed"}), [2], "closed"),
        (Codec(type="string(5)"), [0x4142, 0x4300, 0x2058], "ABC"),
        (Codec(type="string(4)", byte_order="BADC"), [0x4241, 0x4443], "ABCD"),
        (Codec(type="string(2)"), [0xFF41], "\N{REPLACEMENT CHARACTER}A"),
        (Codec(type="string(4)"), [0, 0], ""),
    ],
)
def test_a_value_is(codec: Codec, held: list[int], value: object) -> None:
    got = codec.value(held)

    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("codec", "held", "reason"),
    [
        (Codec(type="float32"), [0x7FC0, 0], "not a number"),
        (Codec(type="float32"), [0x7F80, 0], "an infinite number"),
        (Codec(type="float64"), [0xFFF0, 0, 0, 0], "an infinite number"),
        (Codec(invalid=(0xFFFF,)), [0xFFFF], "the device has no reading (raw value 65535)"),
        (Codec(invalid=(0xFFFF, 0), scale=0.1), [0], "the device has no reading (raw value 0)"),
        (Codec(bit=0, invalid=(0xFFFF,)), [0xFFFF], "the device has no reading (raw value 65535)"),
        (Codec(type="float32", invalid=(-9999.9,)), [0xC61C, 0x3F9A], "no reading (raw value -9999.9)"),
        (Codec(type="string(2)", invalid=("--",)), [0x2D2D], "no reading (raw value --)"),
        (Codec(type="float64", scale=1e10), [0x7FE0, 0, 0, 0], "too large for its scale"),
    ],
)
def test_what_is_no_reading_is_never_a_value(codec: Codec, held: list[int], reason: str) -> None:
    with pytest.raises(NoReading) as caught:
        codec.value(held)

    assert reason in str(caught.value)


@given(st.binary(min_size=8, max_size=8), st.sampled_from(BYTE_ORDERS), st.sampled_from(sorted(NUMBERS)))
def test_whatever_registers_hold_is_a_finite_value_or_no_reading(
    octets: bytes, order: str, name: str
) -> None:
    codec = Codec(type=name, byte_order=order, scale=0.1, offset=-0.5, decimals=3)
    try:
        value = codec.value(registers(octets)[: codec.registers])
    except NoReading:
        return
    assert math.isfinite(value)


@pytest.mark.parametrize(
    ("name", "size"), [("bool", 1), ("int32", 2), ("float64", 4), ("string(1)", 1), ("string(250)", 125)]
)
def test_a_type_takes_this_many_registers(name: str, size: int) -> None:
    assert Codec(type=check_type(name)).registers == size


@pytest.mark.parametrize("name", ["string", "string(0)", "string(251)", "float", "uint8", "String(4)", ""])
def test_what_is_no_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"a type is one of|write string"):
        check_type(name)


@pytest.mark.parametrize(
    ("name", "number", "raw"),
    [("int16", 0x8000, -32768), ("int16", -1, -1), ("int32", 0xFFFFFFFF, -1), ("uint16", 65535, 65535)],
)
def test_a_bit_pattern_of_a_manual_is_the_number_that_the_type_reads(
    name: str, number: int, raw: int
) -> None:
    assert raw_integer(name, number) == raw


@pytest.mark.parametrize(
    ("name", "number"), [("uint16", -1), ("uint16", 65536), ("int16", 65536), ("int16", -32769)]
)
def test_a_number_that_the_type_never_reads_is_refused(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{number} is no {name}"):
        raw_integer(name, number)


def test_coils_and_discrete_inputs_are_bits() -> None:
    assert [table for table in Table if table.bits] == [Table.COIL, Table.DISCRETE_INPUT]
