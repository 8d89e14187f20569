"""What becomes of one request, whatever the line brings: its right answer, or an error; never another's."""

import asyncio
from dataclasses import dataclass, field

import pytest
from bus_kit import (
    CHARACTER,
    GAP,
    SOON,
    TURNAROUND,
    Coming,
    Rig,
    Script,
    answering,
    good,
    in_turn,
    read,
    silent,
    spoiled,
    values,
    write,
)
from virtual import in_virtual_time

from gateway.contracts import Request, Traced
from gateway.demo.bus import with_crc
from gateway.errors import Garbled, GatewayError, NoAnswer, NoRoute

ASK = read(1, 0, 2)
SET = write(1, 5, 7)
RIGHT = values(ASK)


def before(noise: bytes) -> Script:
    """`noise`, and the good answer right behind it."""
    return lambda request: [Coming(TURNAROUND, noise + good(request))]


def behind(noise: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, good(request) + noise)]


def only(frame: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, frame)]


def wrong_crc(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, spoiled(good(request)))]


def cut(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request)[:-3])]


def slow(request: bytes) -> list[Coming]:
    """A pause between any two characters: what a USB adapter makes of an answer."""
    return [Coming(0.02, bytes((byte,))) for byte in good(request)]


@dataclass(frozen=True)
class Case:
    name: str
    script: Script | tuple[Script, ...]  # for all requests, or one for each
    request: Request = ASK
    outcome: bytes | type[GatewayError] = RIGHT
    sent: int = 1
    errors: dict[str, int] = field(default_factory=dict)

    def play(self) -> Script:
        return in_turn(*self.script) if isinstance(self.script, tuple) else self.script

    def __str__(self) -> str:
        return self.name


OF_UNIT_2 = good(with_crc(b"\x02" + ASK.pdu))
OF_FUNCTION_4 = with_crc(b"\x01\x04\x04\x00\x01\x00\x02")
OF_THREE_REGISTERS = good(with_crc(b"\x01" + read(count=3).pdu))
OF_REGISTER_6 = with_crc(b"\x01" + write(1, 6, 7).pdu)
EXCEPTION = with_crc(b"\x01\x83\x02")
ITSELF = with_crc(b"\x01" + ASK.pdu)

CASES = (
    Case("a good answer", answering),
    Case("a good answer with pauses in it", slow),
    Case("the echo of a write", answering, SET, SET.pdu),
    Case("an exception of the device", only(EXCEPTION), outcome=b"\x83\x02", errors={"exceptions": 1}),
    Case(
        "a device that says itself that a gateway has no answer",
        only(with_crc(b"\x01\x83\x0b")),
        outcome=b"\x83\x0b",
        errors={"exceptions": 1},
    ),
    Case("noise before the answer", before(b"\x00\xff\x55")),
    Case("noise before the answer that begins like it", before(b"\x01")),
    Case("much noise before the answer", before(b"\x55" * 600)),
    Case("noise behind the answer", behind(b"\x00\xff")),
    Case("a write with noise before its echo", before(b"\xff\x00"), SET, SET.pdu),
    Case("another unit's answer before ours", before(OF_UNIT_2), errors={"foreign": 1}),
    Case("another function's answer before ours", before(OF_FUNCTION_4), errors={"foreign": 1}),
    Case("an answer of another length before ours", before(OF_THREE_REGISTERS), errors={"foreign": 1}),
    Case("two foreign answers before ours", before(OF_UNIT_2 + OF_FUNCTION_4), errors={"foreign": 2}),
    Case(
        "the echo of another address before ours", before(OF_REGISTER_6), SET, SET.pdu, errors={"foreign": 1}
    ),
    Case(
        "nothing but another unit's answer",
        only(OF_UNIT_2),
        outcome=NoAnswer,
        errors={"foreign": 1, "timeout": 1},
    ),
    Case("our own request given back before the answer", before(ITSELF), errors={"echo": 1}),
    Case("a read with a wrong CRC, then a good one", (wrong_crc, answering), sent=2, errors={"crc": 1}),
    Case("a read with a wrong CRC twice", wrong_crc, outcome=Garbled, sent=2, errors={"crc": 2}),
    Case("a write whose echo has a wrong CRC", wrong_crc, SET, Garbled, errors={"crc": 1}),
    Case("a read cut short, then whole", (cut, answering), sent=2, errors={"short": 1}),
    Case("a read cut short twice", cut, outcome=Garbled, sent=2, errors={"short": 2}),
    Case("a write whose echo is cut short", cut, SET, Garbled, errors={"short": 1}),
    Case(
        "a read cut short, then silence",
        (cut, silent),
        outcome=NoAnswer,
        sent=2,
        errors={"short": 1, "timeout": 1},
    ),
    Case("a read and silence", silent, outcome=NoAnswer, errors={"timeout": 1}),
    Case("a write and silence", silent, SET, NoAnswer, errors={"timeout": 1}),
)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000], ids=lambda chunk: f"{chunk} at a time")
@pytest.mark.parametrize("case", CASES, ids=str)
@in_virtual_time
async def test_a_request_has_the_right_outcome_and_its_trouble_is_counted(case: Case, chunk: int) -> None:
    with Rig(case.play(), chunk=chunk) as rig:
        outcome = await rig.outcome(case.request)

        assert outcome == case.outcome
        assert len(rig.line.sent) == case.sent
        assert rig.errors == case.errors


# Broadcasts

TO_ALL = write(0, 5, 7)


@in_virtual_time
async def test_without_permission_nothing_goes_to_unit_0() -> None:
    with Rig() as rig:
        assert await rig.outcome(TO_ALL) is NoRoute
        assert rig.line.sent == []


@in_virtual_time
async def test_a_read_is_never_broadcast() -> None:
    with Rig(broadcast=True) as rig:
        assert await rig.outcome(read(0)) is NoRoute
        assert rig.line.sent == []


@in_virtual_time
async def test_a_broadcast_has_an_empty_answer_and_the_devices_get_their_time() -> None:
    with Rig(broadcast=True) as rig:
        broadcast, next_one = rig.ask(TO_ALL), rig.ask(ASK)
        assert await broadcast == b""
        assert await next_one == values(ASK)

        first, second = rig.line.sent
        assert second.at - first.at == pytest.approx(
            len(first.frame) * CHARACTER + rig.rules.turnaround_delay
        )


# What is seen of it


@in_virtual_time
async def test_each_unit_has_its_own_counts() -> None:
    script = in_turn(answering, silent, silent, wrong_crc, answering)
    with Rig(script) as rig:
        for unit in (1, 2, 2, 3):
            await rig.outcome(read(unit))

        units = {unit: seen.status() for unit, seen in rig.tally.units.items()}
        assert [(seen["requests"], seen["answers"], seen["timeouts"]) for seen in units.values()] == [
            (1, 1, 0),
            (2, 0, 2),
            (2, 1, 0),
        ]
        assert [units[unit]["state"] for unit in (1, 2, 3)] == ["ok", "silent", "ok"]
        assert (rig.tally.tx_frames, rig.tally.rx_frames) == (5, 2)


@in_virtual_time
async def test_a_silent_unit_that_answers_again_is_not_silent_any_more() -> None:
    with Rig(in_turn(silent, silent, answering)) as rig:
        for _ in range(2):
            await rig.outcome(read(2))
        assert rig.tally.unit(2).status()["state"] == "silent"
        await asyncio.sleep(0.6)
        await rig.outcome(read(2))
        assert rig.tally.unit(2).status()["state"] == "ok"


@in_virtual_time
async def test_latency_is_counted_from_the_last_character_of_the_request_to_that_of_the_answer() -> None:
    with Rig() as rig:
        await rig.outcome(ASK)
        expected = pytest.approx(1000 * (TURNAROUND + 9 * CHARACTER), abs=1000 * SOON)
        assert rig.tally.unit(1).status()["latency_ms"] == {"p50": expected, "p99": expected}


@in_virtual_time
async def test_the_trace_shows_the_frames_and_what_they_mean() -> None:
    with Rig(chunk=1000) as rig, rig.trace.tap() as tap:
        await rig.outcome(SET)
        lines: list[Traced] = await tap.take()

        frame = rig.line.sent[0].frame
        assert [(line.way, line.data) for line in lines] == [("tx", frame), ("rx", frame), ("rx", b"")]
        assert lines[0].text.startswith("unit 1: ")


@in_virtual_time
async def test_requests_of_one_asker_may_be_piled_up_and_each_gets_its_own_answer() -> None:
    asked = [read(1 + n % 3, n, 1 + n % 5) for n in range(15)]
    with Rig() as rig:
        answers = [rig.ask(request) for request in asked]
        assert await asyncio.gather(*answers) == [values(request) for request in asked]
        assert rig.line.collisions == 0


@in_virtual_time
async def test_whoever_has_an_answer_may_ask_again_in_the_same_breath() -> None:
    with Rig(queue=1) as rig:
        seen: list[bytes] = []

        def again(answer: asyncio.Future[bytes]) -> None:
            seen.append(answer.result())
            if len(seen) < 5:
                rig.ask(read(address=len(seen))).add_done_callback(again)

        rig.ask(read(address=0)).add_done_callback(again)
        while len(seen) < 5:
            await asyncio.sleep(0.01)
        assert seen == [values(read(address=address)) for address in range(5)]


REQUEST_TAKES, ANSWER_TAKES = 8 * CHARACTER, 9 * CHARACTER  # seconds


# How busy the line is


@in_virtual_time
async def test_a_line_that_is_never_idle_is_a_hundred_percent_busy() -> None:
    with Rig(queue=1000, request_timeout=100.0) as rig:
        asked = [rig.ask(read(address=address % 100)) for address in range(500)]
        await asyncio.sleep(1)
        rig.occupancy.percent()
        await asyncio.sleep(10)
        assert rig.occupancy.percent() > 99.0
        for answer in asked:
            answer.cancel()


@in_virtual_time
async def test_a_line_that_waits_for_silent_devices_is_busy_too() -> None:
    with Rig(silent, request_timeout=100.0) as rig:
        for unit in range(1, 12):
            rig.ask(read(unit))
        await asyncio.sleep(11)
        assert rig.occupancy.percent() > 90.0  # the exchange that still lasts is not counted yet


@in_virtual_time
async def test_a_line_with_one_request_a_second_is_busy_for_its_share() -> None:
    with Rig(chunk=1) as rig:
        for second in range(12):
            rig.ask(ASK)
            await asyncio.sleep(second + 1 - asyncio.get_running_loop().time())
        each = REQUEST_TAKES + TURNAROUND + ANSWER_TAKES + GAP
        assert rig.occupancy.percent() == pytest.approx(100 * each, abs=0.5)
