"""What of a port's words makes a record of a link's buffer: bytes as they came, or with `packet` a frame. And
where frames end in such records: what is told again may begin there.

FrameEnds knows of what came since it was made, and of the last frames only; records from before are taken for
whole frames. It closes its taps when nobody has it any more: a part has no other end.
"""

import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ..buffer import Buffer, Record
from ..contracts import Frame, Stream
from ..flow import Fan

_MOST = 10_000  # ends


def said(port: Stream, packet: bool) -> Fan[Frame] | Fan[bytes]:
    """All that the line says, in pieces that are to be written one by one."""
    return port.frames if packet else port.chunks


def octets(piece: Frame | bytes) -> bytes:
    return piece.data if isinstance(piece, Frame) else piece


def taking(take: Callable[[bytes], bool], packet: bool) -> Callable[[Any], bool]:
    """`take`, for the pieces of such a fan; the way of chunks is no longer by that."""
    return (lambda frame: take(frame.data)) if packet else take


class Ends(Protocol):
    """Of the frames in a record."""

    def of(self, record: Record, /) -> int | None:
        """Behind so many bytes of it a frame ends, the last one that does; None: none does, yet."""


class WholeFrames:
    """Each record is one."""

    def of(self, record: Record, /) -> int:
        return len(record.payload)


class FrameEnds:
    """`stream` is the name under which the buffer has what `port` says."""

    def __init__(self, port: Stream, buffer: Buffer, stream: str) -> None:
        log = _Log(port, buffer, stream)
        for tap in (port.chunks.tap(offer=log.came), port.frames.tap(offer=log.ended)):
            weakref.finalize(self, tap.close).atexit = False
        self._log = log

    def of(self, record: Record, /) -> int | None:
        """See Ends."""
        return self._log.of(record)


class _Log:
    def __init__(self, port: Stream, buffer: Buffer, stream: str) -> None:
        self._port, self._buffer, self._stream = port, buffer, stream
        self._ends: dict[int, int] = {}  # by seq
        self._unknown = self._newest  # up to this seq
        self._size = 0  # of the last chunk

    @property
    def _newest(self) -> int:
        return self._buffer.seqs.get(self._stream, 0)

    def came(self, chunk: bytes) -> bool:
        self._size = len(chunk)
        return True

    def ended(self, frame: Frame) -> bool:
        """All of the last chunk but what is unfinished. Before that chunk there may have been other ends."""
        octets = self._size - self._port.unfinished
        if octets > 0:
            self._ends[self._newest] = octets
        if len(self._ends) > _MOST:
            self._unknown = next(iter(self._ends))
            del self._ends[self._unknown]
        return True

    def of(self, record: Record) -> int | None:
        if record.stream != self._stream or record.seq <= self._unknown:
            return len(record.payload)
        return self._ends.get(record.seq)
