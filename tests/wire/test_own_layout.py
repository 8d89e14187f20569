"""The registers of the gateway itself, layout 1: PLC programs depend on each of these addresses."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, GatewayError, Refused
from gateway.wire.own_registers import APART, LAYOUT, Counts, answer

METERS = Counts(
    open=True,
    busy=97,
    queue=3,
    requests=0x12345678,
    answers=69_000,
    timeouts=5,
    crc=6,
    short=7,
    late=8,
    foreign=9,
    echo=10,
    exceptions=11,
    units={1: True, 2: False, 247: True, 250: True},
)
PUMPS = METERS._replace(open=False, queue=0, requests=2**32 + 1, units={9: False})
UPTIME = 70_000.9  # seconds


def asked(function: int, address: int, count: int = 1) -> bytes:
    return answer(struct.pack(">BHH", function, address, count), UPTIME, [lambda: METERS, lambda: PUMPS])


def words(address: int, count: int = 1) -> list[int]:
    pdu = asked(3, address, count)
    assert pdu[:2] == bytes((3, 2 * count))
    return list(struct.unpack(f">{count}H", pdu[2:]))


def test_the_first_registers_say_which_layout_this_is_and_how_all_of_it_is() -> None:
    assert words(0, 8) == [LAYOUT, 2, 1, 70_000 - 0x10000, 1, 2, 0, 0]
    assert LAYOUT == 1


def test_each_line_has_its_block_a_thousand_registers_from_the_next() -> None:
    counts = [0x1234, 0x5678, 1, 69_000 - 0x10000, *(word for count in range(5, 12) for word in (0, count))]
    assert words(1000, 24) == [1, 97, 3, 4, 1, 0, *counts]
    assert words(2000, 6) == [0, 97, 0, 1, 1, 0]
    assert APART == 1000


def test_a_counter_begins_anew_at_two_to_the_32() -> None:
    assert words(2006, 2) == [0, 1]


def test_each_unit_id_of_a_line_has_a_register_that_says_how_it_is() -> None:
    assert words(1100, 4) == [0, 1, 2, 0]
    assert words(1347) == [1]
    assert words(1223, 125) == [0] * 124 + [1]
    assert words(2109) == [2]


@pytest.mark.parametrize(("address", "count"), [(0, 8), (1000, 24), (1100, 3), (2000, 1)])
def test_input_registers_are_the_same_as_holding_registers(address: int, count: int) -> None:
    assert asked(4, address, count)[1:] == asked(3, address, count)[1:]


@pytest.mark.parametrize(
    ("address", "count", "bits"),
    [(1000, 1, b"\x01"), (2000, 1, b"\x00"), (1100, 3, b"\x02"), (1100, 248, b"\x02" + bytes(29) + b"\x80")],
)
def test_whether_a_line_is_open_and_a_unit_answers_are_bits_too(
    address: int, count: int, bits: bytes
) -> None:
    assert asked(2, address, count) == bytes((2, len(bits))) + bits


@pytest.mark.parametrize(
    ("function", "address", "count"),
    [
        (3, 8, 1),
        (3, 0, 9),
        (3, 999, 1),
        (3, 1024, 1),
        (4, 1000, 25),
        (4, 1099, 2),
        (4, 1348, 1),
        (4, 1300, 49),
        (3, 3000, 1),
        (3, 0xFFFF, 2),
        (2, 0, 1),
        (2, 1000, 2),
        (2, 1100, 249),
        (2, 3000, 1),
    ],
)
def test_what_is_not_there_is_exception_02(function: int, address: int, count: int) -> None:
    assert asked(function, address, count) == bytes((function + 0x80, 2))


@pytest.mark.parametrize("pdu", ["03 0000 0000", "03 0000 007e", "04 0000", "02 03e8 07d1"])
def test_a_quantity_that_cannot_be_is_exception_03(pdu: str) -> None:
    with pytest.raises(BadRequest):
        answer(bytes.fromhex(pdu), UPTIME, [])


@pytest.mark.parametrize(
    "pdu",
    ["01 03e8 0001", "05 03e8 ff00", "06 0000 0001", "10 0000 0001 02 0001", "11", "2b 0e 01 00", "41", "83"],
)
def test_nothing_is_written_and_nothing_else_is_known_exception_01(pdu: str) -> None:
    with pytest.raises(Refused):
        answer(bytes.fromhex(pdu), UPTIME, [lambda: METERS])


def test_a_line_is_asked_for_its_counts_when_somebody_wants_them() -> None:
    def never() -> Counts:
        raise AssertionError("nobody wants these")

    pdu = answer(b"\x03\x03\xe8\x00\x01", UPTIME, [lambda: METERS, never])
    assert pdu == b"\x03\x02\x00\x01"


@given(st.binary(min_size=1, max_size=253), st.integers(0, 3), st.floats(0, 2**40))
def test_whatever_is_asked_there_is_an_answer_of_that_function_or_an_error_of_ours(
    pdu: bytes, lines: int, uptime: float
) -> None:
    try:
        answered = answer(pdu, uptime, [lambda: METERS] * lines)
    except GatewayError:
        return
    assert answered[0] & 0x7F == pdu[0]
    assert len(answered) == 2 if answered[0] & 0x80 else len(answered) == 2 + answered[1]
