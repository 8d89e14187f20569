"""`ask` on a raw port: a steady schedule, in nobody's way, and what becomes of answers that do not come."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from conftest import Pty, Until
from parts_kit import running
from pydantic import ValidationError
from raw_kit import CRLF, PIECE, config, frames, opened
from virtual import in_virtual_time

from gateway.contracts import Frame
from gateway.flow import Brake, Fan
from gateway.ports._asking import Ask, Asking
from gateway.ports._tally import Tally
from gateway.ports._values import Values
from gateway.ports.raw import Port

SI = b"SI\r\n"
QUICK = {"text": "SI\r\n", "every": "60ms", "timeout": "50ms"}
BY_LINE = {"delimiter": CRLF}


class Instrument:
    """Told things in virtual time; it answers each after `delay` seconds, or never."""

    def __init__(self, delay: float | None = 0.01) -> None:
        self.delay = delay
        self.told: list[float] = []  # loop times
        self.heard = asyncio.Event()
        self.brake, self.tally = Brake(), Tally()
        self.frames: Fan[Frame] = Fan(self.brake)
        self.astray = False
        values = Values(self.brake)
        self.asking = Asking(self.frames, self.brake, self.tally, values, lambda: self.astray)

    async def hear(self, data: bytes) -> None:
        assert data == SI
        loop = asyncio.get_running_loop()
        self.told.append(loop.time())
        self.heard.set()
        if self.delay is not None:
            loop.call_later(self.delay, self.say)

    def say(self) -> None:
        self.frames.push(Frame(0.0, b"12.5 kg"))

    async def asked(self, times: int) -> list[float]:
        """When, from the first one on, as soon as it was so often."""
        while len(self.told) < times:
            self.heard.clear()
            await self.heard.wait()
        return [round(at - self.told[0], 2) for at in self.told]


@asynccontextmanager
async def asked(one: Instrument, **keys: str) -> AsyncIterator[Asking]:
    rule = Ask.model_validate({"text": "SI\r\n", "every": "1s", "timeout": "500ms"} | keys)
    task = asyncio.create_task(one.asking.serve("ports.scale", rule, 0.004, one.hear))
    try:
        yield one.asking
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


def timeouts(port: Port) -> int:
    errors = port.status()["errors"]
    assert isinstance(errors, dict)
    return errors["timeout"]


# The schedule


@in_virtual_time
@pytest.mark.parametrize("delay", [0.0, 0.4, None])
async def test_an_instrument_is_asked_every_so_often_without_drift(delay: float | None) -> None:
    scale = Instrument(delay)
    async with asked(scale):
        assert await scale.asked(50) == [float(n) for n in range(50)]


@in_virtual_time
async def test_a_line_just_opened_is_listened_to_first() -> None:
    scale = Instrument()
    async with asked(scale):
        await scale.asked(1)
        assert scale.told == [pytest.approx(0.1)]


# On the line


async def test_bytes_may_be_asked_for_in_hexadecimal_digits(pty: Pty) -> None:
    async with opened(pty, frame=BY_LINE, ask={"hex": "05", "every": "60ms", "timeout": "50ms"}) as port:
        assert await pty.hears(2) == b"\x05\x05"
        assert port.status()["tx_frames"] == 2


async def test_the_answer_is_a_frame_like_any_other(pty: Pty) -> None:
    async with opened(pty, frame=BY_LINE, ask=QUICK) as port:
        with port.frames.tap() as tap:
            assert await pty.hears(len(SI)) == SI
            pty.say(b"12.5 kg\r\n")
            assert await frames(tap, 1) == [b"12.5 kg\r\n"]


# Answers that do not come


@in_virtual_time
async def test_a_missed_answer_is_counted_and_three_in_a_row_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    scale = Instrument(None)
    async with asked(scale) as asking:
        await scale.asked(3)
        assert (scale.tally.timeout, asking.reason) == (2, "")
        await scale.asked(6)
        assert scale.tally.timeout == 5
        assert asking.reason == "no answer to the last 5 asks, each within 0.5 s"
        scale.delay = 0.1
        await scale.asked(8)
        assert (scale.tally.timeout, asking.reason) == (6, "")
    assert [record.getMessage() for record in caplog.records] == [
        "ports.scale: no answer to the last 3 asks, each within 0.5 s",
        "ports.scale: answers again",
    ]


@in_virtual_time
async def test_an_answer_that_comes_too_late_is_missed() -> None:
    scale = Instrument(0.6)
    async with asked(scale):
        await scale.asked(5)
        assert scale.tally.timeout == 4


@in_virtual_time
async def test_what_an_ask_takes_on_a_slow_line_is_added_to_its_timeout() -> None:
    scale = Instrument(0.502)
    async with asked(scale):
        await scale.asked(5)
        assert scale.tally.timeout == 0


async def test_half_an_answer_is_none(pty: Pty, until: Until) -> None:
    async with opened(pty, frame=BY_LINE, ask=QUICK) as port:
        await pty.hears(len(SI))
        pty.say(b"12.")
        await until(lambda: timeouts(port) >= 3)
        assert "no answer to the last" in str(port.status()["reason"])


# Others who write


@in_virtual_time
async def test_a_client_goes_first_and_has_as_long_for_his_answer() -> None:
    scale = Instrument()
    async with asked(scale) as asking:
        await scale.asked(1)
        for wait in (0.9, 0.4, 0.4, 0.4):  # until 2.1 s after the first ask
            await asyncio.sleep(wait)
            asking.client_wrote()
        assert await scale.asked(4) == [0.0, 2.6, 3.6, 4.6]  # nor is one soon after another


@in_virtual_time
async def test_a_client_who_is_not_done_yet_is_waited_for() -> None:
    scale = Instrument()
    async with asked(scale) as asking:
        await scale.asked(1)
        with asking.client(), asking.client():
            await asyncio.sleep(10)
        assert await scale.asked(3) == [0.0, 10.5, 11.5]


async def test_no_ask_stands_between_the_pieces_of_what_a_client_sends(pty: Pty) -> None:
    """The line takes the message in pieces, for as long as the instrument holds it up."""
    message = bytes(40 * PIECE)
    async with opened(pty, frame=BY_LINE, ask=QUICK) as port:
        await pty.hears(len(SI))
        sending = asyncio.create_task(port.send(message))
        heard = b""
        while len(heard) < len(message):
            await asyncio.sleep(0.01)
            heard += pty.heard(PIECE)
        await sending
        assert heard.lstrip(SI)[: len(message)] == message
        assert await pty.hears(len(SI)) == SI


@in_virtual_time
async def test_a_line_that_a_client_has_set_otherwise_is_not_asked_until_it_is_put_back() -> None:
    scale = Instrument()
    async with asked(scale):
        await scale.asked(2)
        scale.astray = True
        await asyncio.sleep(9.9)
        assert len(scale.told) == 2
        scale.astray = False
        assert 10.9 <= (await scale.asked(3))[2] <= 11.5


async def test_asking_pauses_while_the_baudrate_is_another(pty: Pty) -> None:
    async with opened(pty, frame=BY_LINE, ask=QUICK) as port:
        await pty.hears(len(SI))
        with port.tuning.taken():
            port.tuning.set(baudrate=9600)
            await asyncio.sleep(0.1)  # an ask that was under way
            pty.heard()
            await asyncio.sleep(0.3)
            assert pty.heard() == b""
        assert await pty.hears(len(SI)) == SI


async def test_what_a_client_offers_postpones_the_ask(pty: Pty) -> None:
    slow = {"text": "SI\r\n", "every": "1s", "timeout": "1s"}
    async with opened(pty, frame=BY_LINE, ask=slow) as port:
        assert await pty.hears(len(SI)) == SI
        pty.say(b"12.5 kg\r\n")
        await asyncio.sleep(0.5)
        offered = asyncio.get_running_loop().time()
        assert port.offer(b"T\r\n")
        assert await pty.hears(3 + len(SI)) == b"T\r\n" + SI
        assert asyncio.get_running_loop().time() - offered >= 1.0


@in_virtual_time
async def test_a_line_that_is_held_by_its_readers_is_not_asked() -> None:
    scale = Instrument()
    async with asked(scale):
        with scale.frames.tap() as tap:
            await scale.asked(2)
            tap.hold(True)
            await asyncio.sleep(10)
            assert len(scale.told) == 2
            tap.hold(False)
            assert (await scale.asked(4))[2:] == [11.0, 12.0]
    assert scale.tally.timeout == 0


async def test_asking_ends_with_the_line_and_begins_with_it(pty: Pty, until: Until) -> None:
    port = Port(config(pty.path, ask=QUICK))
    async with running(port) as life:
        await until(lambda: timeouts(port) >= 3)
        assert "no answer" in str(port.status()["reason"])
        pty.hang_up()
        await until(lambda: life.state == "waiting")
        assert port.status()["reason"] == ""
        before = timeouts(port)
        await until(lambda: life.attempts >= 5)
        assert timeouts(port) == before


# The config


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"ask": QUICK | {"timeout": "2s"}}, "timeout is longer than every"),
        ({"ask": QUICK, "frame": {"idle_gap": "50ms"}}, "an answer ends by 0.05 s of silence"),
        ({"ask": {"every": "1s"}}, "bytes are written"),
        ({"ask": QUICK | {"every": "1ms"}}, "greater than or equal to 0.05"),
    ],
    ids=str,
)
def test_a_question_that_cannot_be_asked_is_told_so(keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        config("/dev/ttyUSB1", **keys)
