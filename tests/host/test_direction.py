"""Whose turn it is: on before the first byte, off after the last bit, by a model of the wire."""

import asyncio
import errno
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import VirtualLoop, in_virtual_time

from gateway.host.direction import HalfDuplex, Turning

CHARACTER = 0.001  # seconds
ROUNDING = 1e-9  # seconds


class Switched(NamedTuple):
    at: float
    on: bool


class Transmitter(list[Switched]):
    """A pin, and when it was switched. `broken`: its device is gone."""

    broken = False

    def set(self, on: bool, /) -> None:
        if self.broken:
            raise OSError(errno.EIO, "gone")
        self.append(Switched(asyncio.get_running_loop().time(), on))

    def close(self) -> None:
        pass


class Wire:
    """What a driver says of its characters; they leave one by one, the first at `begins`."""

    def __init__(self) -> None:
        self.empty_at = 0.0

    def take(self, count: int, begins: float = 0.0) -> None:
        now = asyncio.get_running_loop().time()
        self.empty_at = max(self.empty_at, now + begins) + count * CHARACTER

    def left(self) -> float:
        """Whole characters wait, a quarter while the last one is shifted out."""
        rest = (self.empty_at - asyncio.get_running_loop().time()) / CHARACTER
        if rest <= ROUNDING:
            return 0.0
        return 0.25 if rest < 1 else float(int(rest))


class Line:
    def __init__(
        self,
        before: float = 0.0,
        after: float = 0.0,
        unseen: int = 0,
        left: Callable[[], float] | None = None,
    ) -> None:
        self.pin, self.wire, self.lost = Transmitter(), Wire(), list[OSError]()
        turning = Turning(self.pin, CHARACTER, before, after, unseen)
        self.half = HalfDuplex(turning, left or self.wire.left, self.lost.append)

    def say(self, count: int, begins: float = 0.0) -> None:
        assert self.half.claim() >= 0
        self.wire.take(count, begins)
        self.half.sent(count)

    @property
    def off_at(self) -> float:
        assert [one.on for one in self.pin] == [True, False]
        return self.pin[-1].at


async def rest() -> None:
    """Until all is over."""
    await asyncio.sleep(1000)


@in_virtual_time
async def test_it_is_on_at_once_and_off_with_the_last_bit() -> None:
    line = Line()
    line.say(8)
    assert line.pin == [(0.0, True)]
    await rest()
    assert line.off_at == pytest.approx(0.008)


@in_virtual_time
async def test_what_the_driver_holds_up_keeps_it_on() -> None:
    line = Line()
    line.say(8, begins=0.1)
    await rest()
    assert 0.108 - ROUNDING <= line.off_at < 0.109


@in_virtual_time
async def test_a_driver_that_does_not_tell_gets_one_character_more() -> None:
    line = Line(unseen=1, left=lambda: 0.0)
    line.say(8)
    await rest()
    assert line.off_at == pytest.approx(0.009)


@in_virtual_time
async def test_what_is_written_behind_something_leaves_after_it() -> None:
    line = Line(unseen=1, left=lambda: 0.0)
    line.say(8)
    await asyncio.sleep(0.002)
    line.say(8)
    await rest()
    assert line.off_at == pytest.approx(0.017)


@in_virtual_time
async def test_the_first_byte_waits_for_as_long_as_the_config_says_but_only_the_first() -> None:
    line = Line(before=0.005)
    assert line.half.claim() == 0.005
    line.half.sent(1)
    assert line.half.claim() == 0.0


@in_virtual_time
async def test_it_stays_on_for_as_long_as_the_config_says() -> None:
    line = Line(after=0.02)
    line.say(8)
    await rest()
    assert line.off_at == pytest.approx(0.028)


@in_virtual_time
async def test_who_goes_on_meanwhile_finds_it_on() -> None:
    line = Line(after=0.02)
    line.say(8)
    await asyncio.sleep(0.02)
    line.say(8)
    await rest()
    assert line.off_at == pytest.approx(0.048)


@in_virtual_time
async def test_a_driver_whose_output_was_thrown_away_has_what_is_in_its_fifo_at_most() -> None:
    line = Line(left=lambda: 0.0)
    line.half.claim()
    line.half.sent(4000)
    await asyncio.sleep(0.01)
    line.half.cut()
    await rest()
    assert line.off_at == pytest.approx(0.01 + 64 * CHARACTER)


@in_virtual_time
async def test_what_is_thrown_away_between_messages_switches_nothing() -> None:
    line = Line()
    line.half.cut()
    await rest()
    assert line.pin == []


@in_virtual_time
async def test_a_line_that_is_closed_lets_go_at_once_and_says_nothing_later() -> None:
    line = Line()
    line.say(8)
    line.half.stop()
    await rest()
    assert line.pin == [(0.0, True), (0.0, False)]


@in_virtual_time
async def test_a_device_that_is_gone_is_told_once_and_never_raised() -> None:
    line = Line()
    line.say(8)
    line.pin.broken = True
    await rest()
    assert [error.errno for error in line.lost] == [errno.EIO]
    line.half.stop()


@in_virtual_time
async def test_a_driver_that_cannot_be_asked_any_more_is_told_too() -> None:
    def left() -> float:
        raise OSError(errno.EIO, "gone")

    line = Line(left=left)
    line.say(8)
    await rest()
    assert [error.errno for error in line.lost] == [errno.EIO]


PAUSES = st.floats(0, 0.05)
WRITES = st.lists(st.tuples(PAUSES, st.integers(1, 30), PAUSES), min_size=1, max_size=20)


@settings(max_examples=100)
@given(writes=WRITES, after=PAUSES)
def test_it_is_never_off_while_a_character_is_on_the_wire_and_always_in_the_end(
    writes: list[tuple[float, int, float]], after: float
) -> None:
    async def run() -> None:
        line = Line(after=after)
        busy: list[tuple[float, float]] = []  # from, to
        for pause, count, held_up in writes:
            await asyncio.sleep(pause)
            now = asyncio.get_running_loop().time()
            line.say(count, held_up)
            busy.append((now, line.wire.empty_at))
        await rest()
        assert [one.on for one in line.pin] == [True, False] * (len(line.pin) // 2)
        for on, off in zip(line.pin[::2], line.pin[1::2], strict=True):
            assert off.at + ROUNDING >= max(end for begin, end in busy if on.at <= begin <= off.at)
        for begin, _ in busy:
            assert any(
                on.at <= begin <= off.at for on, off in zip(line.pin[::2], line.pin[1::2], strict=True)
            )

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
