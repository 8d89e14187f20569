"""What any PDU says in words, by the Modbus vocabulary of pymodbus, for whoever looks on.

The only module that imports pymodbus (2 MB, 15 ms), and only its PDU classes: they neither log nor keep
state. What is relied on is pinned in tests/wire/test_pdus.py. A PDU is function code and data, without unit
id or CRC.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from pymodbus.exceptions import ModbusException
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as words
from pymodbus.pdu.pdu import ModbusPDU

from .points import Table
from .reads import exception_text

_EXCEPTION = 0x80
_SHOWN = 12  # values of a long list


def describe(pdu: bytes, answer: bool) -> str:
    """One short phrase, for people. Takes anything, and never raises."""
    if not pdu:
        return "empty"
    function = pdu[0]
    if answer and function & _EXCEPTION:
        return exception_text(pdu[1]) if len(pdu) > 1 else "exception without a code"
    if function not in _PHRASES:
        return _NAMES.get(function, f"function 0x{function:02X}")
    kind, phrase = _PHRASES[function][answer]
    message = kind()
    try:
        message.decode(pdu[1:])
        return phrase(message)
    except (ModbusException, ValueError, IndexError, struct.error):
        return f"function 0x{function:02X}, malformed"


Phrase = tuple[type[ModbusPDU], Callable[[Any], str]]


def _span(address: int, count: int) -> str:
    if count < 1:
        raise ValueError("reads or writes nothing")
    return str(address) if count == 1 else f"{address}..{address + count - 1}"


def _list(values: Sequence[int]) -> str:
    shown = " ".join(str(int(value)) for value in values[:_SHOWN])
    return f"{shown} ..." if len(values) > _SHOWN else shown


_READS: dict[Table, tuple[type[ModbusPDU], type[ModbusPDU]]] = {
    Table.COIL: (bits.ReadCoilsRequest, bits.ReadCoilsResponse),
    Table.DISCRETE_INPUT: (bits.ReadDiscreteInputsRequest, bits.ReadDiscreteInputsResponse),
    Table.HOLDING: (words.ReadHoldingRegistersRequest, words.ReadHoldingRegistersResponse),
    Table.INPUT: (words.ReadInputRegistersRequest, words.ReadInputRegistersResponse),
}


def _read(table: Table) -> tuple[Phrase, Phrase]:
    request, answer = _READS[table]
    values = _bits if table.bits else _registers
    return (request, lambda pdu: f"read {table} {_span(pdu.address, pdu.count)}"), (answer, values)


def _registers(pdu: Any) -> str:
    many = len(pdu.registers)
    return f"{many} register{'' if many == 1 else 's'}: {_list(pdu.registers)}"


def _bits(pdu: Any) -> str:
    return f"{len(pdu.bits)} bits: {_list(pdu.bits)}"


def _one_coil(pdu: Any) -> str:
    return f"coil {pdu.address} = {'on' if pdu.bits[0] else 'off'}"


def _one_register(pdu: Any) -> str:
    return f"holding {pdu.address} = {pdu.registers[0]}"


def _coils(pdu: Any) -> str:
    return f"coil {_span(pdu.address, pdu.count)}"


def _holding(pdu: Any) -> str:
    return f"holding {_span(pdu.address, pdu.count)}"


def _mask(pdu: Any) -> str:
    return f"holding {pdu.address} and 0x{pdu.and_mask:04X} or 0x{pdu.or_mask:04X}"


def _exchange(pdu: Any) -> str:
    written = f"{_span(pdu.write_address, pdu.write_count)} = {_list(pdu.write_registers)}"
    return f"write holding {written}, read holding {_span(pdu.read_address, pdu.read_count)}"


# Function code -> (request, answer), each with the class that decodes it and the phrase for what came out.
_PHRASES: dict[int, tuple[Phrase, Phrase]] = {
    1: _read(Table.COIL),
    2: _read(Table.DISCRETE_INPUT),
    3: _read(Table.HOLDING),
    4: _read(Table.INPUT),
    5: (
        (bits.WriteSingleCoilRequest, lambda pdu: f"write {_one_coil(pdu)}"),
        (bits.WriteSingleCoilResponse, lambda pdu: f"wrote {_one_coil(pdu)}"),
    ),
    6: (
        (words.WriteSingleRegisterRequest, lambda pdu: f"write {_one_register(pdu)}"),
        (words.WriteSingleRegisterResponse, lambda pdu: f"wrote {_one_register(pdu)}"),
    ),
    15: (
        (bits.WriteMultipleCoilsRequest, lambda pdu: f"write {_coils(pdu)} = {_list(pdu.bits)}"),
        (bits.WriteMultipleCoilsResponse, lambda pdu: f"wrote {_coils(pdu)}"),
    ),
    16: (
        (words.WriteMultipleRegistersRequest, lambda pdu: f"write {_holding(pdu)} = {_list(pdu.registers)}"),
        (words.WriteMultipleRegistersResponse, lambda pdu: f"wrote {_holding(pdu)}"),
    ),
    22: (
        (words.MaskWriteRegisterRequest, lambda pdu: f"mask {_mask(pdu)}"),
        (words.MaskWriteRegisterResponse, lambda pdu: f"masked {_mask(pdu)}"),
    ),
    23: (
        (words.ReadWriteMultipleRegistersRequest, _exchange),
        (words.ReadWriteMultipleRegistersResponse, _registers),
    ),
}
_NAMES = {  # seen too seldom to be taken apart
    7: "exception status",
    8: "diagnostics",
    11: "event counter",
    12: "event log",
    17: "server id",
    20: "read file record",
    21: "write file record",
    24: "FIFO queue",
    43: "device identification",
}
