"""Which addresses a request touches, held against pymodbus' own requests."""

import pytest
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from gateway.wire.modbus import check_request
from gateway.wire.points import Table
from gateway.wire.spans import Span, touched


def pdu(request: ModbusPDU) -> bytes:
    return bytes((request.function_code,)) + request.encode()


@pytest.mark.parametrize(
    ("request_", "spans"),
    [
        (ReadCoilsRequest(address=300, count=2000), [Span(Table.COIL, range(300, 2300))]),
        (ReadDiscreteInputsRequest(address=7, count=9), [Span(Table.DISCRETE_INPUT, range(7, 16))]),
        (ReadHoldingRegistersRequest(address=0, count=125), [Span(Table.HOLDING, range(125))]),
        (ReadInputRegistersRequest(address=65535, count=1), [Span(Table.INPUT, range(65535, 65536))]),
        (WriteSingleCoilRequest(address=300, bits=[True]), [Span(Table.COIL, range(300, 301))]),
        (WriteSingleRegisterRequest(address=2, registers=[9]), [Span(Table.HOLDING, range(2, 3))]),
        (WriteMultipleCoilsRequest(address=5, bits=[True] * 10), [Span(Table.COIL, range(5, 15))]),
        (
            WriteMultipleRegistersRequest(address=258, registers=[1, 2, 3]),
            [Span(Table.HOLDING, range(258, 261))],
        ),
        (MaskWriteRegisterRequest(address=17, and_mask=0, or_mask=9), [Span(Table.HOLDING, range(17, 18))]),
        (
            ReadWriteMultipleRegistersRequest(
                read_address=10, read_count=5, write_address=700, write_registers=[1, 2]
            ),
            [Span(Table.HOLDING, range(10, 15)), Span(Table.HOLDING, range(700, 702))],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_that_a_request_reads_and_writes(request_: ModbusPDU, spans: list[Span]) -> None:
    check_request(pdu(request_))
    assert touched(pdu(request_)) == spans


def test_what_reaches_beyond_the_last_address_says_so() -> None:
    assert touched(b"\x03\xff\xff\x00\x02") == [Span(Table.HOLDING, range(65535, 65537))]


@pytest.mark.parametrize("function", sorted({*range(1, 128)} - {1, 2, 3, 4, 5, 6, 15, 16, 22, 23}))
def test_all_other_codes_have_no_addresses(function: int) -> None:
    assert touched(bytes((function, 0, 0, 0, 1))) == []
