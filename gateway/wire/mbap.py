"""Modbus TCP framing, by the length in the header, never by how the bytes were received.

MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction id (2), protocol id (2) = 0, length (2) of what follows,
unit id (1). A header that cannot be trusted raises PeerError: no byte behind it means anything, so the
connection ends.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import PeerError
from .ignored import Ignored

_HEADER = 6


class Adu(NamedTuple):
    tid: int
    unit: int
    pdu: bytes


def encode(tid: int, unit: int, pdu: bytes) -> bytes:
    return tid.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu


def whole(data: bytes) -> Adu | None:
    """The one ADU that these bytes are, of a datagram; None when they are anything else."""
    if len(data) < _HEADER or _fault(data) or len(data) != _HEADER + (data[4] << 8 | data[5]):
        return None
    return Adu(data[0] << 8 | data[1], data[6], data[7:])


class Decoder:
    """Bytes in, whole ADUs out; keeps the beginning of the next one.

    What stands in `ignore` is taken out between ADUs. A word of it that is shorter than a header is not, if
    what begins with it looks like one.
    """

    def __init__(self, ignore: Iterable[bytes] = ()) -> None:
        self._got = bytearray()
        self._ignored = Ignored(ignore)

    def feed(self, data: bytes) -> Iterator[Adu]:
        got = self._got
        got += data
        while self._at_header():
            end = _HEADER + (got[4] << 8 | got[5])
            if len(got) < end:
                return
            adu = Adu(got[0] << 8 | got[1], got[6], bytes(got[7:end]))
            del got[:end]
            yield adu

    def _at_header(self) -> bool:
        """One has come. PeerError when what came cannot be one."""
        got = self._got
        if self._ignored.words:
            self._take_out()
        if len(got) < _HEADER:
            return False
        fault = _fault(got)
        if fault and not self._ignored.may_grow(got):
            raise PeerError(f"this is not Modbus TCP: {fault}")
        return not fault

    def _take_out(self) -> None:
        got = self._got
        while size := self._ignored.in_front(got):
            if size < _HEADER and not _fault(got):
                return
            del got[:size]


def _fault(head: bytes | bytearray) -> str:
    """Why no ADU begins like this, as far as it has come; "" if one may."""
    if len(head) > 3 and (head[2] or head[3]):
        return "the protocol id is not 0"
    if len(head) >= _HEADER and not 2 <= (length := head[4] << 8 | head[5]) <= 254:
        return f"a length of {length} in the header"
    return ""
