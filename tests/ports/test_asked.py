"""Being asked by the master of a line: who is answered, when, and who is left alone."""

import asyncio

import pytest
from ascii_kit import frame as ascii_frame
from asked_kit import GAP, QUIET, READ, VALUES, WITHIN, WRITE, Answer, Panel, Somebody, frame
from bus_kit import CHARACTER, ROUNDING
from virtual import in_virtual_time

from gateway.contracts import Asker, Rank, Request
from gateway.errors import Busy, GatewayError, LineDown, LinkDown, NoAnswer, NoRoute
from gateway.wire import ascii_line

THEIRS = 17


# Whom we answer


@in_virtual_time
async def test_who_stands_for_a_unit_is_asked_and_his_answer_goes_to_the_line() -> None:
    somebody, other = Somebody(), Somebody(Answer(b"\x03\x02\x00\x07"))
    with Panel({1: somebody, 2: somebody, 9: other}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == frame(1, VALUES)
        assert await panel.asks(9, READ) == frame(9, b"\x03\x02\x00\x07")
        assert await panel.asks(2, WRITE) == frame(2, VALUES)
    assert somebody.pdus == [(1, READ), (2, WRITE)]
    assert [request.rank for request in somebody.asked] == [Rank.READ, Rank.WRITE]
    assert {request.asker.host for request in somebody.asked + other.asked} == {"line"}
    assert (panel.tally.rx_frames, panel.tally.tx_frames, panel.errors) == (3, 3, {})
    assert [panel.tally.unit(unit).answers for unit in (1, 2, 9)] == [1, 1, 1]


@in_virtual_time
async def test_a_modbus_exception_is_an_answer_like_any_other() -> None:
    with Panel({1: Somebody(Answer(b"\x83\x0b"))}, says_why=False) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == frame(1, b"\x83\x0b")
    assert panel.errors == {"exceptions": 1}
    assert panel.tally.unit(1).answers == 1


@in_virtual_time
async def test_the_units_of_others_their_answers_and_what_is_none_are_left_alone() -> None:
    somebody = Somebody()
    with Panel({1: somebody}) as panel:
        await panel.silence()
        for _ in range(3):
            assert await panel.asks(THEIRS, READ, within=0.02) == b""
            await panel.says(frame(THEIRS, VALUES))
            await panel.silence(0.01)
        assert await panel.asks(THEIRS, WRITE, within=0.02) == b""
        assert await panel.asks(THEIRS, WRITE) == b""  # its device says the same
        assert await panel.asks(1, VALUES) == b""
        assert await panel.asks(1, READ) == frame(1, VALUES)
    assert somebody.pdus == [(1, READ)]
    assert list(panel.tally.units) == [1]


@in_virtual_time
async def test_a_broadcast_goes_to_all_once_and_nobody_answers_it() -> None:
    somebody, other = Somebody(Answer(b"")), Somebody(Answer(NoRoute("broadcast is off")))
    with Panel({1: somebody, 2: somebody, 9: other}) as panel:
        await panel.silence()
        assert await panel.asks(0, WRITE) == b""
        assert await panel.asks(0, READ) == b""
        assert await panel.asks(0, b"\x10\x00\x01\x00\x01\x02\x00\x0a") == b""
    assert somebody.pdus == other.pdus == [(0, WRITE), (0, b"\x10\x00\x01\x00\x01\x02\x00\x0a")]


@in_virtual_time
async def test_a_broadcast_that_nobody_takes_is_withdrawn_in_time() -> None:
    somebody = Somebody(Answer(None))
    with Panel({1: somebody}) as panel:
        await panel.silence()
        await panel.asks(0, WRITE, within=WITHIN - 0.01)
        assert somebody.left == []
        await panel.silence(0.02)
        assert somebody.left == somebody.asked


@pytest.mark.parametrize(
    ("pdu", "code"), [(bytes.fromhex("03 0000 0000"), 3), (bytes.fromhex("03 0000 007e"), 3)]
)
@in_virtual_time
async def test_a_request_that_cannot_be_right_is_answered_without_asking_anybody(
    pdu: bytes, code: int
) -> None:
    somebody = Somebody()
    with Panel({1: somebody}) as panel:
        await panel.silence()
        assert await panel.asks(1, pdu) == frame(1, bytes((pdu[0] | 0x80, code)))
    assert somebody.asked == []


@in_virtual_time
async def test_whose_units_they_are_may_change_while_the_line_is_open() -> None:
    with Panel({}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == b""
        panel.targets[1] = Somebody()
        assert await panel.asks(1, READ) == frame(1, VALUES)
        del panel.targets[1]
        assert await panel.asks(1, READ) == b""


# When there is no answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LinkDown("away"), 0x0A),
        (LineDown("away"), 0x0A),
        (NoRoute("nobody"), 0x0A),
        (NoAnswer("silent"), 0x0B),
    ],
)
@in_virtual_time
async def test_who_cannot_be_reached_is_an_exception_or_silence_as_configured(
    error: GatewayError, code: int
) -> None:
    with Panel({1: Somebody(Answer(error, 0.1))}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == frame(1, bytes((0x83, code)))
        assert panel.errors == {"timeout": 1, "exceptions": 1}
    with Panel({1: Somebody(Answer(error, 0.1))}, says_why=False) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == b""
        assert panel.errors == {"timeout": 1}
    unit = panel.tally.unit(1)
    assert (unit.requests, unit.answers, unit.timeouts) == (1, 0, 1)


@in_virtual_time
async def test_who_is_busy_says_so_even_where_who_is_away_says_nothing() -> None:
    with Panel({1: Somebody(Answer(Busy("too many")))}, says_why=False) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == frame(1, b"\x83\x06")


@in_virtual_time
async def test_two_without_an_answer_make_a_unit_silent_and_one_answer_makes_it_well() -> None:
    answers = [Answer(NoAnswer("silent")), Answer(LinkDown("away")), Answer(VALUES)]
    with Panel({1: Somebody(lambda request: answers.pop(0))}) as panel:
        await panel.silence()
        states = []
        for _ in range(3):
            await panel.asks(1, READ)
            states.append(panel.tally.unit(1).status()["state"])
    assert states == ["ok", "silent", "ok"]


# In time, or not at all


@in_virtual_time
async def test_the_line_is_silent_for_the_gap_before_an_answer_and_not_for_longer() -> None:
    with Panel({1: Somebody()}) as panel:
        await panel.silence()
        await panel.says(frame(1, READ))
        heard_at = panel.spoke_until
        await panel.hears()
    assert panel.last.at == pytest.approx(heard_at + GAP, abs=ROUNDING)


@in_virtual_time
async def test_an_answer_may_take_as_long_as_it_is_waited_for_and_no_longer() -> None:
    with Panel({1: Somebody(Answer(VALUES, WITHIN - 0.01))}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ) == frame(1, VALUES)
        assert panel.last.at <= panel.spoke_until + WITHIN
    late = Somebody(Answer(VALUES, WITHIN + 0.01))
    with Panel({1: late}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ, within=5) == frame(1, b"\x83\x0b")  # at the last moment
        assert panel.last.at == pytest.approx(panel.spoke_until + WITHIN)
        assert panel.errors == {"timeout": 1, "exceptions": 1}
    assert late.left == late.asked


@in_virtual_time
async def test_who_is_to_be_silent_says_nothing_when_the_time_is_up() -> None:
    late = Somebody(Answer(VALUES, WITHIN + 0.01))
    with Panel({1: late}, says_why=False) as panel:
        await panel.silence()
        assert await panel.asks(1, READ, within=5) == b""
    assert late.left == late.asked
    assert panel.errors == {"timeout": 1}


@pytest.mark.parametrize(
    "next_words", [frame(1, READ), frame(THEIRS, READ), frame(0, WRITE), frame(1, READ)[:-1], b"\x01\x03\0\0"]
)
@in_virtual_time
async def test_once_the_master_speaks_again_the_old_answer_is_not_sent(next_words: bytes) -> None:
    answers = [Answer(b"\x03\x02\x0b\xad", 0.3), Answer(VALUES, 0.1)]
    somebody = Somebody(lambda request: answers.pop(0) if request.unit else Answer(b""))
    with Panel({1: somebody}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ, within=0.2) == b""
        await panel.says(next_words)
        again = next_words == frame(1, READ)
        assert await panel.hears() == (frame(1, VALUES) if again else b"")
    assert somebody.left == somebody.asked[:1]
    assert panel.tally.late == panel.tally.unit(1).late == 1


@in_virtual_time
async def test_not_even_when_nobody_has_read_yet_what_the_master_says() -> None:
    somebody = Somebody(Answer(VALUES, 0.1))
    with Panel({1: somebody}) as panel:
        await panel.silence()
        await panel.says(frame(1, READ))
        await panel.silence(0.1 - 2 * CHARACTER)
        panel.line.came_unseen(frame(THEIRS, READ))
        assert await panel.hears() == b""


@in_virtual_time
async def test_of_requests_that_come_at_once_only_the_last_is_asked_and_every_broadcast() -> None:
    somebody = Somebody(Answer(VALUES, 0.1))
    with Panel({1: somebody, 2: somebody}, chunk=100) as panel:
        await panel.silence()
        await panel.says(frame(1, READ) + frame(0, WRITE) + frame(2, READ))
        assert await panel.hears() == frame(2, VALUES)
        await panel.says(frame(1, READ) + frame(2, READ)[:5])
        assert await panel.hears() == b""
    assert somebody.pdus == [(0, WRITE), (2, READ)]


@in_virtual_time
async def test_not_even_when_the_old_outcome_is_there_and_was_not_told_yet() -> None:
    outcomes: list[asyncio.Future[bytes]] = []

    class Other:
        def ask(self, request: Request, /) -> asyncio.Future[bytes]:
            outcomes.append(asyncio.get_running_loop().create_future())
            return outcomes[-1]

    with Panel({1: Other()}, says_why=False) as panel:
        await panel.silence()
        await panel.says(frame(1, READ))
        outcomes[0].set_exception(NoAnswer("silent"))
        panel.line.came_unseen(frame(1, READ))
        panel.line.poll()
        outcomes[1].set_result(VALUES)
        assert await panel.hears() == frame(1, VALUES)


@pytest.mark.parametrize("after", [0.0, QUIET / 2])
@in_virtual_time
async def test_noise_behind_a_request_delays_the_answer_and_does_not_prevent_it(after: float) -> None:
    with Panel({1: Somebody(Answer(VALUES, after))}) as panel:
        await panel.silence()
        await panel.says(frame(1, READ) + b"\x00")
        assert await panel.hears() == frame(1, VALUES)
        assert panel.last.at >= panel.spoke_until + QUIET
    assert panel.errors == {"short": 1}


@in_virtual_time
async def test_an_answer_that_flow_control_holds_back_is_thrown_away_when_the_master_goes_on() -> None:
    with Panel({1: Somebody()}, held_back=True) as panel:
        await panel.silence()
        await panel.asks(1, READ)
        before = panel.line.discarded
        await panel.says(frame(THEIRS, READ))
        assert panel.line.discarded > before
        panel.line.stuck = True
        assert await panel.asks(1, READ) == b""
        panel.line.stuck = False
        assert await panel.asks(1, READ) == frame(1, VALUES)


# What the line does


@in_virtual_time
async def test_what_is_heard_in_the_middle_of_something_is_not_answered_before_a_silence() -> None:
    with Panel({1: Somebody()}) as panel:
        await panel.says(bytes(4) + frame(1, READ))
        assert await panel.hears() == frame(1, VALUES)
        assert panel.last.at >= panel.spoke_until + QUIET
        assert await panel.asks(1, READ) == frame(1, VALUES)
        assert panel.last.at < panel.spoke_until + QUIET


@in_virtual_time
async def test_after_a_stall_the_rest_of_a_request_that_nobody_has_read_yet_still_counts() -> None:
    with Panel({1: Somebody()}) as panel:
        await panel.silence()
        await panel.says(frame(1, READ)[:5])
        await panel.silence(QUIET - CHARACTER)
        panel.line.came_unseen(frame(1, READ)[5:])
        assert await panel.hears() == frame(1, VALUES)


@in_virtual_time
async def test_behind_a_damaged_request_the_next_one_is_answered() -> None:
    somebody = Somebody()
    with Panel({1: somebody}) as panel:
        await panel.silence()
        assert await panel.asks(1, READ[:-1]) == b""
        damaged = frame(1, READ)[:-1] + b"\x00"
        await panel.says(damaged)
        assert await panel.hears() == b""
        assert await panel.asks(1, READ) == frame(1, VALUES)
        await panel.says(damaged + frame(1, READ))
        assert await panel.hears() == frame(1, VALUES)
    assert panel.errors == {"crc": 2}


@in_virtual_time
async def test_a_line_that_gives_back_what_we_send_is_told_of_or_gets_its_echo_dropped() -> None:
    for echo in (False, True):
        somebody = Somebody(lambda request: Answer(request.pdu if request.pdu == WRITE else VALUES))
        with Panel({1: somebody}, echo=echo) as panel:
            await panel.silence()
            asked = (READ, WRITE, WRITE) if echo else (READ, READ)
            for pdu in asked:
                heard = await panel.asks(1, pdu, within=0.05)
                assert heard == frame(1, pdu if pdu == WRITE else VALUES)
                await panel.says(heard)
                assert await panel.hears(0.2) == b""
        assert len(somebody.asked) == len(asked)
        assert panel.errors == ({} if echo else {"echo": 2})


@in_virtual_time
async def test_modbus_ascii_is_answered_in_its_own_frames() -> None:
    with Panel({1: Somebody()}, hearing=ascii_line, gap=CHARACTER, quiet=1.0) as panel:
        await panel.says(ascii_frame(bytes((THEIRS,)) + READ) + ascii_frame(bytes((THEIRS,)) + VALUES))
        assert await panel.hears(0.2) == b""
        await panel.says(ascii_frame(b"\x01" + READ).lower())
        assert await panel.hears(0.2) == ascii_frame(b"\x01" + VALUES)
        await panel.says(ascii_frame(b"\x01" + READ)[:-4])
        assert await panel.hears() == b""
    assert panel.errors == {"short": 1}


@in_virtual_time
async def test_the_trace_says_what_was_asked_of_whom_and_answered() -> None:
    with Panel({1: Somebody()}) as panel, panel.trace.tap() as tap:
        await panel.silence()
        await panel.asks(1, READ)
        await panel.asks(THEIRS, READ)
        told = [(line.way, line.data, line.text) for line in await tap.take()]
    assert ("rx", b"", "unit 1: read holding 0..1") in told
    assert ("tx", frame(1, VALUES), "unit 1: 2 registers: 1 2") in told
    assert ("rx", b"", f"unit {THEIRS}: read holding 0..1, left alone") in told
    assert b"".join(data for way, data, _ in told if way == "rx") == frame(1, READ) + frame(THEIRS, READ)


@in_virtual_time
async def test_a_line_that_goes_away_withdraws_what_is_asked() -> None:
    somebody = Somebody(Answer(None))
    with Panel({1: somebody}) as panel:
        await panel.silence()
        await panel.says(frame(1, READ))
        assert panel.station.queue == 1
        panel.station.close()
        await asyncio.sleep(0)
        assert (panel.station.queue, somebody.left) == (0, somebody.asked)
    assert somebody.asked == [Request(1, READ, Asker("line", somebody.asked[0].asker.connection))]
