"""The writes of a link that pushes, held against pymodbus' own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as words

from gateway.wire.modbus import answers, check_request
from gateway.wire.points import Table
from gateway.wire.writes import MOST, refusal, write_request


@given(st.integers(0, 65413), st.lists(st.integers(0, 65535), min_size=1, max_size=123))
def test_registers_are_written_as_pymodbus_writes_them(address: int, values: list[int]) -> None:
    theirs = words.WriteMultipleRegistersRequest(address=address, registers=values)

    request = write_request(Table.HOLDING, address, values)

    assert request == bytes((16,)) + theirs.encode()
    check_request(request)


@given(st.integers(0, 63568), st.lists(st.integers(0, 1), min_size=1, max_size=1968))
def test_coils_are_written_as_pymodbus_reads_them(address: int, values: list[int]) -> None:
    request = write_request(Table.COIL, address, values)

    theirs = bits.WriteMultipleCoilsRequest()
    theirs.decode(request[1:])
    assert request[0] == 15
    assert (theirs.address, theirs.count) == (address, len(values))
    assert theirs.bits[: len(values)] == [bool(value) for value in values]
    check_request(request)


@pytest.mark.parametrize("table", [Table.HOLDING, Table.COIL])
def test_a_write_beyond_the_limits_of_the_protocol_is_refused(table: Table) -> None:
    most = MOST[table]
    assert write_request(table, 0x10000 - most, [1] * most)
    for address, count in ((0, 0), (0, most + 1), (0x10000 - most + 1, most), (-1, 1), (0x10000, 1)):
        with pytest.raises(ValueError, match="no write of"):
            write_request(table, address, [1] * count)


@pytest.mark.parametrize("table", [Table.INPUT, Table.DISCRETE_INPUT])
def test_what_is_only_read_cannot_be_written(table: Table) -> None:
    with pytest.raises(KeyError):
        write_request(table, 0, [1])


def test_the_outcome_is_the_code_of_an_exception_or_none() -> None:
    request = write_request(Table.HOLDING, 100, [1, 2])
    good, bad = bytes.fromhex("10 0064 0002"), bytes.fromhex("90 02")
    assert answers(request, good)
    assert answers(request, bad)
    assert (refusal(good), refusal(bad)) == (0, 2)
    for other in ("10 0064 0001", "10 0065 0002", "0f 0064 0002", "8f 02", "10 0064"):
        assert not answers(request, bytes.fromhex(other))
