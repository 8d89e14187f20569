"""Finding Modbus RTU requests in a stream of bytes that knows no silences: RTU over TCP.

A request ends where its own words say so, and its CRC must be right (MODBUS over Serial Line V1.02, 2.5.1).
Where the function does not tell the length, all that has come must have a right CRC. Garbage is skipped at
any offset, but what stands behind the head of a request is data, even if it looks like one.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .ignored import Ignored
from .modbus import MORE, UNKNOWN, request_length
from .rtu import MAX_FRAME, crc

_SHORTEST = 4  # unit id, function, CRC


class Asked(NamedTuple):
    unit: int
    pdu: bytes


def whole(data: bytes) -> Asked | None:
    """The one request that these bytes are, of a datagram; None when they are anything else.

    By its own words, too, where it has any: zeros behind a frame leave its CRC right.
    """
    if not _SHORTEST <= len(data) <= MAX_FRAME or crc(data):
        return None
    return Asked(data[0], data[1:-2]) if request_length(data[1:12]) in (UNKNOWN, len(data) - 3) else None


class Requests:
    """Bytes in, whole requests out. What stands in `ignore` is taken out between them."""

    def __init__(self, ignore: Iterable[bytes] = ()) -> None:
        self._got = bytearray()
        self._ignored = Ignored(ignore)

    def feed(self, data: bytes) -> Iterator[Asked]:
        self._got += data
        while self._got and (end := self._find()):
            frame = bytes(self._got[:end])
            del self._got[:end]
            yield Asked(frame[0], frame[1:-2])

    @property
    def unfinished(self) -> bool:
        """Something came that belongs to no whole request; it may be the beginning of one."""
        return bool(self._got)

    def drop(self) -> None:
        """What is unfinished: the rest of it does not come any more."""
        self._got.clear()

    def _find(self) -> int:
        """The length of the request that stands in front once garbage was taken away; 0: none is whole."""
        got = self._got
        while not (end := self._whole_in_front()):
            size = self._ignored.in_front(got)
            if not size or self._end(0) > len(got):
                break
            del got[:size]
        if end or not got or self._end(0) > len(got):
            return end
        for start in range(1, len(got) - _SHORTEST + 1):
            end = self._end(start)
            if end > len(got):
                break
            if end > start and not crc(got[start:end]):
                del got[:start]
                return end - start
        if len(got) > MAX_FRAME:
            del got[:-MAX_FRAME]
        return 0

    def _whole_in_front(self) -> int:
        got = self._got
        if len(got) < _SHORTEST:
            return 0
        end = self._end(0)
        if 0 < end <= len(got) and not crc(got[:end]):
            return end
        return len(got) if end <= len(got) <= MAX_FRAME and not crc(got) else 0

    def _end(self, start: int) -> int:
        """Where a request that begins here would end, by its own words.

        0 if these do not tell; one past what has come if they will.
        """
        got = self._got
        length = request_length(got[start + 1 : start + 12])
        if length == MORE:
            return len(got) + 1
        return start + length + 3 if length != UNKNOWN and length + 3 <= MAX_FRAME else 0
