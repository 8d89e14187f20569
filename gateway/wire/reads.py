"""The reads of a poller: the request for registers or bits, and what its answer holds. Exceptions in words.

Four codes and two lengths (MODBUS Application Protocol V1.1b3, 6.1 to 6.4), so that a gateway that only polls
does not have to load pymodbus: that is 1 MB and 13 ms. The tests hold it against pymodbus' own requests and
responses.
"""

import struct
from collections.abc import Sequence

from .points import Table

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
EXCEPTIONS = {  # MODBUS Application Protocol V1.1b3, 7
    ILLEGAL_FUNCTION: "illegal function",
    ILLEGAL_ADDRESS: "illegal data address",
    ILLEGAL_VALUE: "illegal data value",
    4: "device failure",
    5: "acknowledged, still at work",
    6: "device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
_EXCEPTION = 0x80
_FUNCTIONS = {Table.COIL: 1, Table.DISCRETE_INPUT: 2, Table.HOLDING: 3, Table.INPUT: 4}
_MOST_BITS, _MOST_REGISTERS = 2000, 125


class Rejected(ValueError):
    """The device answered with a Modbus exception."""

    def __init__(self, code: int) -> None:
        super().__init__(exception_text(code))
        self.code = code


class Malformed(ValueError):
    """An answer, but not to this question."""


def exception_text(code: int) -> str:
    """ "exception 02 illegal data address"."""
    return f"exception {code:02X} {EXCEPTIONS.get(code, '')}".rstrip()


def read_request(table: Table, address: int, count: int) -> bytes:
    """Asks for `count` registers (1..125) or bits (1..2000) from `address` on, which counts from 0.

    ValueError beyond these limits.
    """
    if not 1 <= count <= (_MOST_BITS if table.bits else _MOST_REGISTERS) or not 0 <= address <= 0xFFFF:
        raise ValueError(f"no read of {count} from {address} on")
    return struct.pack(">BHH", _FUNCTIONS[table], address, count)


def read_answer(table: Table, count: int, pdu: bytes) -> Sequence[int]:
    """The registers of the answer to such a request, or its bits as 0 and 1: exactly `count`.

    Rejected when it is a Modbus exception, Malformed when it is no answer to that.
    """
    function = _FUNCTIONS[table]
    if len(pdu) == 2 and pdu[0] == function | _EXCEPTION:
        raise Rejected(pdu[1])
    octets = (count + 7) // 8 if table.bits else 2 * count
    if len(pdu) != 2 + octets or pdu[0] != function or pdu[1] != octets:
        raise Malformed("the answer does not fit the question")
    if table.bits:
        return [pdu[2 + bit // 8] >> bit % 8 & 1 for bit in range(count)]
    return struct.unpack_from(f">{count}H", pdu, 2)
