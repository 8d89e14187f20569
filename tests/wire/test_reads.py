"""The requests that a poller asks and what their answers hold, held against pymodbus' own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as words
from pymodbus.pdu.pdu import ModbusPDU

from gateway.wire.points import Table
from gateway.wire.reads import EXCEPTIONS, Malformed, Rejected, read_answer, read_request

PYMODBUS: dict[Table, tuple[type[ModbusPDU], type[ModbusPDU]]] = {
    Table.COIL: (bits.ReadCoilsRequest, bits.ReadCoilsResponse),
    Table.DISCRETE_INPUT: (bits.ReadDiscreteInputsRequest, bits.ReadDiscreteInputsResponse),
    Table.HOLDING: (words.ReadHoldingRegistersRequest, words.ReadHoldingRegistersResponse),
    Table.INPUT: (words.ReadInputRegistersRequest, words.ReadInputRegistersResponse),
}
FUNCTIONS = {Table.COIL: 1, Table.DISCRETE_INPUT: 2, Table.HOLDING: 3, Table.INPUT: 4}
LIMITS = {Table.COIL: 2000, Table.DISCRETE_INPUT: 2000, Table.HOLDING: 125, Table.INPUT: 125}


@pytest.mark.parametrize("table", Table)
def test_a_request_is_function_address_and_count(table: Table) -> None:
    assert read_request(table, 0x1234, 5) == bytes((FUNCTIONS[table], 0x12, 0x34, 0, 5))


@pytest.mark.parametrize("table", Table)
@pytest.mark.parametrize(("address", "beyond"), [(0, 1), (65536, 0), (-1, 0)])
def test_a_request_beyond_the_limits_of_the_protocol_is_refused(
    table: Table, address: int, beyond: int
) -> None:
    with pytest.raises(ValueError, match="no read of"):
        read_request(table, address, LIMITS[table] + beyond)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=125))
def test_the_registers_of_an_answer_are_those_that_were_sent(registers: list[int]) -> None:
    octets = b"".join(register.to_bytes(2, "big") for register in registers)
    pdu = bytes((4, len(octets))) + octets

    assert list(read_answer(Table.INPUT, len(registers), pdu)) == registers


@given(st.lists(st.booleans(), min_size=1, max_size=2000))
def test_the_bits_of_an_answer_are_those_that_were_asked_for(sent: list[bool]) -> None:
    octets = sum(bit << at for at, bit in enumerate(sent)).to_bytes((len(sent) + 7) // 8, "little")
    pdu = bytes((1, len(octets))) + octets

    assert read_answer(Table.COIL, len(sent), pdu) == [int(bit) for bit in sent]


def test_an_exception_has_a_code_and_a_name() -> None:
    with pytest.raises(Rejected, match="exception 02 illegal data address") as caught:
        read_answer(Table.HOLDING, 2, b"\x83\x02")

    assert caught.value.code == 2


@pytest.mark.parametrize(
    "pdu",
    [
        b"",
        b"\x03",
        b"\x83",
        b"\x84\x02",  # an exception to another function
        b"\x83\x02\x00",
        b"\x04\x04\x00\x01\x00\x02",  # another function
        b"\x03\x02\x00\x01",  # one register of two
        b"\x03\x06\x00\x01\x00\x02\x00\x03",
        b"\x03\x03\x00\x01\x00\x02",
        b"\x03\x04\x00\x01\x00",
        b"\x03\x04\x00\x01\x00\x02\x00",
    ],
)
def test_an_answer_to_another_question_is_refused(pdu: bytes) -> None:
    with pytest.raises(Malformed):
        read_answer(Table.HOLDING, 2, pdu)


@given(st.sampled_from(Table), st.integers(1, 125), st.binary(max_size=20))
def test_garbage_is_never_an_answer_of_the_wrong_size(table: Table, count: int, pdu: bytes) -> None:
    try:
        values = read_answer(table, count, pdu)
    except (Rejected, Malformed):
        return
    assert len(values) == count


@given(st.sampled_from(Table), st.integers(0, 65411), st.integers(1, 125))
def test_a_request_is_the_one_that_pymodbus_builds(table: Table, address: int, count: int) -> None:
    theirs = PYMODBUS[table][0](address=address, count=count)

    assert read_request(table, address, count) == bytes((theirs.function_code,)) + theirs.encode()


@given(st.sampled_from(Table), st.lists(st.integers(0, 1), min_size=1, max_size=125))
def test_an_answer_holds_what_pymodbus_finds_in_it(table: Table, values: list[int]) -> None:
    if table.bits:
        data = sum(bit << at for at, bit in enumerate(values)).to_bytes((len(values) + 7) // 8, "little")
    else:
        data = b"".join(value.to_bytes(2, "big") for value in values)
    theirs = PYMODBUS[table][1]()
    theirs.decode(bytes((len(data),)) + data)
    found = theirs.bits[: len(values)] if table.bits else theirs.registers

    pdu = bytes((FUNCTIONS[table], len(data))) + data

    assert list(read_answer(table, len(values), pdu)) == [int(value) for value in found]


def test_pymodbus_knows_no_exception_that_we_do_not() -> None:
    assert {int(code) for code in ExcCodes} == set(EXCEPTIONS)
