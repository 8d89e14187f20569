"""Who comes when, who is sent away, and what becomes of those who leave or are left."""

import asyncio
from itertools import pairwise

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

from gateway.contracts import Asker
from gateway.errors import Busy, LineDown, NoAnswer, TooLate

BUSY_WITH_THE_FIRST = GAP + 4 * CHARACTER  # seconds: half of its request has left


# Those who leave


@in_virtual_time
async def test_a_request_that_is_withdrawn_while_it_waits_never_reaches_the_wire() -> None:
    with Rig() as rig:
        first, second, third = (rig.ask(read(address=address)) for address in range(3))
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        second.cancel()
        await asyncio.wait([first, third])
        assert rig.addresses == [0, 2]


@in_virtual_time
async def test_a_request_that_is_withdrawn_before_the_gap_is_over_never_reaches_the_wire() -> None:
    with Rig() as rig:
        rig.ask(write()).cancel()
        await asyncio.sleep(10)
        assert rig.line.sent == []


@in_virtual_time
async def test_an_exchange_on_the_wire_is_finished_though_nobody_wants_it_and_the_next_goes_on() -> None:
    with Rig() as rig:
        first, second = rig.ask(read(address=0)), rig.ask(read(address=50))
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        first.cancel()
        assert await second == values(read(address=50))
        assert rig.addresses == [0, 50]
        assert rig.line.collisions == 0
        assert rig.tally.unit(1).answers == 2


@in_virtual_time
async def test_a_broken_answer_that_nobody_wants_is_not_asked_for_again() -> None:
    with Rig(lambda frame: [Coming(0.01, spoiled(good(frame)))]) as rig:
        first = rig.ask(read())
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        first.cancel()
        await asyncio.sleep(10)
        assert len(rig.line.sent) == 1


@in_virtual_time
async def test_the_late_answer_of_a_withdrawn_request_is_not_given_to_the_next_one() -> None:
    with Rig(in_turn(lambda frame: [Coming(1.2, good(frame))], answering)) as rig:
        first, second = rig.ask(read(address=0)), rig.ask(read(address=50))
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        first.cancel()
        assert await second == values(read(address=50))
        assert rig.errors == {"timeout": 1, "late": 1}


@in_virtual_time
async def test_an_asker_that_gives_up_takes_its_request_back() -> None:
    with Rig() as rig:
        rig.ask(read(address=0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(BUSY_WITH_THE_FIRST):
                await rig.ask(read(address=1))
        await asyncio.sleep(10)
        assert rig.addresses == [0]


# Those for whom there is no room


@in_virtual_time
async def test_who_has_as_much_waiting_as_he_may_is_told_busy_at_once_and_others_are_not() -> None:
    with Rig(queue=3) as rig:
        first = [rig.ask(read(address=address)) for address in range(3)]
        too_much = rig.ask(read(address=9))
        other = rig.ask(read(address=7, asker=Asker("10.0.0.2", 2)))
        assert isinstance(too_much.exception(), Busy)
        assert not other.done()
        await asyncio.wait([*first, other])
        assert sorted(rig.addresses) == [0, 1, 2, 7]


@in_virtual_time
async def test_what_is_on_the_wire_does_not_count_as_waiting() -> None:
    with Rig(queue=1) as rig:
        await asyncio.sleep(1)
        on_the_wire, waiting, too_much = (rig.ask(read(address=address)) for address in range(3))
        assert rig.bus.queue == 1
        assert isinstance(too_much.exception(), Busy)
        await asyncio.gather(on_the_wire, waiting)


@in_virtual_time
async def test_a_line_takes_a_thousand_requests_of_all_askers_and_no_more() -> None:
    with Rig(silent, queue=16) as rig:
        asked = [rig.ask(read(asker=Asker("10.0.0.1", number))) for number in range(1100)]
        refused = [answer for answer in asked if answer.done()]
        assert len(refused) == 1100 - 1024
        assert {type(answer.exception()) for answer in refused} == {Busy}


# Those who are left when the line goes


@in_virtual_time
async def test_when_the_line_goes_everybody_learns_it_at_once_and_from_an_error_of_his_own() -> None:
    with Rig(silent) as rig:
        asked = [rig.ask(read(address=address)) for address in range(5)]
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        rig.bus.close(LineDown("ttyUSB0: unplugged"))
        errors = [answer.exception() for answer in asked]
        assert [(type(error), str(error)) for error in errors] == [(LineDown, "ttyUSB0: unplugged")] * 5
        assert len(set(map(id, errors))) == 5


@in_virtual_time
async def test_a_read_that_waits_to_be_repeated_is_told_too() -> None:
    with Rig(lambda frame: [Coming(0.01, spoiled(good(frame)))]) as rig:
        answer = rig.ask(read())
        while not rig.errors:
            await asyncio.sleep(CHARACTER)
        rig.bus.close(LineDown("ttyUSB0: unplugged"))
        assert isinstance(answer.exception(), LineDown)


@in_virtual_time
async def test_a_closed_bus_sends_nothing_and_hears_nothing() -> None:
    with Rig() as rig:
        answers = [rig.ask(read(address=address)) for address in range(3)]
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        rig.bus.close(LineDown("ttyUSB0: unplugged"))
        await asyncio.sleep(10)
        assert len(rig.line.sent) == 1
        assert [await outcome(answer) for answer in answers] == [LineDown] * 3


@in_virtual_time
async def test_a_line_that_vanishes_as_a_request_is_sent_is_told_to_everyone_who_asks() -> None:
    with Rig() as rig:
        rig.line.gone = True
        answers = [rig.ask(read(address=address)) for address in range(3)]
        assert [await outcome(answer) for answer in answers] == [LineDown] * 3


# Whose turn it is


def askers(*hosts: str) -> list[Asker]:
    return [Asker(host, number) for number, host in enumerate(hosts)]


@in_virtual_time
async def test_requests_of_one_connection_stay_in_their_order() -> None:
    with Rig() as rig:
        await asyncio.wait([rig.ask(read(address=0)), rig.ask(write(address=1)), rig.ask(read(address=2))])
        assert rig.addresses == [0, 1, 2]


@in_virtual_time
async def test_two_hosts_take_turns_however_many_connections_each_has() -> None:
    one, *many = askers("10.0.0.1", *["10.0.0.2"] * 5)
    with Rig(coalesce=False) as rig:
        asked = [rig.ask(read(address=100 + turn, asker=asker)) for asker in many for turn in range(6)]
        asked += [rig.ask(read(address=turn, asker=one)) for turn in range(10)]
        await asyncio.wait(asked)
        hosts = [address < 100 for address in rig.addresses[1:21]]
        assert sum(hosts) == 10
        assert all(before != after for before, after in pairwise(hosts))


@in_virtual_time
async def test_the_connections_of_a_host_take_turns() -> None:
    first, second = askers("10.0.0.1", "10.0.0.1")
    with Rig() as rig:
        asked = [rig.ask(read(address=turn, asker=first)) for turn in range(4)]
        asked += [rig.ask(read(address=10 + turn, asker=second)) for turn in range(4)]
        await asyncio.wait(asked)
        assert rig.addresses == [0, 10, 1, 11, 2, 12, 3, 13]


@in_virtual_time
async def test_a_write_goes_before_the_reads_and_a_read_before_the_polls() -> None:
    one, two = askers("10.0.0.1", "10.0.0.2")
    with Rig() as rig:
        asked = [rig.ask(poll(0)), rig.ask(read(address=1, asker=one)), rig.ask(write(address=2, asker=two))]
        await asyncio.wait(asked)
        assert rig.addresses == [2, 1, 0]


@in_virtual_time
async def test_polls_give_way_to_a_busy_scada_but_do_not_starve() -> None:
    with Rig(request_timeout=1000.0) as rig:
        scada_is_busy = True

        def again(answer: asyncio.Future[bytes]) -> None:
            if scada_is_busy:
                rig.ask(read(address=1)).add_done_callback(again)

        for _ in range(4):
            rig.ask(read(address=1)).add_done_callback(again)
        polls = [rig.ask(poll(0)) for _ in range(10)]
        await asyncio.wait(polls)
        scada_is_busy = False
        polled = [turn for turn, address in enumerate(rig.addresses) if address == 0]
        assert {after - before for before, after in pairwise(polled)} == {9}


@in_virtual_time
async def test_a_repeated_read_goes_before_everything_else() -> None:
    broken = in_turn(lambda frame: [Coming(0.01, spoiled(good(frame)))], answering)
    with Rig(broken) as rig:
        asked = [rig.ask(read(address=0))]
        await asyncio.sleep(BUSY_WITH_THE_FIRST)
        asked += [rig.ask(write(address=1))]
        await asyncio.wait(asked)
        assert rig.addresses == [0, 0, 1]


@in_virtual_time
async def test_each_of_many_impatient_askers_has_exactly_one_outcome() -> None:
    """Answers, silence, broken answers, withdrawals and refusals in one heap."""
    script = in_turn(answering, silent, lambda frame: [Coming(0.01, spoiled(good(frame)))], answering)

    async def ask(rig: Rig, number: int) -> object:
        await asyncio.sleep(number % 7 / 100)
        request = read(1 + number % 3, number, asker=Asker("10.0.0.1", number % 5))
        try:
            async with asyncio.timeout(0.1 if number % 4 == 0 else 5):
                found = await rig.outcome(request)
        except TimeoutError:
            return "left"
        return "answered" if found == values(request) else found

    with Rig(script, queue=8, request_timeout=1.3) as rig:
        outcomes = await asyncio.gather(*(ask(rig, number) for number in range(100)))
        assert set(outcomes) == {"answered", "left", Busy, NoAnswer, TooLate}
        assert outcomes.count(NoAnswer) == rig.errors["timeout"]
        await asyncio.sleep(5)
        assert rig.bus.queue == 0
