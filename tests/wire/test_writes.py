"""Writes, held against pymodbus' own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as words

from gateway.wire.modbus import answers, check_request
from gateway.wire.points import Table
from gateway.wire.writes import MOST, mask_request, outcome_text, refusal, write_request, write_requests


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


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_one_register_is_written_by_the_code_for_one_first(address: int, value: int) -> None:
    one, many = write_requests(Table.HOLDING, address, [value])

    assert one == b"\x06" + words.WriteSingleRegisterRequest(address=address, registers=[value]).encode()
    assert many == write_request(Table.HOLDING, address, [value])
    check_request(one)


@given(st.integers(0, 65535), st.integers(0, 1))
def test_one_coil_is_written_by_the_code_for_one_first(address: int, value: int) -> None:
    one, many = write_requests(Table.COIL, address, [value])

    assert one == b"\x05" + bits.WriteSingleCoilRequest(address=address, bits=[bool(value)]).encode()
    assert many == write_request(Table.COIL, address, [value])
    check_request(one)


def test_there_is_one_way_to_write_many() -> None:
    for table in (Table.HOLDING, Table.COIL):
        assert write_requests(table, 7, [1, 0]) == (write_request(table, 7, [1, 0]),)


@given(*[st.integers(0, 65535)] * 3)
def test_bits_of_a_register_are_masked_as_pymodbus_masks_them(address: int, keep: int, on: int) -> None:
    theirs = words.MaskWriteRegisterRequest(address=address, and_mask=keep, or_mask=on)

    assert mask_request(address, keep, on) == b"\x16" + theirs.encode()


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


def test_an_exception_is_told_in_words_and_with_its_code() -> None:
    assert outcome_text(2) == "illegal data address (2)"
    assert outcome_text(77) == "exception (77)"
