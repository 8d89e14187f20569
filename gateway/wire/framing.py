"""Cutting a stream of raw bytes into frames: by silence, by a delimiter, or by length.

No byte of the line is lost by cutting, except what lies outside of `start` ... `delimiter`. A frame that
reaches `longest` without an end is cut there. Times are arguments, seconds on whatever clock the caller has.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    at: float  # when its first byte came
    data: bytes


class Splitter(Protocol):
    idle: float | None  # seconds of silence after which `flush` is wanted; None: never

    def feed(self, data: bytes, at: float) -> Iterator[Piece]: ...

    def flush(self) -> Piece | None:
        """What has come since the last frame, as one."""


class ByLength:
    """Every `length` bytes are a frame. With `idle`, also what came before so much silence is one."""

    def __init__(self, length: int, idle: float | None = None) -> None:
        self._length, self.idle = length, idle
        self._got, self._at = bytearray(), 0.0

    def feed(self, data: bytes, at: float) -> Iterator[Piece]:
        if not self._got:
            self._at = at
        self._got += data
        while len(self._got) >= self._length:
            yield Piece(self._at, bytes(self._got[: self._length]))
            del self._got[: self._length]
            self._at = at

    def flush(self) -> Piece | None:
        piece = Piece(self._at, bytes(self._got)) if self._got else None
        self._got.clear()
        return piece


def by_silence(idle: float, longest: int) -> Splitter:
    """A frame ends when nothing came for `idle` seconds."""
    return ByLength(longest, idle)


class ByDelimiter:
    """A frame ends with `delimiter` and `trailing` bytes behind it (a checksum), and begins with `start` if
    there is one.

    With `strip` the frame is only what stands between start and delimiter.
    """

    idle: float | None = None

    def __init__(self, delimiter: bytes, start: bytes, trailing: int, strip: bool, longest: int) -> None:
        self._delimiter, self._start, self._trailing, self._strip = delimiter, start, trailing, strip
        self._longest = longest
        self._got, self._at = bytearray(), 0.0
        self._searched = 0  # no delimiter begins before this

    def feed(self, data: bytes, at: float) -> Iterator[Piece]:
        if not self._got:
            self._at = at
        self._got += data
        while (end := self._end(at)) is not None:
            yield Piece(self._at, self._cut(end))
            del self._got[:end]
            self._at, self._searched = at, 0

    def flush(self) -> Piece | None:
        return None  # an unfinished frame waits for its end

    def _end(self, now: float) -> int | None:
        """How many bytes the first frame takes, once it is whole."""
        if self._start and not self._seek_start(now):
            return None
        found = self._got.find(self._delimiter, max(self._searched, len(self._start)), self._longest)
        if found < 0:
            self._searched = max(0, len(self._got) - len(self._delimiter) + 1)
            return self._longest if len(self._got) >= self._longest else None
        self._searched = found
        end = found + len(self._delimiter) + self._trailing
        return end if len(self._got) >= end else None

    def _seek_start(self, now: float) -> bool:
        """Drops what comes before `start`, but not the first bytes of one."""
        found = self._got.find(self._start)
        if found > 0:
            del self._got[:found]
            self._at = now
        elif found < 0:
            keep = next(
                (n for n in range(len(self._start) - 1, 0, -1) if self._got.endswith(self._start[:n])), 0
            )
            del self._got[: len(self._got) - keep]
        return found >= 0

    def _cut(self, end: int) -> bytes:
        if not self._strip:
            return bytes(self._got[:end])
        tail = len(self._delimiter) + self._trailing
        whole = self._got[end - tail : end - self._trailing] == self._delimiter
        return bytes(self._got[len(self._start) : end - tail if whole else end])
