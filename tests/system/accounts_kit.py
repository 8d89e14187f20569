"""The judges: from what was said and what has arrived to one line, and to what is wrong with it.

Pure. `Ledger` is for messages that bear their number, `Bytes` for the bare bytes of the same lines.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

WINDOW = 100  # messages that may arrive twice after the death of a connection
ON_THE_CLOCK = 1.0  # seconds by which a record's time may be wrong, on a busy machine


def line(number: int) -> bytes:
    """What is said: as long as any other, and no two are alike."""
    return b"N%06d\r\n" % number


SIZE = len(line(0))


class Arrival(NamedTuple):
    """One message, as it came."""

    stream: str
    seq: int
    at: float  # the time that it bears, wall time
    number: int  # in its payload


@dataclass(frozen=True)
class Ledger:
    """Of messages. First deliveries count; the others are repeats."""

    sent: Mapping[int, float]  # wall time by number
    excused: Collection[int]
    got: Sequence[Arrival]
    deaths: int  # of connections, whoever ended them

    @property
    def firsts(self) -> dict[int, Arrival]:
        """By number, in the order of their arrival."""
        firsts: dict[int, Arrival] = {}
        for arrival in self.got:
            firsts.setdefault(arrival.number, arrival)
        return firsts

    @property
    def repeats(self) -> list[int]:
        """How many there were at a time: what is sent again begins at an earlier number and goes up."""
        seen: set[int] = set()
        runs: list[int] = []
        before = 0
        for arrival in self.got:
            if arrival.number in seen:
                if arrival.number <= before or not runs:
                    runs.append(0)
                runs[-1] += 1
            seen.add(arrival.number)
            before = arrival.number
        return runs

    @property
    def lost(self) -> list[int]:
        return sorted(self.sent.keys() - self.firsts.keys() - set(self.excused))

    @property
    def missing(self) -> list[int]:
        """What need not arrive, and did not."""
        return sorted(set(self.excused) - self.firsts.keys())

    @property
    def reordered(self) -> int:
        return sum(after < before for before, after in pairwise(self.firsts))

    @property
    def seq_rises(self) -> bool:
        """In each stream; and what comes again has the seq that it had."""
        firsts = self.firsts
        by_stream: dict[str, list[int]] = {}
        for arrival in firsts.values():
            by_stream.setdefault(arrival.stream, []).append(arrival.seq)
        rises = all(before < after for seqs in by_stream.values() for before, after in pairwise(seqs))
        return rises and all(arrival.seq == firsts[arrival.number].seq for arrival in self.got)

    @property
    def off_the_clock(self) -> float:
        """Seconds between what was said and the time that it bears, at most."""
        return max(
            (abs(one.at - self.sent[one.number]) for one in self.got if one.number in self.sent), default=0.0
        )

    def __str__(self) -> str:
        missing = f" (and {len(self.missing)} at a kill)" if self.missing else ""
        return (
            f"sent {len(self.sent)}, received {len(self.firsts)}, lost {len(self.lost)}{missing}, "
            f"reordered {self.reordered}, twice {sum(self.repeats)} after {self.deaths} deaths "
            f"(at most {max(self.repeats, default=0)} at a time), "
            f"seq {'rises' if self.seq_rises else 'DOES NOT RISE'}, "
            f"times right within {1000 * self.off_the_clock:.0f} ms"
        )

    def faults(self) -> Iterator[str]:
        if self.lost:
            yield f"lost: {_some(self.lost)}"
        if self.firsts.keys() - self.sent.keys():
            yield f"never said: {_some(self.firsts.keys() - self.sent.keys())}"
        if self.reordered:
            yield "reordered"
        if max(self.repeats, default=0) > WINDOW or len(self.repeats) > self.deaths:
            yield f"too many came twice: {self.repeats}"
        if not self.seq_rises:
            yield "seq does not rise, or is another when it comes again"
        if self.off_the_clock > ON_THE_CLOCK:
            yield "the time is not that of the line"


def _some(numbers: Iterable[int]) -> str:
    first, *others = sorted(numbers)
    return f"{first} and {len(others)} more up to {others[-1]}" if others else str(first)


# ---------------------------------------------------------------- bytes


class Piece(NamedTuple):
    """Bytes of one connection that follow one another in what was said: from `start` to before `end`."""

    connection: int
    start: int
    end: int


class Bytes:
    """The ledger of `streams`: what came on each connection. After a death `twice` bytes may come again."""

    def __init__(
        self,
        last: int,
        excused: Collection[int],
        streams: Sequence[bytes | bytearray],
        deaths: int,
        twice: int,
    ) -> None:
        self._deaths, self._twice = deaths, twice
        self._sent = b"".join(map(line, range(1, last + 1)))
        self._excused = {at for number in excused for at in _may_lack(number)}
        self.lost: list[int] = []  # offsets
        self.missing = self.reordered = 0
        again = [0 for _ in streams]  # bytes that had come before, by connection
        end, before = 0, Piece(-1, 0, 0)
        for piece in pieces(self._sent, streams):
            self._lack(range(end, piece.start))
            self.reordered += piece.connection == before.connection and piece.start < before.end
            again[piece.connection] += max(0, min(end, piece.end) - piece.start)
            end, before = max(end, piece.end), piece
        self._lack(range(end, len(self._sent)))
        self.repeats = [count for count in again if count]

    def _lack(self, gap: range) -> None:
        lost = [at for at in gap if at not in self._excused]
        self.lost += lost
        self.missing += len(gap) - len(lost)

    def __str__(self) -> str:
        sent, lacking = len(self._sent), self.missing + len(self.lost)
        missing = f" (and {self.missing} at a kill)" if self.missing else ""
        return (
            f"sent {sent} bytes, received {sent - lacking}, lost {len(self.lost)}{missing}, "
            f"reordered {self.reordered}, twice {sum(self.repeats)} after {self._deaths} deaths "
            f"(at most {max(self.repeats, default=0)} at a time)"
        )

    def faults(self) -> Iterator[str]:
        if self.lost:
            yield f"lost: {_some(self.lost)}"
        if self.reordered:
            yield "reordered"
        if max(self.repeats, default=0) > self._twice or len(self.repeats) > self._deaths:
            yield f"too much came twice: {self.repeats}"


def _may_lack(number: int) -> range:
    """The offsets of a line, and as much of the next as lines have in common: a gap may seem to be later."""
    return range((number - 1) * SIZE, (number + 1) * SIZE - 1)


def pieces(said: bytes, streams: Iterable[bytes | bytearray]) -> Iterator[Piece]:
    """Where what came on each connection stands in `said`. ValueError where it is not from there."""
    end = 0
    for number, stream in enumerate(map(bytes, streams)):
        while stream:
            start = _place(said, stream, end)
            if start is None:
                raise ValueError(f"connection {number}: nobody said {stream[:40]!r}")
            length = _alike(said[start : start + len(stream)], stream)
            end = start + length
            yield Piece(number, start, end)
            stream = stream[length:]


def _place(said: bytes, stream: bytes, expected: int) -> int | None:
    """Where it begins. Two lines are enough to know that; of less, the last place up to the expected one."""
    for size in range(min(2 * SIZE, len(stream)), 0, -1):
        sample = stream[:size]
        for place in (said.rfind(sample, 0, expected + size), said.find(sample, expected)):
            if place >= 0:
                return place
    return None


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes are the same from the beginning."""
    differ = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))
