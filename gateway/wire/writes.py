"""Writes: the requests for holding registers, coils and single bits of a register, and their outcome.

Codes 5, 6, 15, 16 and 22 (MODBUS Application Protocol V1.1b3, 6.5, 6.6, 6.11, 6.12, 6.16). As with `reads`,
nothing of pymodbus is loaded for that; the tests hold it against pymodbus.
"""

import struct
from collections.abc import Sequence

from .points import Table
from .reads import EXCEPTIONS

MOST = {Table.COIL: 1968, Table.HOLDING: 123}  # values in one write
_EXCEPTION = 0x80


def write_request(table: Table, address: int, values: Sequence[int]) -> bytes:
    """Writes these registers (or bits, as 0 and 1) from `address` on, which counts from 0, by code 16 or 15:
    what can write many can write one.

    ValueError for what one write cannot do, KeyError for a table that is only read.
    """
    count = len(values)
    if not 1 <= count <= MOST[table] or not 0 <= address <= 0x10000 - count:
        raise ValueError(f"no write of {count} from {address} on")
    if table is Table.HOLDING:
        return struct.pack(f">BHHB{count}H", 16, address, count, 2 * count, *values)
    octets = sum(bit << place for place, bit in enumerate(values)).to_bytes((count + 7) // 8, "little")
    return struct.pack(">BHHB", 15, address, count, len(octets)) + octets


def write_requests(table: Table, address: int, values: Sequence[int]) -> tuple[bytes, ...]:
    """The same write in the ways in which devices may know it, the first to be asked first: one value by code
    6 or 5, then by 16 or 15. A device that does not know a code says so and has done nothing.

    Errors as `write_request`.
    """
    many = write_request(table, address, values)
    if len(values) > 1:
        return (many,)
    function, word = (6, values[0]) if table is Table.HOLDING else (5, 0xFF00 if values[0] else 0)
    return struct.pack(">BHH", function, address, word), many


def mask_request(address: int, and_mask: int, or_mask: int) -> bytes:
    """Makes a holding register (its content AND `and_mask`) OR (`or_mask` AND NOT `and_mask`), code 22: no
    other master can write it in between.
    """
    return struct.pack(">BHHH", 22, address, and_mask, or_mask)


def refusal(answer: bytes) -> int:
    """The exception code, if the answer is an exception; else 0."""
    return answer[1] if answer[0] & _EXCEPTION else 0


def outcome_text(code: int) -> str:
    """What an exception code means, for the answer to a command: "illegal data address (2)"."""
    return f"{EXCEPTIONS.get(code, 'exception')} ({code})"
