"""When a heartbeat is sent, and where.

In no frame, and not a moment later than it may be. Time is made up.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.heartbeat import Schedule

EVERY = 30


class Chunk(NamedTuple):
    gap: int  # seconds since the one before it
    size: int
    taken_after: int  # seconds until the connection has it, when it is written


class Sent(NamedTuple):
    at: int
    behind: int  # how many bytes of the line went before
    size: int  # 0: a heartbeat


class Link:
    """One writer, who waits until the connection has taken what he wrote, as a link does it."""

    def __init__(self, chunks: Sequence[Chunk], ends: Sequence[int], strict: bool) -> None:
        self.schedule = Schedule(EVERY, strict, 0)
        self.arrivals = [*zip(accumulate(chunk.gap for chunk in chunks), chunks, strict=True)]
        self.ends = [0, *ends]
        self.came = self.told = self.now = 0
        self.free_at = 0

    def plays(self, until: int) -> Iterator[Sent]:
        while (now := self.next()) < until:
            self.now = now
            slow = 0
            while self.arrivals and self.arrivals[0][0] <= now:
                chunk = self.arrivals.pop(0)[1]
                self.came, slow = self.came + chunk.size, chunk.taken_after
            if now == self.free_at:
                self.schedule.said(now)
            if now >= self.free_at:
                yield from self.writes(slow)

    def next(self) -> int:
        """When something happens."""
        again = self.free_at if self.free_at > self.now else int(self.schedule.next(self.now))
        return min([again, *(at for at, _ in self.arrivals[:1])])

    def writes(self, slow: int) -> Iterator[Sent]:
        size = self.came - self.told
        unfinished = self.came - max(end for end in self.ends if end <= self.came)
        place = self.schedule.place(size, unfinished, self.now)
        if place is not None:
            assert 0 <= place <= size
            self.schedule.beaten(self.now)
            yield Sent(self.now, self.told + place, 0)
        if size:
            yield Sent(self.now, self.told, size)
            self.told, self.free_at = self.came, self.now + slow
            if not slow:
                self.schedule.said(self.now)


def played(chunks: Sequence[Chunk], ends: Sequence[int], strict: bool) -> Iterator[Sent]:
    return Link(chunks, ends, strict).plays(until=1000)


chunks = st.lists(
    st.builds(Chunk, st.integers(0, EVERY + 5), st.integers(1, 9), st.sampled_from([0, 0, 0, 7, 40])),
    max_size=12,
)
frames = st.lists(st.integers(1, 12), max_size=12).map(lambda sizes: [*accumulate(sizes)])


@given(chunks, frames, st.booleans())
def test_no_heartbeat_lies_in_a_frame(chunks: list[Chunk], ends: list[int], strict: bool) -> None:
    """But where nothing came for a whole period: there it counts as over."""
    arrival = [
        at
        for at, chunk in zip(accumulate(chunk.gap for chunk in chunks), chunks, strict=True)
        for _ in range(chunk.size)
    ]
    for sent in played(chunks, ends, strict):
        if sent.size == 0 and sent.behind not in (0, *ends):
            next_byte = min([*arrival[sent.behind : sent.behind + 1], sent.at])
            assert next_byte - arrival[sent.behind - 1] >= EVERY


@given(chunks, frames)
def test_nothing_is_said_for_a_period_at_most(chunks: list[Chunk], ends: list[int]) -> None:
    """And a heartbeat that is not strict comes only then."""
    prompt = [chunk._replace(taken_after=0) for chunk in chunks]
    for strict in (False, True):
        last = 0
        for sent in played(prompt, ends, strict):
            assert sent.at - last <= EVERY
            if not strict and sent.size == 0:
                assert sent.at - last == EVERY
            last = sent.at


@given(chunks, frames)
def test_a_strict_heartbeat_comes_every_period_or_as_soon_as_a_frame_ends(
    chunks: list[Chunk], ends: list[int]
) -> None:
    prompt = [chunk._replace(taken_after=0) for chunk in chunks]
    due, told = EVERY, 0
    for sent in played(prompt, ends, True):
        if sent.size == 0:
            assert sent.at >= due
            due = (sent.at // EVERY + 1) * EVERY
        elif sent.at >= due:  # it is put off: what has been said so far ends in a frame
            assert not [end for end in ends if sent.behind <= end <= sent.behind + sent.size]
        told += sent.size
    assert told == sum(chunk.size for chunk in chunks)


@pytest.mark.parametrize(
    ("strict", "size", "unfinished", "now", "place"),
    [
        (False, 0, 0, 29, None),
        (False, 0, 0, 30, None),  # something was said 20 s ago
        (False, 7, 0, 30, None),
        (False, 0, 0, 40, 0),
        (False, 7, 7, 40, 0),  # what comes now comes too late for what was before
        (True, 0, 0, 29, None),
        (True, 0, 0, 30, 0),
        (True, 7, 0, 30, 7),
        (True, 7, 3, 30, 4),
        (True, 7, 7, 30, 0),
        (True, 7, 8, 30, None),  # its first byte is on its way already
        (True, 0, 1, 39, None),
        (True, 0, 1, 40, 0),
    ],
)
def test_a_heartbeat_has_its_place(
    strict: bool, size: int, unfinished: int, now: float, place: int | None
) -> None:
    schedule = Schedule(EVERY, strict, 0.0)
    schedule.said(10.0)

    assert schedule.place(size, unfinished, now) == place


def test_a_strict_heartbeat_that_was_late_does_not_delay_those_after_it() -> None:
    schedule = Schedule(EVERY, True, 0.0)
    schedule.beaten(37.0)
    assert schedule.next(37.0) == 60.0
    schedule.beaten(125.0)
    assert schedule.next(125.0) == 150.0


def test_periods_count_from_the_last_heartbeat() -> None:
    schedule = Schedule(EVERY, False, 0.0)
    assert schedule.next(0.0) == 30.0
    schedule.said(10.0)
    assert schedule.next(30.0) == 40.0
    schedule.beaten(40.0)
    assert schedule.place(0, 0, 69.9) is None
    assert schedule.next(40.0) == 70.0
