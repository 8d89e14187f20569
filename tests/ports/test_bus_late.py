"""Answers that come too late: RTU has no transaction id, so a late one looks like the next one's.

What is kept apart: an answer that begins before the line has been quiet for the guard, whatever it answers;
and at any later time one of another unit, function, length or (of a write) address. What cannot be told
apart is shown in the last test.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from bus_kit import Coming, Rig, good, in_turn, read, silent, spoiled, values, write
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import in_virtual_time

from gateway.contracts import Request
from gateway.errors import NoAnswer

GUARD, TIMEOUT = 0.5, 1.0  # seconds
A_MOMENT = 0.001  # seconds


@dataclass(frozen=True)
class Turn:
    """One request, and how the device treats it."""

    lateness: float | None  # seconds; None: never
    noise: bytes  # comes first
    noise_at: float
    halved_by: float  # a pause in the middle of the answer
    broken: bool
    pause: float  # until the next request

    def play(self, frame: bytes) -> Iterable[Coming]:
        answer = spoiled(good(frame)) if self.broken else good(frame)
        noisy = [Coming(self.noise_at, self.noise)] if self.noise else []
        if self.lateness is None:
            return noisy
        after = max(0.0, self.lateness - self.noise_at) if self.noise else self.lateness
        return [*noisy, Coming(after, answer[:4]), Coming(self.halved_by, answer[4:])]


def turns(latest: float) -> st.SearchStrategy[list[Turn]]:
    return st.lists(
        st.builds(
            Turn,
            lateness=st.none() | st.floats(0.001, latest),
            noise=st.sampled_from([b"", b"", b"\x00", b"\x01", b"\x55\xff\x01"]),
            noise_at=st.floats(0.0, 1.2),
            halved_by=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
            broken=st.sampled_from([False, False, False, True]),
            pause=st.floats(0.0, 2.0),
        ),
        min_size=2,
        max_size=8,
    )


async def exchange(asked: list[Request], script: list[Turn], chunk: int) -> None:
    play = in_turn(*(turn.play for turn in script), silent)
    with Rig(play, chunk=chunk, request_timeout=100.0, late_answer_guard=GUARD) as rig:
        answers = []
        for request, turn in zip(asked, script, strict=True):
            answers.append(rig.ask(request))
            await asyncio.sleep(turn.pause)
        await asyncio.wait(answers)
        for request, answer in zip(asked, answers, strict=True):
            assert isinstance(answer.exception(), NoAnswer) or answer.result() == values(request)


@settings(max_examples=150, deadline=None)
@given(script=turns(latest=4.0), chunk=st.sampled_from([1, 4, 1000]))
def test_reads_of_distinct_quantities_never_get_a_wrong_answer(script: list[Turn], chunk: int) -> None:
    asked = [read(1, 20 * turn, 1 + turn) for turn in range(len(script))]
    in_virtual_time(exchange)(asked, script, chunk)


@settings(max_examples=150, deadline=None)
@given(script=turns(latest=4.0), chunk=st.sampled_from([1, 4, 1000]))
def test_writes_to_distinct_addresses_never_get_a_wrong_answer(script: list[Turn], chunk: int) -> None:
    asked = [write(1, turn, 7 * turn) for turn in range(len(script))]
    in_virtual_time(exchange)(asked, script, chunk)


@settings(max_examples=150, deadline=None)
@given(script=turns(latest=TIMEOUT + GUARD - A_MOMENT), chunk=st.sampled_from([1, 4, 1000]))
def test_within_the_guard_not_even_reads_that_look_alike_get_a_wrong_answer(
    script: list[Turn], chunk: int
) -> None:
    asked = [read(1, 20 * turn, 2) for turn in range(len(script))]
    in_virtual_time(exchange)(asked, script, chunk)


FIRST = read(1, 0, 2)


def noise_for_ever(frame: bytes) -> list[Coming]:
    """After a silence a byte comes five times in each guard."""
    return [Coming(TIMEOUT, b"\x00"), *(Coming(GUARD / 5, b"\x00") for _ in range(100))]


@in_virtual_time
async def test_noise_that_never_ends_does_not_keep_the_line_closed_for_ever() -> None:
    with Rig(in_turn(noise_for_ever, silent), request_timeout=100.0, retries=0) as rig:
        asked = [rig.ask(FIRST), rig.ask(read(1, 50, 2))]
        await asyncio.wait(asked[:1])
        timed_out = asyncio.get_running_loop().time()
        await asyncio.wait(asked)
        assert 3 * GUARD < rig.line.sent[1].at - timed_out < 6 * GUARD


def later_than_the_guard(frame: bytes) -> list[Coming]:
    return [Coming(TIMEOUT + GUARD + 0.05, good(frame))]


def slow(frame: bytes) -> list[Coming]:
    return [Coming(0.5, good(frame))]


@pytest.mark.parametrize(
    "request_",
    [FIRST._replace(pdu=b"\x04" + read(1, 50, 2).pdu[1:]), read(1, 50, 3)],
    ids=["function", "quantity"],
)
@in_virtual_time
async def test_beyond_the_guard_a_late_answer_is_still_known_by(request_: Request) -> None:
    with Rig(in_turn(later_than_the_guard, slow)) as rig:
        asked = [rig.ask(FIRST), rig.ask(request_)]
        await asyncio.wait(asked)
        assert asked[1].result() == values(request_)
        assert rig.errors == {"timeout": 1, "foreign": 1}


@in_virtual_time
async def test_what_rtu_cannot_tell_is_an_answer_later_than_the_guard_to_a_request_of_the_same_shape() -> (
    None
):
    """Hence `late_answer_guard`, and a `response_timeout` longer than the slowest device takes."""
    with Rig(in_turn(later_than_the_guard, slow)) as rig:
        asked = [rig.ask(FIRST), rig.ask(read(1, 50, 2))]
        await asyncio.wait(asked)
        assert asked[1].result() == values(FIRST)
