"""Every function code on the bus, in both framings: where its answer ends however it arrives, and what never
reaches the wire.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from ascii_kit import frame as in_digits
from bus_kit import CHARACTER, SCADA, SOON, TURNAROUND, Coming, Rig, Script, spoiled
from codes_kit import BY_SILENCE, EVERY, HEAD, UNIT, Exchange
from virtual import in_virtual_time

from gateway.contracts import Request
from gateway.demo.bus import with_crc
from gateway.errors import BadRequest, GatewayError, NoAnswer, Refused
from gateway.ports._framing import Framing
from gateway.wire import ascii as ascii_
from gateway.wire import rtu

QUIET = 0.05  # seconds that end an answer of unknown length, and break off one in digits
PACKET, LATENCY = 62, 0.016  # bytes and seconds of an FTDI adapter
SPLIT = 0.1  # seconds: what radios and busy adapters put into the middle of an answer


@dataclass(frozen=True)
class Spoken:
    """A framing, and a device that speaks it."""

    framing: Framing
    frame: Callable[[bytes], bytes]  # from unit id and PDU
    gap: float
    quiet: float
    garbage: bytes

    def rig(self, script: Script, chunk: int = 1000) -> Rig:
        return Rig(script, chunk=chunk, framing=self.framing, gap=self.gap, quiet=self.quiet)


FRAMINGS = {
    "rtu": Spoken(rtu, with_crc, 3.5 * CHARACTER, QUIET, b"\x00\xff" + HEAD + b"\x55"),
    "ascii": Spoken(ascii_, in_digits, CHARACTER, 0.5, b"\x00:21\r\n:2"),
}


def packets(frame: bytes) -> list[Coming]:
    pieces = [frame[at : at + PACKET] for at in range(0, len(frame), PACKET)]
    return [Coming(TURNAROUND, pieces[0]), *(Coming(LATENCY, piece) for piece in pieces[1:])]


def halves(frame: bytes) -> list[Coming]:
    half = len(frame) // 2
    return [Coming(TURNAROUND, frame[:half]), Coming(SPLIT, frame[half:])]


def only(frame: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, frame)]


ARRIVALS: dict[str, Callable[[bytes], list[Coming]]] = {
    "whole": lambda frame: [Coming(TURNAROUND, frame)],
    "in USB packets": packets,
    "split by 100 ms": halves,
}

both_framings = pytest.mark.parametrize("spoken", FRAMINGS.values(), ids=FRAMINGS)
every_code = pytest.mark.parametrize("exchange", EVERY, ids=str)
each_unknown = pytest.mark.parametrize("exchange", BY_SILENCE, ids=str)


def code(value: object) -> str:
    return value[:2].hex(" ") if isinstance(value, bytes) else str(value)


def asked(exchange: Exchange) -> Request:
    return Request(UNIT, exchange.request, SCADA)


def comes_to_its_end(rig: Rig, *coming: Coming) -> float:
    """When the last character of what comes back for the first request has come."""
    sent = rig.line.sent[0]
    return sent.at + len(sent.frame) * CHARACTER + sum(c.after + len(c.data) * CHARACTER for c in coming)


@both_framings
@every_code
@pytest.mark.parametrize("chunk", [1, 1000], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=ARRIVALS)
@in_virtual_time
async def test_an_answer_is_whole_however_it_arrives_and_known_as_soon_as_it_can_be(
    spoken: Spoken, exchange: Exchange, chunk: int, arrival: Callable[[bytes], list[Coming]]
) -> None:
    coming = arrival(spoken.frame(HEAD + exchange.answer))
    with spoken.rig(lambda request: coming, chunk) as rig:
        assert await rig.outcome(asked(exchange)) == exchange.answer
        waited = QUIET if exchange.by_silence and spoken.framing is rtu else 0.0
        end = comes_to_its_end(rig, *coming) + waited
        soon = SOON if chunk == 1 else LATENCY
        assert asyncio.get_running_loop().time() == pytest.approx(end, abs=soon)
        assert rig.errors == {}
        assert len(rig.line.sent) == 1


@both_framings
@every_code
@pytest.mark.parametrize("chunk", [1, 1000], ids=["byte by byte", "at once"])
@in_virtual_time
async def test_an_answer_is_found_behind_garbage(spoken: Spoken, exchange: Exchange, chunk: int) -> None:
    stream = spoken.garbage + spoken.frame(HEAD + exchange.answer)
    with spoken.rig(only(stream), chunk) as rig:
        assert await rig.outcome(asked(exchange)) == exchange.answer
        assert rig.errors == {}


@both_framings
@every_code
@in_virtual_time
async def test_an_exception_ends_by_its_length(spoken: Spoken, exchange: Exchange) -> None:
    refusal = Coming(TURNAROUND, spoken.frame(HEAD + exchange.refusal))
    with spoken.rig(lambda request: [refusal]) as rig:
        assert await rig.outcome(asked(exchange)) == exchange.refusal
        assert asyncio.get_running_loop().time() == pytest.approx(comes_to_its_end(rig, refusal), abs=SOON)
        assert rig.errors == {"exceptions": 1}


@each_unknown
@in_virtual_time
async def test_a_function_that_nobody_knows_may_write_and_is_never_sent_twice(exchange: Exchange) -> None:
    with Rig(only(spoiled(with_crc(HEAD + exchange.answer)))) as rig:
        with pytest.raises(NoAnswer):
            await rig.ask(asked(exchange))
        assert len(rig.line.sent) == 1


@pytest.mark.parametrize("turnaround", [0.5, 0.9, 0.99], ids=lambda seconds: f"after {seconds:g} s")
@each_unknown
@in_virtual_time
async def test_an_answer_that_begins_in_time_has_the_time_to_end_by_silence(
    exchange: Exchange, turnaround: float
) -> None:
    frame = with_crc(HEAD + exchange.answer)
    with Rig(lambda request: [Coming(turnaround, frame)], response_timeout=1.0) as rig:
        assert await rig.outcome(asked(exchange)) == exchange.answer


@pytest.mark.parametrize(
    ("pdu", "error"),
    [
        (b"\x00", Refused),
        (b"\x80\x00", Refused),
        (b"\xff\x00\x00\x00\x01", Refused),
        (b"\x03", BadRequest),
        (b"\x03\x00\x00\x00\x00", BadRequest),
        (b"\x03\x00\x00\x00\x7e", BadRequest),
        (b"\x03\x00\x00\x00\x01\x00", BadRequest),
        (b"\x01\x00\x00\x07\xd1", BadRequest),
        (b"\x05\x00\x01\xff", BadRequest),
        (b"\x06\x00\x01\x00\x01\x00", BadRequest),
        (b"\x0f\x00\x00\x00\x09\x01\xff", BadRequest),
        (b"\x10\x00\x01\x00\x00\x00", BadRequest),
        (b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01", BadRequest),
        (b"\x08\x00", BadRequest),
        (b"\x14\x08" + bytes(8), BadRequest),
        (b"\x15\x08" + bytes(8), BadRequest),
        (b"\x16\x00\x04\x00\xf2\x00", BadRequest),
        (b"\x2b", BadRequest),
        (b"\x2b\x0e\x01", BadRequest),
        (b"\x17\x00\x03\x00\x02\x00\x0e\x00\x01\x02\x00", BadRequest),
    ],
    ids=code,
)
@in_virtual_time
async def test_a_request_that_cannot_be_one_never_reaches_the_wire(
    pdu: bytes, error: type[GatewayError]
) -> None:
    with Rig() as rig:
        assert await rig.outcome(Request(1, pdu, SCADA)) is error
        assert rig.line.sent == []
