"""More answers than the wire has room for.

Reads that share a transaction, and answers that are still young.
"""

import asyncio

import pytest
from bus_kit import (
    CHARACTER,
    GAP,
    Coming,
    Rig,
    answering,
    good,
    in_turn,
    outcome,
    poll,
    read,
    silent,
    spoiled,
    values,
    write,
)
from virtual import in_virtual_time

from gateway.contracts import Asker, Request
from gateway.demo.bus import with_crc
from gateway.errors import Busy, Garbled, LineDown, NoAnswer, TooLate

SENDING = GAP + CHARACTER  # seconds: the first request has begun


def of(number: int) -> Asker:
    return Asker("10.0.0.1", number)


def everyone(many: int, address: int = 0, count: int = 10) -> list[Request]:
    return [read(1, address, count, of(number)) for number in range(many)]


@in_virtual_time
async def test_identical_reads_that_wait_together_go_out_once() -> None:
    with Rig() as rig:
        answers = [rig.ask(request) for request in everyone(8)]
        assert await asyncio.gather(*answers) == [values(everyone(1)[0])] * 8
        assert len(rig.line.sent) == 1
        assert rig.bus.queue == 0
        assert rig.tally.unit(1).requests == 1


@in_virtual_time
async def test_who_asks_while_it_is_on_the_wire_has_the_next_transaction() -> None:
    with Rig() as rig:
        first = rig.ask(read(asker=of(1)))
        await asyncio.sleep(SENDING)
        later = [rig.ask(read(asker=of(number))) for number in (2, 3)]
        await asyncio.wait([first, *later])
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_eight_clients_that_ask_again_at_once_get_eight_answers_for_each_transaction() -> None:
    answers = 0

    async def client(rig: Rig, number: int) -> None:
        nonlocal answers
        while True:
            assert await rig.ask(read(asker=of(number), count=10)) == values(read(count=10))
            answers += 1

    with Rig() as rig:
        clients = [asyncio.create_task(client(rig, number)) for number in range(8)]
        await asyncio.sleep(20)
        for one in clients:
            one.cancel()
        assert answers >= 8 * (len(rig.line.sent) - 1)


@in_virtual_time
async def test_reads_of_one_connection_are_never_one() -> None:
    with Rig() as rig:
        await asyncio.wait([rig.ask(read()), rig.ask(read()), rig.ask(read(asker=of(2)))])
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_with_coalesce_off_each_has_its_own() -> None:
    with Rig(coalesce=False) as rig:
        await asyncio.wait([rig.ask(request) for request in everyone(4)])
        assert len(rig.line.sent) == 4


@in_virtual_time
async def test_a_part_of_a_larger_read_is_answered_from_it_whoever_came_first() -> None:
    small, large = read(1, 4, 2, of(1)), read(1, 0, 10, of(2))
    for first, second in ((small, large), (large, small)):
        with Rig() as rig:
            answers = [rig.ask(first), rig.ask(second)]
            assert await asyncio.gather(*answers) == [values(first), values(second)]
            assert [sent.frame[4:6] for sent in rig.line.sent] == [b"\x00\x0a"]


@in_virtual_time
async def test_a_poll_goes_along_with_a_read() -> None:
    with Rig() as rig:
        await asyncio.wait([rig.ask(read(asker=of(1))), rig.ask(poll(0))])
        assert len(rig.line.sent) == 1


def no_more_than_two(frame: bytes) -> list[Coming]:
    return [Coming(0.01, good(frame) if frame[5] <= 2 else with_crc(b"\x01\x83\x02"))]


@in_virtual_time
async def test_when_the_larger_one_is_refused_the_smaller_is_sent_itself() -> None:
    small, large = read(1, 4, 2, of(1)), read(1, 0, 10, of(2))
    with Rig(no_more_than_two) as rig:
        answers = [rig.ask(large), rig.ask(small)]
        assert await asyncio.gather(*answers) == [b"\x83\x02", values(small)]
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_when_the_larger_one_is_not_answered_the_smaller_is_sent_itself() -> None:
    small, large = read(1, 4, 2, of(1)), read(1, 0, 10, of(2))
    with Rig(in_turn(silent, answering)) as rig:
        answers = [rig.ask(small), rig.ask(large)]
        assert [await outcome(answer) for answer in answers] == [values(small), NoAnswer]
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_whose_time_is_over_before_the_smaller_can_be_sent_itself_is_told_so() -> None:
    small, large = read(1, 4, 2, of(1)), read(1, 0, 10, of(2))
    with Rig(silent, request_timeout=0.9) as rig:
        answers = [rig.ask(small), rig.ask(large)]
        assert [await outcome(answer) for answer in answers] == [TooLate, NoAnswer]
        assert len(rig.line.sent) == 1


@in_virtual_time
async def test_identical_reads_share_a_silence_each_with_an_error_of_its_own() -> None:
    with Rig(silent) as rig:
        answers = [rig.ask(request) for request in everyone(3)]
        await asyncio.wait(answers)
        errors = [answer.exception() for answer in answers]
        assert [type(error) for error in errors] == [NoAnswer] * 3
        assert len(set(map(id, errors))) == 3
        assert len(rig.line.sent) == 1


@in_virtual_time
async def test_a_broken_answer_is_asked_for_again_for_all_of_them() -> None:
    broken = in_turn(lambda frame: [Coming(0.01, spoiled(good(frame)))], answering)
    with Rig(broken) as rig:
        answers = [rig.ask(request) for request in everyone(4)]
        assert await asyncio.gather(*answers) == [values(everyone(1)[0])] * 4
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_answers_that_stay_broken_fail_for_all_of_them_after_the_retries() -> None:
    with Rig(lambda frame: [Coming(0.01, spoiled(good(frame)))], retries=2) as rig:
        answers = [rig.ask(request) for request in everyone(4)]
        assert [await outcome(answer) for answer in answers] == [Garbled] * 4
        assert len(rig.line.sent) == 3


@in_virtual_time
async def test_who_leaves_takes_nobody_along() -> None:
    with Rig() as rig:
        answers = [rig.ask(request) for request in everyone(3)]
        answers[0].cancel()
        assert await asyncio.gather(*answers[1:]) == [values(everyone(1)[0])] * 2
        assert len(rig.line.sent) == 1


@in_virtual_time
async def test_who_leaves_while_it_is_on_the_wire_leaves_the_others_their_answer() -> None:
    with Rig() as rig:
        answers = [rig.ask(request) for request in everyone(3)]
        await asyncio.sleep(SENDING)
        answers[0].cancel()
        assert await asyncio.gather(*answers[1:]) == [values(everyone(1)[0])] * 2


@in_virtual_time
async def test_who_goes_along_makes_room_for_his_next_request() -> None:
    with Rig(queue=1) as rig:
        for _ in range(5):
            answers = [rig.ask(request) for request in everyone(4)]
            assert Busy not in [await outcome(answer) for answer in answers]


@in_virtual_time
async def test_the_line_goes_and_all_of_them_learn_it() -> None:
    with Rig(silent) as rig:
        answers = [rig.ask(request) for request in everyone(3)]
        await asyncio.sleep(SENDING)
        answers.append(rig.ask(everyone(1)[0]))
        rig.bus.close(LineDown("unplugged"))
        assert [await outcome(answer) for answer in answers] == [LineDown] * 4


# Writes stand between


class Register:
    """A device with one register that counts how often it was read since it was written."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self, frame: bytes) -> list[Coming]:
        if frame[1] == 6:
            self.value = int.from_bytes(frame[4:6], "big")
            return [Coming(0.01, frame)]
        return [Coming(0.01, with_crc(frame[:2] + b"\x02" + self.value.to_bytes(2, "big")))]


def value(pdu: bytes) -> int:
    return int.from_bytes(pdu[2:], "big")


@in_virtual_time
async def test_reads_before_and_behind_a_write_are_not_one() -> None:
    with Rig(Register()) as rig:
        before = rig.ask(read(count=1, asker=of(1)))
        written = rig.ask(write(1, 0, 7, of(2)))
        behind = [rig.ask(read(count=1, asker=of(number))) for number in (2, 3)]
        await asyncio.wait([before, written, *behind])
        assert [value(answer.result()) for answer in behind] == [7, 7]
        assert [sent.frame[1] for sent in rig.line.sent] == [6, 3, 3]


@in_virtual_time
async def test_a_write_to_another_unit_stands_between_nothing() -> None:
    with Rig() as rig:
        reads = [rig.ask(read(asker=of(1))), rig.ask(write(2, asker=of(2))), rig.ask(read(asker=of(3)))]
        await asyncio.wait(reads)
        assert [sent.frame[:2] for sent in rig.line.sent] == [b"\x02\x06", b"\x01\x03"]


@in_virtual_time
async def test_what_the_gateway_does_not_know_counts_as_a_write() -> None:
    with Rig(Register()) as rig:
        before = rig.ask(read(count=1, asker=of(1)))
        unknown = rig.ask(Request(1, b"\x41\x01", of(2)))
        behind = rig.ask(read(count=1, asker=of(3)))
        await asyncio.wait([before, unknown, behind])
        assert [sent.frame[1] for sent in rig.line.sent].count(3) == 2


# Answers that are still young


@in_virtual_time
async def test_without_a_cache_every_read_is_asked() -> None:
    with Rig() as rig:
        for _ in range(3):
            await rig.outcome(read())
        assert len(rig.line.sent) == 3


@in_virtual_time
async def test_a_cached_answer_serves_repeated_and_smaller_reads_until_it_is_old() -> None:
    with Rig(cache=0.2) as rig:
        assert await rig.outcome(read(1, 0, 10)) == values(read(1, 0, 10))
        for request in (read(1, 0, 10), read(1, 3, 2, of(9)), poll(1)):
            answer = rig.ask(request)
            assert answer.done()
            assert answer.result() == values(request)
        assert len(rig.line.sent) == 1
        await asyncio.sleep(0.2)
        await rig.outcome(read(1, 0, 10))
        assert len(rig.line.sent) == 2


@in_virtual_time
async def test_a_cached_answer_serves_no_larger_read_and_no_other_unit() -> None:
    with Rig(cache=60.0) as rig:
        await rig.outcome(read(1, 0, 10))
        for request in (read(1, 0, 11), read(2, 0, 10)):
            assert await rig.outcome(request) == values(request)
        assert len(rig.line.sent) == 3


@in_virtual_time
async def test_a_write_ends_the_cache_from_the_moment_it_is_asked() -> None:
    with Rig(Register(), cache=60.0) as rig:
        await rig.outcome(read(count=1))
        written = rig.ask(write(1, 0, 7))
        own, others = rig.ask(read(count=1)), rig.ask(read(count=1, asker=of(2)))
        await written
        assert [value(await own), value(await others)] == [7, 7]
        assert value(await rig.ask(read(count=1, asker=of(3)))) == 7


@pytest.mark.parametrize("request_", [read(1), write(1)], ids=["read", "write"])
@in_virtual_time
async def test_a_timeout_ends_the_cache(request_: Request) -> None:
    other = read(1, 50)
    with Rig(in_turn(answering, silent, answering), cache=60.0) as rig:
        await rig.outcome(other)
        assert await rig.outcome(request_) is NoAnswer
        assert await rig.outcome(other) == values(other)
        assert len(rig.line.sent) == 3


@in_virtual_time
async def test_an_exception_is_not_kept() -> None:
    with Rig(no_more_than_two, cache=60.0) as rig:
        for _ in range(2):
            assert await rig.outcome(read(1, 0, 10)) == b"\x83\x02"
        assert len(rig.line.sent) == 2


# The line gives back what we say


@pytest.mark.parametrize("request_", [read(1, 0, 2), write(1, 5, 7)], ids=["read", "write"])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
@in_virtual_time
async def test_the_own_echo_is_dropped_exactly(request_: Request, chunk: int) -> None:
    def echoing(frame: bytes) -> list[Coming]:
        return [Coming(0.0, frame), Coming(0.05, good(frame))]

    with Rig(echoing, chunk=chunk, echo=True) as rig:
        for _ in range(3):
            assert await rig.outcome(request_) == values(request_)
        assert rig.errors == {}


@in_virtual_time
async def test_a_write_of_which_only_the_echo_comes_was_not_answered() -> None:
    with Rig(lambda frame: [Coming(0.0, frame)], echo=True) as rig:
        assert await rig.outcome(write(1, 5, 7)) is NoAnswer
        assert rig.errors == {"timeout": 1}


@in_virtual_time
async def test_the_echo_of_a_broadcast_is_dropped_too() -> None:
    def echoing(frame: bytes) -> list[Coming]:
        return [Coming(0.0, frame), *([Coming(0.05, good(frame))] if frame[0] else [])]

    with Rig(echoing, echo=True, broadcast=True) as rig:
        assert await rig.outcome(write(0)) == b""
        assert await rig.outcome(read(1)) == values(read(1))
        assert rig.errors == {}
