"""When the bus speaks and when it is silent: the gap, the deadlines, and what is told on time."""

import asyncio

import pytest
from bus_kit import (
    CHARACTER,
    GAP,
    TURNAROUND,
    Coming,
    Rig,
    answering,
    good,
    in_turn,
    poll,
    read,
    silent,
    values,
    write,
)
from virtual import in_virtual_time

from gateway.errors import Garbled, NoAnswer, TooLate

ASK = read(1, 0, 2)
REQUEST_TAKES, ANSWER_TAKES = 8 * CHARACTER, 9 * CHARACTER
SILENCE_TAKES = REQUEST_TAKES + 1.0 + ANSWER_TAKES  # until a request without any answer has timed out


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_the_first_request_waits_for_the_gap_as_well() -> None:
    with Rig() as rig:
        rig.ask(ASK)
        assert rig.line.sent == []
        await asyncio.sleep(1)
        assert rig.line.sent[0].at == pytest.approx(GAP)


@in_virtual_time
async def test_on_a_quiet_line_a_request_goes_out_at_once() -> None:
    with Rig() as rig:
        await asyncio.sleep(1)
        rig.ask(ASK)
        assert rig.line.sent[0].at == now()


@in_virtual_time
async def test_the_next_request_leaves_as_soon_as_the_gap_after_an_answer_is_over() -> None:
    with Rig() as rig:
        first, second = rig.ask(ASK), rig.ask(read(2))
        await first
        answered = now()
        await second
        assert rig.line.sent[1].at - answered == pytest.approx(GAP)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@in_virtual_time
async def test_a_full_line_carries_what_the_wire_allows(chunk: int) -> None:
    """Waking once for the rest of an answer costs no time at its end."""
    with Rig(chunk=chunk) as rig:
        await asyncio.gather(*(rig.ask(read(address=address)) for address in range(10)))
        each = GAP + REQUEST_TAKES + TURNAROUND + ANSWER_TAKES
        assert now() == pytest.approx(10 * each, rel=0.01)


@in_virtual_time
async def test_one_transaction_is_on_the_line_at_a_time() -> None:
    with Rig() as rig:
        await asyncio.gather(*(rig.ask(read(unit)) for unit in range(1, 11)))
        assert rig.line.collisions == 0
        assert [sent.frame[0] for sent in rig.line.sent] == list(range(1, 11))


@in_virtual_time
async def test_noise_on_an_idle_line_starts_the_gap_again() -> None:
    with Rig() as rig:
        await asyncio.sleep(1)
        rig.line.comes(b"\x00\xff\x55", now())
        await asyncio.sleep(2.5 * CHARACTER)
        await rig.ask(ASK)
        assert rig.line.sent[0].at == pytest.approx(1 + 3 * CHARACTER + GAP)


@in_virtual_time
async def test_what_came_unseen_while_the_loop_was_busy_starts_the_gap_again() -> None:
    with Rig() as rig:
        await asyncio.sleep(1)
        rig.line.came_unseen(good(b"\x01" + read(address=7).pdu + b"??"))
        assert await rig.outcome(ASK) == values(ASK)
        assert rig.line.sent[0].at == pytest.approx(1 + GAP)


@in_virtual_time
async def test_what_came_unseen_while_a_request_waited_for_the_gap_starts_it_again() -> None:
    with Rig() as rig:
        first, second = rig.ask(read(2)), rig.ask(ASK)
        await first
        answered = now()
        await asyncio.sleep(GAP / 2)
        rig.line.came_unseen(good(b"\x01" + read(address=7).pdu + b"??"))
        assert await second == values(ASK)
        assert rig.line.sent[1].at - answered == pytest.approx(2 * GAP)


@in_virtual_time
async def test_without_a_gap_the_next_request_leaves_before_the_answer_is_told() -> None:
    with Rig(gap=0.0, chunk=1000) as rig:
        sent_when_told: list[int] = []
        asked = [rig.ask(read(address=address)) for address in range(3)]
        for answer in asked:
            answer.add_done_callback(lambda answer: sent_when_told.append(len(rig.line.sent)))
        assert await asyncio.gather(*asked) == [values(read(address=address)) for address in range(3)]
        assert sent_when_told == [2, 3, 3]


# Deadlines


@in_virtual_time
async def test_silence_is_told_when_the_time_to_the_first_byte_and_of_the_answer_itself_is_over() -> None:
    with Rig(silent) as rig:
        assert await rig.outcome(ASK) is NoAnswer
        assert now() == pytest.approx(GAP + SILENCE_TAKES)


@in_virtual_time
async def test_an_answer_that_begins_in_time_is_waited_for_to_its_end() -> None:
    request = read(count=125)
    with Rig(lambda frame: [Coming(0.99, good(frame))]) as rig:
        assert await rig.outcome(request) == values(request)


@in_virtual_time
async def test_an_answer_that_lies_in_the_kernel_at_the_deadline_is_taken() -> None:
    """After a stall of the process the alarm may ring before anything was read."""
    with Rig(silent) as rig:
        answer = rig.ask(ASK)
        await asyncio.sleep(GAP + SILENCE_TAKES - 0.001)
        rig.line.came_unseen(good(rig.line.sent[0].frame))
        assert await answer == values(ASK)
        assert rig.errors == {}


@in_virtual_time
async def test_what_waited_too_long_is_told_so_on_time_and_never_sent() -> None:
    with Rig(silent, request_timeout=0.7) as rig:
        first = rig.ask(ASK)
        waiting = [rig.ask(write(address=address)) for address in range(3)]
        await asyncio.wait(waiting)
        assert now() == pytest.approx(0.7)
        assert [type(answer.exception()) for answer in waiting] == [TooLate] * 3
        await asyncio.wait([first])
        await asyncio.sleep(10)
        assert rig.addresses == [0]


@in_virtual_time
async def test_what_waits_behind_a_timeout_is_told_on_time_while_the_line_is_closed() -> None:
    with Rig(silent, request_timeout=1.2) as rig:
        rig.ask(ASK)
        await asyncio.sleep(0.1)
        assert await rig.outcome(write()) is TooLate
        assert now() == pytest.approx(1.3)
        assert len(rig.line.sent) == 1


@in_virtual_time
async def test_the_request_timeout_does_not_cut_an_exchange_short_that_is_on_the_wire() -> None:
    with Rig(lambda frame: [Coming(0.9, good(frame))], request_timeout=0.1) as rig:
        assert await rig.outcome(ASK) == values(ASK)


@in_virtual_time
async def test_what_is_on_the_wire_is_not_given_up_with_what_was_asked_before_it_and_still_waits() -> None:
    with Rig(lambda frame: [Coming(0.9, good(frame))], request_timeout=0.1) as rig:
        waits, goes_first = rig.ask(poll()), rig.ask(write())
        assert await goes_first == values(write())
        assert isinstance(waits.exception(), TooLate)


@in_virtual_time
async def test_a_repeated_read_is_not_thrown_away_because_it_waited_long_at_first() -> None:
    broken_late = in_turn(lambda frame: [Coming(0.9, good(frame)[:-2] + b"??")], answering)
    with Rig(broken_late, request_timeout=0.5) as rig:
        assert await rig.outcome(ASK) == values(ASK)


# The line stays closed after a timeout


@in_virtual_time
async def test_after_a_timeout_the_line_is_closed_for_its_unit_as_long_as_the_guard() -> None:
    with Rig(in_turn(silent, answering)) as rig:
        first, second = rig.ask(ASK), rig.ask(read(1, 50))
        await asyncio.wait([first])
        silent_since = now()
        assert await second == values(read(1, 50))
        assert rig.line.sent[1].at - silent_since == pytest.approx(rig.rules.late_answer_guard)


@in_virtual_time
async def test_a_late_answer_is_counted_and_opens_the_line_again() -> None:
    lateness = 1.2
    with Rig(in_turn(lambda frame: [Coming(lateness, good(frame))], answering)) as rig:
        first, second = rig.ask(ASK), rig.ask(read(1, 50, 2))
        await asyncio.wait([first])
        assert isinstance(first.exception(), NoAnswer)
        assert await second == values(read(1, 50, 2))
        assert rig.errors == {"timeout": 1, "late": 1}
        assert rig.tally.unit(1).late == 1
        late_answer_ended = GAP + REQUEST_TAKES + lateness + ANSWER_TAKES
        assert rig.line.sent[1].at == pytest.approx(late_answer_ended + GAP)


@in_virtual_time
async def test_noise_after_a_timeout_keeps_the_line_closed_until_it_was_quiet_for_the_guard() -> None:
    with Rig(in_turn(lambda frame: [Coming(1.3, b"\x00")], answering)) as rig:
        first, second = rig.ask(ASK), rig.ask(read(1, 50))
        await asyncio.wait([first])
        assert await second == values(read(1, 50))
        noise_ended = GAP + REQUEST_TAKES + 1.3 + CHARACTER
        assert rig.line.sent[1].at == pytest.approx(noise_ended + rig.rules.late_answer_guard)


@pytest.mark.parametrize("request_", [read(1, 0, 2), write(1, 0, 9)], ids=["read", "write"])
@in_virtual_time
async def test_a_noise_before_the_timeout_does_not_open_the_line_to_the_late_answer(request_) -> None:
    """The noise alone looks like an answer cut short; the real one may still come."""
    noise_then_late = in_turn(
        lambda frame: [Coming(0.5, b"\x55"), Coming(0.8, good(frame))],
        lambda frame: [Coming(0.6, good(frame))],
    )
    asked_next = request_._replace(pdu=request_.pdu[:2] + b"\x32" + request_.pdu[3:])
    with Rig(noise_then_late, retries=0) as rig:
        first, second = rig.ask(request_), rig.ask(asked_next)
        await asyncio.wait([first])
        assert isinstance(first.exception(), NoAnswer)
        assert await second == values(asked_next)
        assert rig.line.collisions == 0


@in_virtual_time
async def test_an_answer_that_begins_in_time_may_end_late() -> None:
    """By a USB adapter or a radio it comes in pieces with pauses longer than the gap between them."""

    def halting(frame: bytes) -> list[Coming]:
        answer = good(frame)
        return [Coming(0.99, answer[:2]), Coming(0.1, answer[2:4]), Coming(0.03, answer[4:])]

    with Rig(halting) as rig:
        assert await rig.outcome(ASK) == values(ASK)
        assert (len(rig.line.sent), rig.errors) == (1, {})


@in_virtual_time
async def test_an_answer_that_stops_in_the_middle_ends_before_the_read_is_repeated() -> None:
    def halting(frame: bytes) -> list[Coming]:
        answer = good(frame)
        return [Coming(0.99, answer[:2]), Coming(0.3, answer[2:])]

    with Rig(in_turn(halting, answering)) as rig:
        assert await rig.outcome(ASK) == values(ASK)
        assert rig.line.collisions == 0
        assert rig.errors == {"short": 1, "late": 1}


# A line that has gone or does not take anything


@in_virtual_time
async def test_a_device_that_vanishes_while_it_is_waited_for_is_no_bug() -> None:
    with Rig(silent) as rig:
        answer = rig.ask(ASK)
        await asyncio.sleep(0.5)
        rig.line.gone = True
        await asyncio.wait([answer])
        assert isinstance(answer.exception(), NoAnswer)


@in_virtual_time
async def test_a_line_that_takes_no_bytes_is_no_answer_and_what_it_took_is_thrown_away() -> None:
    with Rig() as rig:
        rig.line.stuck = True
        assert await rig.outcome(ASK) is NoAnswer
        assert rig.line.discarded == 1
        rig.line.stuck = False
        assert await rig.outcome(ASK) == values(ASK)


@in_virtual_time
async def test_after_a_timeout_the_kernel_forgets_what_the_device_did_not_take() -> None:
    with Rig(silent) as rig:
        await rig.outcome(ASK)
        assert rig.line.discarded == 1


@in_virtual_time
async def test_noise_without_end_is_looked_at_in_heaps() -> None:
    """Each look searches all that has come: on a fast line a look for each byte would take the whole CPU."""
    looks = 0

    with Rig(lambda frame: [Coming(0.0, b"\x55" * 900)]) as rig:
        received = rig.bus.received

        def count(data: bytes) -> None:
            nonlocal looks
            looks += 1
            received(data)

        rig.line.sink = count
        assert await rig.outcome(ASK) is Garbled
        assert looks < 250
