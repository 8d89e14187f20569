"""The writes of a link that pushes values: the request for holding registers or coils, and its outcome.

Two codes (MODBUS Application Protocol V1.1b3, 6.11 and 6.12): what can write many can write one, so 5 and 6
are never needed. As with `reads`, nothing of pymodbus is loaded for that; the tests hold it against pymodbus.
"""

import struct
from collections.abc import Sequence

from .points import Table

MOST = {Table.COIL: 1968, Table.HOLDING: 123}  # values in one write
_EXCEPTION = 0x80


def write_request(table: Table, address: int, values: Sequence[int]) -> bytes:
    """Writes these registers (or bits, as 0 and 1) from `address` on, which counts from 0.

    ValueError for what one write cannot do, KeyError for a table that is only read.
    """
    count = len(values)
    if not 1 <= count <= MOST[table] or not 0 <= address <= 0x10000 - count:
        raise ValueError(f"no write of {count} from {address} on")
    if table is Table.HOLDING:
        return struct.pack(f">BHHB{count}H", 16, address, count, 2 * count, *values)
    octets = sum(bit << place for place, bit in enumerate(values)).to_bytes((count + 7) // 8, "little")
    return struct.pack(">BHHB", 15, address, count, len(octets)) + octets


def refusal(answer: bytes) -> int:
    """The exception code, if the answer is an exception; else 0."""
    return answer[1] if answer[0] & _EXCEPTION else 0
