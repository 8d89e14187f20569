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

    @property
    def unfinished(self) -> int:
        """How many of the last bytes belong to a frame that has not ended.

        Too many rather than too few as long as nobody knows where it began.
        """

    def feed(self, data: bytes, at: float) -> Iterator[Piece]: ...

    def flush(self) -> Piece | None:
        """What has come since the last frame, as one."""


class ByLength:
    """Every `length` bytes are a frame. With `idle`, also what came before so much silence is one.

    `passed` bytes of the line went by before this one was asked: without `idle` it begins with the next whole
    frame.
    """

    def __init__(self, length: int, idle: float | None = None, passed: int = 0) -> None:
        self._length, self.idle = length, idle
        self._got, self._at = bytearray(), 0.0
        self._unseen = passed % length if idle is None else passed  # bytes of the first frame

    @property
    def unfinished(self) -> int:
        return self._unseen + len(self._got)

    def feed(self, data: bytes, at: float) -> Iterator[Piece]:
        if self._unseen and self.idle is None:
            rest = min(len(data), self._length - self._unseen)
            data, self._unseen = data[rest:], (self._unseen + rest) % self._length
        if not self._got:
            self._at = at
        self._got += data
        while len(self._got) >= self._length:
            yield Piece(self._at, bytes(self._got[: self._length]))
            del self._got[: self._length]
            self._at, self._unseen = at, 0

    def flush(self) -> Piece | None:
        piece = Piece(self._at, bytes(self._got)) if self._got else None
        self._got.clear()
        self._unseen = 0
        return piece


def by_silence(idle: float, longest: int, passed: int = 0) -> Splitter:
    """A frame ends when nothing came for `idle` seconds."""
    return ByLength(longest, idle, passed)


class ByDelimiter:
    """A frame ends with `delimiter` and `trailing` bytes behind it (a checksum), and begins with `start` if
    there is one.

    With `strip` the frame is only what stands between start and delimiter. `passed` bytes of the line went by
    before this one was asked.
    """

    idle: float | None = None

    def __init__(
        self, delimiter: bytes, start: bytes, trailing: int, strip: bool, longest: int, passed: int = 0
    ) -> None:
        self._delimiter, self._start, self._trailing, self._strip = delimiter, start, trailing, strip
        self._longest = longest
        self._got, self._at = bytearray(), 0.0
        self._searched = 0  # no delimiter begins before this
        self._unseen = passed  # bytes before `_got` that may belong to a frame whose beginning nobody saw;
        self._doubt = longest  # after so many more that begin none it must be over

    @property
    def unfinished(self) -> int:
        return self._unseen + len(self._got)

    def feed(self, data: bytes, at: float) -> Iterator[Piece]:
        if not self._got:
            self._at = at
        self._got += data
        while (end := self._end(at)) is not None:
            yield Piece(self._at, self._cut(end))
            del self._got[:end]
            self._at, self._searched = at, 0
            self._unseen = self._doubt = 0

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
        noise = found if found >= 0 else len(self._got) - self._begun
        if noise:
            del self._got[:noise]
            self._at = now
            self._doubt -= noise
            self._unseen = self._unseen + noise if self._doubt > 0 else 0
        return found >= 0

    @property
    def _begun(self) -> int:
        """How much of `start` stands at the end."""
        return next((n for n in range(len(self._start) - 1, 0, -1) if self._got.endswith(self._start[:n])), 0)

    def _cut(self, end: int) -> bytes:
        if not self._strip:
            return bytes(self._got[:end])
        tail = len(self._delimiter) + self._trailing
        whole = self._got[end - tail : end - self._trailing] == self._delimiter
        return bytes(self._got[len(self._start) : end - tail if whole else end])
