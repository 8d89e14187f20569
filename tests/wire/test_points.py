"""Registers to values: every type and byte order, and what is no value at all."""

import math
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from gateway.wire.points import (
    BYTE_ORDERS,
    Codec,
    Gives,
    NoReading,
    Table,
    Unfit,
    Value,
    check_type,
    raw_integer,
)

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


whatever_pymodbus_knows = pytest.mark.parametrize(
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


@pytest.mark.parametrize("order", ["ABCD", "CDAB"])
@whatever_pymodbus_knows
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


# The way back: from values to registers


@given(st.binary(min_size=8, max_size=8), st.sampled_from(sorted(NUMBERS)), st.sampled_from(BYTE_ORDERS))
def test_a_number_goes_back_into_the_registers_that_it_came_from(
    octets: bytes, name: str, order: str
) -> None:
    codec = Codec(type=name, byte_order=order)
    held = registers(octets)[: codec.registers]
    try:
        value = codec.value(held)
    except NoReading:
        return
    assert list(codec.encode(value)) == held


@given(
    st.data(),
    st.sampled_from(["int16", "uint16", "int32", "uint32"]),
    st.sampled_from([0.1, 0.001, 0.5, 1, 3, 10, -1, 0.3]),
    st.sampled_from([0, -50, 0.5, 946_684_800]),
    st.sampled_from(BYTE_ORDERS),
)
def test_a_scaled_number_goes_back_too(
    data: st.DataObject, name: str, scale: float, offset: float, order: str
) -> None:
    codec = Codec(type=name, scale=scale, offset=offset, byte_order=order)
    held = data.draw(st.lists(st.integers(0, 65535), min_size=codec.registers, max_size=codec.registers))
    assert list(codec.encode(codec.value(held))) == held


@given(st.text(st.characters(exclude_characters="\0 ", exclude_categories=["Cs"]), max_size=8))
def test_a_text_goes_into_registers_and_comes_back(text: str) -> None:
    size = max(1, len(text.encode()))
    for order in BYTE_ORDERS:
        codec = Codec(type=f"string({size})", byte_order=order)
        held = codec.encode(text)
        assert len(held) == codec.registers
        assert codec.value(held) == text


@pytest.mark.parametrize("order", ["ABCD", "CDAB"])
@whatever_pymodbus_knows
def test_pymodbus_reads_what_was_written(
    name: str, data_type: PYMODBUS, value: int | float | str, order: str
) -> None:
    word_order = "big" if order == "ABCD" else "little"
    written = list(Codec(type=name, byte_order=order).encode(value))
    read = ModbusClientMixin.convert_from_registers(written, data_type, word_order=word_order)

    assert written == ModbusClientMixin.convert_to_registers(value, data_type, word_order=word_order)
    assert read == (pytest.approx(value) if name == "float32" else value)


@pytest.mark.parametrize(
    ("codec", "value", "held"),
    [
        (Codec(scale=0.1), 230.1, (2301,)),
        (Codec(scale=0.1), 230.14, (2301,)),
        (Codec(scale=0.1), 230.16, (2302,)),
        (Codec(), 229.6, (230,)),
        (Codec(type="int16"), -0.4, (0,)),
        (Codec(type="int16", scale=0.5, offset=-50), -51, (0xFFFE,)),
        (Codec(), True, (1,)),
        (Codec(type="float32"), False, (0, 0)),
        (Codec(type="float32", scale=0.1), 23.01, (0x4366, 0x199A)),
        (Codec(type="uint64", scale=0.001), 1_700_000_000.125, (0, 0x018B, 0xCFE5, 0x687D)),
        (Codec(type="bool"), True, (1,)),
        (Codec(type="bool"), False, (0,)),
        (Codec(type="string(5)"), "AB", (0x4142, 0, 0)),
        (Codec(type="string(4)", byte_order="BADC"), "ABCD", (0x4241, 0x4443)),
        (Codec(type="string(4)"), "", (0, 0)),
    ],
)
def test_registers_for_a_value_are(codec: Codec, value: Value, held: tuple[int, ...]) -> None:
    assert codec.encode(value) == held


@pytest.mark.parametrize(
    ("codec", "value", "reason"),
    [
        (Codec(), 65536, "65536 does not fit uint16"),
        (Codec(), -1, "-1 does not fit uint16"),
        (Codec(), 65535.5, "65535.5 does not fit uint16"),
        (Codec(scale=0.1), 6553.6, "6553.6 does not fit uint16"),
        (Codec(type="int16"), 32768, "32768 does not fit int16"),
        (Codec(type="uint64"), 2**64, f"{2**64} does not fit uint64"),
        (Codec(type="float32"), 1e39, "1e+39 does not fit float32"),
        (Codec(type="float64"), 10**400, "does not fit float64"),
        (Codec(type="float64", scale=1e-10), 1e308, "1e+308 does not fit float64"),
        (Codec(type="float32"), math.nan, "nan does not fit float32"),
        (Codec(), math.nan, "nan does not fit uint16"),
        (Codec(), math.inf, "inf does not fit uint16"),
        (Codec(), "on", "'on' is no uint16"),
        (Codec(type="bool"), 1, "1 is no bool"),
        (Codec(type="string(4)"), "ABCDE", "'ABCDE' is longer than 4 bytes"),
        (Codec(type="string(2)"), "\N{EURO SIGN}", "is longer than 2 bytes"),
        (Codec(type="string(4)"), 7, "7 is no text"),
        (Codec(type="string(4)"), "\ud800", "'\\ud800' is no text that UTF-8 can hold"),
        (Codec(type="string(4)"), "x" * 5000, f"'{'x' * 39}... is longer than 4 bytes"),
        (Codec(), 10**4000, f"1{'0' * 39}... does not fit uint16"),
        (Codec(invalid=(0xFFFF,)), 65535, "65535 would be read as no value at all (invalid)"),
        (Codec(scale=0.1, invalid=(10,)), 1.04, "1.04 would be read as no value at all (invalid)"),
        (Codec(type="string(4)", invalid=("--",)), "--", "'--' would be read as no value at all (invalid)"),
        (Codec(map={0: "off", 1: "on"}), "On", "'On' is none of off, on"),
        (Codec(map={0: "off", 1: "on"}), 2, "2 is none of off, on"),
        (Codec(map={0: "off", 1: "on"}), True, "true is none of off, on"),
    ],
)
def test_what_does_not_fit_is_never_cut_to_size(codec: Codec, value: Value, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        codec.encode(value)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("codec", "value", "held"),
    [
        (Codec(map={0: "off", 1: "on"}), "on", [1]),
        (Codec(map={0: "off", 1: "on"}), 1, [1]),
        (Codec(type="int16", map={-1: "fault"}), "fault", [0xFFFF]),
        (Codec(type="uint32", byte_order="CDAB", map={65536: "long"}), "long", [0, 1]),
        (Codec(type="bool", map={0: "open", 1: "closed"}), "closed", [1]),
        (Codec(map={0: "1", 1: "0"}), "1", [0]),
    ],
)
def test_a_mapped_text_goes_back_into_its_raw_value(codec: Codec, value: Value, held: list[int]) -> None:
    assert list(codec.encode(value)) == held


@given(st.integers(0, 65535), st.integers(0, 15), st.booleans(), st.sampled_from(BYTE_ORDERS), st.booleans())
def test_a_mask_changes_its_bit_alone(before: int, bit: int, on: bool, order: str, mapped: bool) -> None:
    codec = Codec(bit=bit, byte_order=order, map={0: "off", 1: "on"} if mapped else None)
    value = ("on" if on else "off") if mapped else on

    keep, put = codec.mask(value)
    after = before & keep | put & ~keep

    assert codec.value([after]) == value
    assert (before ^ after).bit_count() <= 1


@pytest.mark.parametrize(
    ("codec", "value", "reason"),
    [
        (Codec(bit=3), 1, "1 is no bool"),
        (Codec(bit=3), "on", "'on' is no bool"),
        (Codec(bit=3, map={0: "off", 1: "on"}), True, "true is none of off, on"),
    ],
)
def test_what_is_no_value_of_a_bit_has_no_mask(codec: Codec, value: Value, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        codec.mask(value)

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("codec", "gives"),
    [
        (Codec(), Gives.NUMBER),
        (Codec(type="float32", scale=0.1), Gives.NUMBER),
        (Codec(type="bool"), Gives.BOOL),
        (Codec(bit=3), Gives.BOOL),
        (Codec(map={0: "off"}), Gives.TEXT),
        (Codec(bit=3, map={0: "off"}), Gives.TEXT),
        (Codec(type="string(4)"), Gives.TEXT),
    ],
)
def test_a_codec_knows_what_its_values_are(codec: Codec, gives: Gives) -> None:
    assert codec.gives is gives


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
