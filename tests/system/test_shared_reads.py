"""More answers than the wire has room for: reads of several clients that wait together go out once, and a
cache answers what was asked a moment ago. Never an old value where a write stands between.

Nothing here depends on speed: the line is held up until all have asked who shall meet.
"""

from collections.abc import Iterator

import pytest
from arbiter_kit import READ, Clients, Plant, meter, plant
from peers_kit import Scada
from system_kit import eventually

from gateway.demo.registers import Registers

ALIKE = 8  # clients
TEN, SEVENS = "03 0000 000a", "03 14" + " 00 07" * 10
THREE_OF_TEN = "03 0002 0003", "03 06" + " 00 07" * 3
WRITE = "06 0000 0009"


@pytest.fixture
def shared() -> Iterator[Plant]:
    with plant({1: meter(), 2: meter()}, response_timeout="10s", request_timeout="60s") as made:
        yield made


def test_what_many_want_at_the_same_time_goes_out_once(shared: Plant) -> None:
    with Clients(shared.port, ALIKE) as clients:
        with shared.held_up():
            for scada in clients.each:
                scada.request(1, TEN)
            shared.waiting(ALIKE)
        assert clients.answers() == [SEVENS] * ALIKE
    assert shared.sent(1) == ["03 00 00 00 0a"]


def test_eight_that_read_the_same_all_the_time_take_little_of_the_wire(shared: Plant) -> None:
    """Whoever comes too late for one transaction has the next: never more than there are answers."""
    rounds = 50
    with Clients(shared.port, ALIKE) as clients:
        for _ in range(rounds):
            with shared.held_up():
                for scada in clients.each:
                    scada.request(1, TEN)
                shared.waiting(ALIKE)
            assert clients.answers() == [SEVENS] * ALIKE
    assert len(shared.sent(1)) == rounds


def test_a_part_of_what_another_one_wants_is_cut_out_of_his_answer(shared: Plant) -> None:
    with Clients(shared.port, 3) as clients:
        part, whole, other = clients.each
        shared.bus.slaves[1].holding.update(enumerate(range(100, 110)))
        with shared.held_up():
            part.request(1, "03 0002 0003")
            whole.request(1, TEN)
            other.request(2, "03 0002 0003")
            shared.waiting(3)
        words = [f"00 {100 + place:02x}" for place in range(10)]
        assert clients.answers() == [
            "03 06 " + " ".join(words[2:5]),
            "03 14 " + " ".join(words),
            THREE_OF_TEN[1],
        ]
    assert shared.sent(1) == ["03 00 00 00 0a"]
    assert shared.sent(2) == ["03 00 02 00 03"]


def test_when_the_larger_read_is_refused_the_smaller_one_is_asked_by_itself(shared: Plant) -> None:
    with Clients(shared.port, 2) as clients:
        small, large = clients.each
        with shared.held_up():
            small.request(1, READ)
            large.request(1, "03 0000 0014")  # the meter has no more than ten
            shared.waiting(2)
        assert clients.answers() == ["03 02 00 07", "83 02"]
    assert sorted(shared.sent(1)) == ["03 00 00 00 01", "03 00 00 00 14"]


def test_a_connection_shares_with_others_and_not_with_itself(shared: Plant) -> None:
    with Scada(shared.port) as scada:
        with shared.held_up():
            tids = [scada.request(1, TEN) for _ in range(3)]
            shared.waiting(3)
        answers = [answer for answer in (scada.answer() for _ in tids) if answer]
    assert [answer.tid for answer in answers] == tids
    assert {answer.pdu.hex(" ") for answer in answers} == {SEVENS}
    assert len(shared.sent(1)) == 3


def test_who_asks_behind_a_write_sees_what_was_written(shared: Plant) -> None:
    for _ in range(10):
        shared.bus.slaves[1].holding[0] = 7
        with Clients(shared.port, 3) as clients:
            before, writer, behind = clients.each
            with shared.held_up():
                for number, (scada, pdu) in enumerate(
                    ((before, READ), (writer, WRITE), (behind, READ)), start=1
                ):
                    scada.request(1, pdu)
                    shared.waiting(number)
            old_or_new, written, new = clients.answers()
            assert old_or_new in ("03 02 00 07", "03 02 00 09")
            assert (written, new) == ("06 00 00 00 09", "03 02 00 09")


def test_a_write_does_not_overtake_what_its_own_connection_asked_before(shared: Plant) -> None:
    with Scada(shared.port) as scada:
        with shared.held_up():
            for pdu in (READ, WRITE, READ):
                scada.request(1, pdu)
            shared.waiting(3)
        answers = [answer.pdu.hex(" ") for answer in (scada.answer() for _ in range(3)) if answer]
    assert answers == ["03 02 00 07", "06 00 00 00 09", "03 02 00 09"]
    assert [pdu[:2] for pdu in shared.sent(1)] == ["03", "06", "03"]


def test_who_has_left_is_not_asked_for(shared: Plant) -> None:
    with Scada(shared.port) as leaver, Scada(shared.port) as scada:
        with shared.held_up():
            leaver.request(1, TEN)
            tid = scada.request(1, READ)
            shared.waiting(2)
            leaver.__exit__()
            eventually(lambda: len(shared.daemon.part("links.scada")["peers"]) == 2)
        assert scada.answer() == (tid, 1, bytes.fromhex("03 02 0007"))
    assert shared.sent(1) == ["03 00 00 00 01"]


def test_who_has_left_holds_no_place_among_those_who_wait(shared: Plant) -> None:
    """There are 1024 for a line, and 16 for a connection."""

    def requests() -> list[int]:
        return [peer["requests"] for peer in shared.daemon.part("links.scada")["peers"]]

    with Scada(shared.port) as scada:
        with shared.held_up():
            for _ in range(70):
                with Scada(shared.port) as leaver:
                    for _ in range(16):
                        leaver.request(1, WRITE)
                    eventually(lambda: 16 in requests())
            eventually(lambda: sorted(requests()) == [0, 1])
            tid = scada.request(2, READ)
            eventually(lambda: requests() == [1, 1])
        assert scada.answer() == (tid, 2, bytes.fromhex("03 02 0007"))
    assert shared.sent(1) == []


def test_without_coalesce_each_goes_out_by_itself() -> None:
    with (
        plant({1: meter()}, response_timeout="10s", coalesce=False) as apart,
        Clients(apart.port, ALIKE) as clients,
    ):
        with apart.held_up():
            for scada in clients.each:
                scada.request(1, TEN)
            apart.waiting(ALIKE)
        assert clients.answers() == [SEVENS] * ALIKE
        assert len(apart.sent(1)) == ALIKE


# ---------------------------------------------------------------- the cache


@pytest.fixture
def cached() -> Iterator[Plant]:
    with plant({1: meter(), 2: meter()}, cache="60s", response_timeout="300ms") as made:
        yield made


def test_what_was_read_a_moment_ago_is_read_no_more(cached: Plant) -> None:
    with Clients(cached.port, 2) as clients:
        one, other = clients.each
        assert one.ask(1, TEN) == SEVENS
        for scada in (one, other, one):
            assert scada.ask(1, TEN) == SEVENS
            assert scada.ask(1, THREE_OF_TEN[0]) == THREE_OF_TEN[1]
        assert len(cached.sent(1)) == 1
        assert one.ask(1, "04 0000 0001") == "84 02"  # another function has other registers
        assert one.ask(2, TEN) == SEVENS
    assert (len(cached.sent(1)), len(cached.sent(2))) == (2, 1)


def test_any_write_to_the_unit_empties_the_cache_of_it_alone(cached: Plant) -> None:
    with Clients(cached.port, 2) as clients:
        reader, writer = clients.each
        for unit in (1, 2):
            assert reader.ask(unit, READ) == "03 02 00 07"
        assert writer.ask(1, "06 0005 0063") == "06 00 05 00 63"
        cached.bus.slaves[1].holding[0] = 8
        cached.bus.slaves[2].holding[0] = 8
        assert reader.ask(1, READ) == "03 02 00 08"
        assert reader.ask(2, READ) == "03 02 00 07"


def test_an_exception_is_not_kept(cached: Plant) -> None:
    with Scada(cached.port) as scada:
        assert scada.ask(1, "03 000a 0001") == "83 02"
        cached.bus.slaves[1].holding[10] = 11
        assert scada.ask(1, "03 000a 0001") == "03 02 00 0b"


def test_what_a_unit_said_before_it_fell_silent_is_not_said_again(cached: Plant) -> None:
    with Scada(cached.port) as scada:
        assert scada.ask(1, READ) == "03 02 00 07"
        del cached.bus.slaves[1]
        assert scada.ask(1, "03 0001 0001") == "83 0b"
        assert scada.ask(1, READ) == "83 0b"


def test_a_cache_of_a_fifth_of_a_second_shows_a_change_after_that() -> None:
    with plant({1: meter()}, cache="200ms") as brief, Scada(brief.port) as scada:
        assert scada.ask(1, READ) == "03 02 00 07"
        brief.bus.slaves[1] = Registers(holding={0: 8})
        eventually(lambda: scada.ask(1, READ) == "03 02 00 08")
