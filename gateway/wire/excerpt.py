"""A read that is part of a larger one: what it asks for, and its answer cut out of the larger one's.

Functions 1 to 4 only (MODBUS Application Protocol V1.1b3, 6.1 to 6.4).
"""

_BITS, _REGISTERS = (1, 2), (3, 4)


def extent(pdu: bytes) -> tuple[int, int] | None:
    """The first address and the count that this request reads; None when it is no such read."""
    if pdu[0] not in _BITS and pdu[0] not in _REGISTERS:
        return None
    return pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]


def excerpt(answer: bytes, skip: int, count: int) -> bytes:
    """The answer PDU to a read of `count` bits or registers, from that to one which began `skip` before it
    and reached at least as far.
    """
    if answer[0] in _REGISTERS:
        return bytes((answer[0], 2 * count)) + answer[2 + 2 * skip : 2 + 2 * (skip + count)]
    size = (count + 7) // 8
    bits = int.from_bytes(answer[2:], "little") >> skip & (1 << count) - 1
    return bytes((answer[0], size)) + bits.to_bytes(size, "little")
