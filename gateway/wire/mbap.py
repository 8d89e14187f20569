"""Modbus TCP framing, by the length in the header, never by how the bytes were received.

MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction id (2), protocol id (2) = 0, length (2) of what follows,
unit id (1). A header that cannot be trusted raises PeerError: no byte behind it means anything, so the
connection ends.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import PeerError

_HEADER = 6


class Adu(NamedTuple):
    tid: int
    unit: int
    pdu: bytes


def encode(tid: int, unit: int, pdu: bytes) -> bytes:
    return tid.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu


class Decoder:
    """Bytes in, whole ADUs out; keeps the beginning of the next one."""

    def __init__(self) -> None:
        self._got = bytearray()

    def feed(self, data: bytes) -> Iterator[Adu]:
        got = self._got
        got += data
        while len(got) >= _HEADER:
            length = got[4] << 8 | got[5]
            if got[2] or got[3]:
                raise PeerError("this is not Modbus TCP: the protocol id is not 0")
            if not 2 <= length <= 254:
                raise PeerError(f"this is not Modbus TCP: a length of {length} in the header")
            end = _HEADER + length
            if len(got) < end:
                return
            adu = Adu(got[0] << 8 | got[1], got[6], bytes(got[7:end]))
            del got[:end]
            yield adu
