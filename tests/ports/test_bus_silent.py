"""A device that does not answer costs the others almost nothing, and is found again by itself."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from bus_kit import GAP, Coming, Rig, answering, good, outcome, read, silent, spoiled, values, write
from virtual import in_virtual_time

from gateway.contracts import Asker
from gateway.errors import Busy, Garbled, LineDown, NoAnswer

DEAD, LIVE = 5, 1
SCADA, HMI = Asker("10.0.0.1", 1), Asker("10.0.0.2", 2)
TELLING = 0.1  # seconds until a read of a silent unit is refused


def dead_until(comeback: float = float("inf")) -> Callable[[bytes], list[Coming]]:
    """The unit DEAD answers from `comeback` on, loop time; all others always do."""

    def play(frame: bytes) -> list[Coming]:
        gone = frame[0] == DEAD and asyncio.get_running_loop().time() < comeback
        return silent(frame) if gone else answering(frame)

    return play


def asked(rig: Rig, unit: int) -> list[float]:
    """When, loop time."""
    return [sent.at for sent in rig.line.sent if sent.frame[0] == unit]


async def made_silent(rig: Rig) -> None:
    for _ in range(2):
        assert await rig.outcome(read(DEAD)) is NoAnswer


@in_virtual_time
async def test_reads_of_a_silent_unit_are_refused_after_a_short_while_and_stay_off_the_wire() -> None:
    with Rig(dead_until()) as rig:
        await made_silent(rig)
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer, match="unit 5 is silent"):
            await rig.ask(read(DEAD))
        assert asyncio.get_running_loop().time() - began == pytest.approx(TELLING)
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_a_client_without_a_pause_gets_ten_refusals_a_second_and_few_tries() -> None:
    refusals = 0
    with Rig(dead_until()) as rig:
        await made_silent(rig)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 60:
            assert await rig.outcome(read(DEAD)) is NoAnswer
            refusals += 1
        tries = asked(rig, DEAD)[2:]
        assert refusals < 600
        assert 6 <= len(tries) <= 8, "0.5, 1.5, 4.5 and then 10 s after each silence"


@in_virtual_time
async def test_a_live_unit_keeps_the_line_while_a_dead_one_is_hammered() -> None:
    answers = 0
    with Rig(dead_until(), response_timeout=0.5) as rig:

        async def hammer() -> None:
            while True:
                await rig.outcome(read(DEAD, asker=HMI))

        async with asyncio.timeout(30):
            hammering = asyncio.create_task(hammer())
            while asyncio.get_running_loop().time() < 25:
                assert await rig.outcome(read(LIVE, asker=SCADA)) == values(read(LIVE))
                answers += 1
            hammering.cancel()
        alone = 25 / (0.010 + 0.017 + GAP)
        assert answers > 0.83 * alone


@in_virtual_time
async def test_what_waits_for_a_unit_that_turns_silent_is_told_in_its_turn() -> None:
    with Rig(dead_until(), request_timeout=100.0) as rig:
        waiting = [rig.ask(read(DEAD, address)) for address in range(10)]
        assert [await outcome(answer) for answer in waiting] == [NoAnswer] * 10
        assert len(rig.line.sent) <= 4


@in_virtual_time
async def test_the_first_answer_ends_it() -> None:
    with Rig(dead_until(comeback=5.0)) as rig:
        await made_silent(rig)
        while await rig.outcome(read(DEAD)) is NoAnswer:
            pass
        assert asyncio.get_running_loop().time() < 8.0
        assert [await rig.outcome(read(DEAD, address)) for address in (7, 8)] == [
            values(read(DEAD, 7)),
            values(read(DEAD, 8)),
        ]


@in_virtual_time
async def test_an_exception_of_the_device_is_an_answer() -> None:
    def refusing(frame: bytes) -> list[Coming]:
        return [Coming(0.01, good(frame[:1] + b"\x03\xff\xff\x00\x02" + b"\0\0"))]

    with Rig(refusing) as rig:
        for _ in range(4):
            assert await rig.outcome(read(DEAD)) == b"\x83\x02"
        assert len(rig.line.sent) == 4


@in_virtual_time
async def test_a_write_to_a_silent_unit_is_tried_but_not_one_right_after_the_other() -> None:
    with Rig(dead_until(), request_timeout=100.0) as rig:
        await made_silent(rig)
        writes = [rig.ask(write(DEAD, address)) for address in range(3)]
        reads = [rig.ask(read(LIVE, address, asker=HMI)) for address in range(16)]
        assert await asyncio.gather(*reads) == [values(read(LIVE, address)) for address in range(16)]
        assert [await outcome(answer) for answer in writes] == [NoAnswer] * 3
        tries = asked(rig, DEAD)[1:]
        assert len(tries) == 4
        assert all(after - before >= 2.0 for before, after in pairwise(tries))


@in_virtual_time
async def test_a_write_that_is_answered_ends_it_too() -> None:
    with Rig(dead_until(comeback=2.5)) as rig:
        await made_silent(rig)
        await asyncio.sleep(3)
        assert await rig.outcome(write(DEAD)) == write(DEAD).pdu
        assert await rig.outcome(read(DEAD)) == values(read(DEAD))


@in_virtual_time
async def test_who_has_as_many_refusals_due_as_he_may_have_waiting_is_told_busy() -> None:
    with Rig(dead_until(), queue=3) as rig:
        await made_silent(rig)
        outcomes = [rig.outcome(read(DEAD, address)) for address in range(5)]
        other = rig.outcome(read(DEAD, asker=HMI))
        assert await asyncio.gather(*outcomes, other) == [NoAnswer] * 3 + [Busy] * 2 + [NoAnswer]


@in_virtual_time
async def test_a_refusal_that_is_due_when_the_line_goes_tells_of_the_line() -> None:
    with Rig(dead_until()) as rig:
        await made_silent(rig)
        answer = rig.ask(read(DEAD))
        rig.bus.close(LineDown("unplugged"))
        assert await outcome(answer) is LineDown


@in_virtual_time
async def test_with_skip_silent_off_every_request_is_tried() -> None:
    with Rig(dead_until(), skip_silent=False) as rig:
        for _ in range(4):
            assert await rig.outcome(read(DEAD)) is NoAnswer
        assert len(rig.line.sent) == 4


@in_virtual_time
async def test_noise_on_the_line_does_not_pass_for_a_sign_of_life() -> None:
    with Rig(lambda frame: [Coming(0.01, b"\x00\xfe")]) as rig:
        assert [await rig.outcome(read(DEAD)) for _ in range(3)] == [Garbled, Garbled, NoAnswer]
        assert len(rig.line.sent) == 2
        assert rig.errors == {"short": 2}


@in_virtual_time
async def test_a_unit_that_answers_brokenly_is_there() -> None:
    with Rig(lambda frame: [Coming(0.01, spoiled(good(frame)))], retries=0) as rig:
        for _ in range(4):
            assert await rig.outcome(read(DEAD)) is Garbled
        assert len(rig.line.sent) == 4


# Too late is not silent


@in_virtual_time
async def test_a_unit_that_answers_too_late_is_counted_and_asked_on() -> None:
    with Rig(lambda frame: [Coming(1.3, good(frame))]) as rig:
        for _ in range(5):
            assert await rig.outcome(read(DEAD)) is NoAnswer
            await asyncio.sleep(1)
        known = rig.tally.unit(DEAD)
        assert (len(rig.line.sent), known.late, known.status()["state"]) == (5, 5, "ok")
        assert known.late_after == pytest.approx(1.3, abs=0.02)


@in_virtual_time
async def test_while_a_late_answer_may_come_others_are_asked_and_get_their_own() -> None:
    def late(frame: bytes) -> list[Coming]:
        return [Coming(1.25, good(frame))] if frame[0] == DEAD else [Coming(0.3, good(frame))]

    with Rig(late) as rig:
        slow = rig.ask(read(DEAD))
        assert await rig.outcome(read(LIVE, 50, asker=HMI)) == values(read(LIVE, 50))
        assert await outcome(slow) is NoAnswer
        assert rig.tally.unit(DEAD).late == 1
        assert rig.errors == {"timeout": 1, "late": 1}


@in_virtual_time
async def test_a_unit_may_have_a_timeout_of_its_own() -> None:
    def slow(frame: bytes) -> list[Coming]:
        return [Coming(2.5, good(frame))]

    with Rig(slow, response_timeouts={DEAD: 3.0}) as rig:
        assert await rig.outcome(read(DEAD)) == values(read(DEAD))
        with pytest.raises(NoAnswer, match="unit 1 did not answer within 1 s"):
            await rig.ask(read(LIVE))


# Order


@in_virtual_time
async def test_a_write_does_not_overtake_a_read_of_its_connection_that_waits_for_a_closed_unit() -> None:
    with Rig(dead_until(comeback=1.2)) as rig:
        first = rig.ask(read(DEAD, 0))
        behind = [rig.ask(read(DEAD, 1)), rig.ask(write(LIVE, 2))]
        other = rig.ask(read(LIVE, 3, asker=HMI))
        await asyncio.wait([first, other, *behind])
        assert rig.addresses == [0, 3, 1, 2]
