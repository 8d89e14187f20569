"""What proves that the far end is there, and when it is dead. Time is made up."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.liveness import Bounds, Echo, Pulse, Reading, kernel_only, profile

AT_REST = Reading(
    acked=1, delivered=1, answers=3, received=0, in_flight=0, unsent=0, rto=0.204, retrying=False
)
bounds = st.builds(
    Bounds,
    st.sampled_from([3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 3600.0]),
    read_stall=st.none(),
    expect_data_within=st.none(),
    speaks=st.booleans(),
)


def ticks(bound: Bounds) -> Iterator[float]:
    """The moments at which a watchdog looks."""
    return (number * profile(bound).tick for number in count(1))


def dies(pulse: Pulse, bound: Bounds, at: Callable[[float], Reading]) -> tuple[float, str]:
    """When and of what, with these readings from now on."""
    now = 0.0
    while now < 100 * bound.detect_within:
        now = pulse.next_look(now)
        pulse.see(at(now), now)
        if why := pulse.death(now):
            return now, why
    return now, ""


@given(bounds, st.data())
def test_a_link_on_which_something_arrives_often_enough_never_dies(
    bound: Bounds, data: st.DataObject
) -> None:
    most = int((bound.detect_within - 2 * profile(bound).tick - 0.3) / profile(bound).tick)
    pulse, now, reading = Pulse(bound, 0.0), 0.0, AT_REST
    pulse.see(reading, 0.0)
    for gap in data.draw(st.lists(st.integers(1, most), max_size=20)):
        acked = data.draw(st.booleans())
        for look in range(gap):
            now += profile(bound).tick
            if look == gap - 1:
                reading = (
                    reading._replace(acked=reading.acked + 1, in_flight=1)
                    if acked
                    else reading._replace(answers=reading.answers + 1, in_flight=0)
                )
            pulse.see(reading, now)
            assert pulse.death(now) == ""


@given(bounds, st.data())
def test_while_bytes_of_ours_are_on_their_way_nothing_else_is_proof(
    bound: Bounds, data: st.DataObject
) -> None:
    """It talks on, its probes and repeated acknowledgements come, and it hears nothing of us."""
    pulse = Pulse(bound, 0.0)
    pulse.see(AT_REST, 0.0)
    chatter = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 999)), min_size=1, max_size=50))

    def reading(now: float) -> Reading:
        answers, received = chatter[int(now / profile(bound).tick) % len(chatter)]
        return AT_REST._replace(in_flight=1, answers=3 + answers, received=received, retrying=True)

    found, why = dies(pulse, bound, reading)

    assert found <= bound.detect_within
    assert why == f"no round trip for {found:.1f} s"


def test_what_arrived_behind_a_gap_is_proof_too() -> None:
    """On a path that loses much the first of many segments may be repeated for long."""
    pulse = Pulse(Bounds(5.0), 0.0)
    for now in (0.0, 2.0, 4.0, 6.0):
        pulse.see(AT_REST._replace(in_flight=9, delivered=int(now), retrying=True), now)
        assert pulse.death(now) == ""


@pytest.mark.parametrize(("speaks", "alive"), [(True, False), (False, True)])
def test_what_a_peer_says_is_proof_only_where_we_have_no_heartbeat(speaks: bool, alive: bool) -> None:
    bound = Bounds(5.0, speaks=speaks)

    _, why = dies(Pulse(bound, 0.0), bound, lambda now: AT_REST._replace(received=int(now * 1000)))

    assert (why == "") is alive


@given(bounds)
def test_a_peer_that_answers_probes_but_has_no_room_is_told_apart(bound: Bounds) -> None:
    def closed(now: float) -> Reading:
        return AT_REST._replace(unsent=9000, answers=int(now / profile(bound).tick))

    found, why = dies(Pulse(bound, 0.0), bound, closed)

    assert found <= bound.detect_within
    assert why == f"the peer does not read: it took nothing for {found:.1f} s"


def test_a_peer_may_be_allowed_to_leave_it_unread_for_longer() -> None:
    bound = Bounds(5.0, read_stall=60.0)

    found, why = dies(
        Pulse(bound, 0.0), bound, lambda now: AT_REST._replace(unsent=9000, answers=int(now * 9))
    )

    assert 59 < found <= 60
    assert "does not read" in why
    assert profile(bound).user_timeout_ms == 60_000


def test_a_full_peer_that_died_is_found_as_soon_as_any_other() -> None:
    bound = Bounds(5.0, read_stall=60.0)

    found, why = dies(Pulse(bound, 0.0), bound, lambda now: AT_REST._replace(unsent=9000, retrying=True))

    assert (found <= 5, why[:13]) == (True, "no round trip")


@given(bounds)
def test_a_link_at_rest_is_not_in_doubt_and_a_stalled_one_is_long_before_its_end(bound: Bounds) -> None:
    pulse, settings = Pulse(bound, 0.0), profile(bound)
    pulse.see(AT_REST, 0.0)
    assert not pulse.doubtful(settings.idle_s + settings.tick)
    assert pulse.doubtful(bound.detect_within / 2)


def test_a_path_that_is_too_slow_gets_seven_of_its_retransmission_times() -> None:
    bound = Bounds(3.0)
    pulse = Pulse(bound, 0.0)
    pulse.see(AT_REST._replace(rto=0.9), 0.0)
    assert pulse.detect_within == pytest.approx(6.3)

    found, _ = dies(pulse, bound, lambda now: AT_REST._replace(in_flight=1, rto=14.4, retrying=True))

    assert 5.8 <= found <= 6.3


def test_a_path_that_is_quick_again_is_held_to_the_bound_again() -> None:
    pulse = Pulse(Bounds(3.0), 0.0)
    pulse.see(AT_REST._replace(rto=0.9), 0.0)
    pulse.see(AT_REST._replace(rto=0.3), 1.0)
    assert pulse.detect_within == 3.0


def test_without_a_carrier_there_are_three_seconds() -> None:
    bound = Bounds(60.0)
    pulse = Pulse(bound, 0.0)
    pulse.see(AT_REST, 10.0)
    pulse.hurry(10.0)

    assert pulse.death(12.9) == ""
    assert pulse.death(13.0) == "the carrier is lost, no round trip for 13.0 s"
    pulse.calm()
    assert pulse.death(13.0) == ""


def test_a_round_trip_after_the_carrier_was_lost_ends_the_hurry() -> None:
    pulse = Pulse(Bounds(60.0), 0.0)
    pulse.see(AT_REST, 10.0)
    pulse.hurry(10.0)
    pulse.see(AT_REST._replace(acked=2), 12.0)
    assert pulse.death(20.0) == ""


def test_a_peer_of_which_data_is_expected_must_say_something() -> None:
    bound = Bounds(5.0, expect_data_within=30.0)

    found, why = dies(
        Pulse(bound, 0.0), bound, lambda now: AT_REST._replace(answers=int(now), received=min(int(now), 10))
    )

    assert 40 <= found <= 40.5
    assert why == "nothing came for 30.0 s (expect_data_within)"


@given(bounds, st.floats(0, 10_000))
def test_a_program_that_stops_answering_is_asked_in_time_and_found_in_time(
    bound: Bounds, answered: float
) -> None:
    echo, asked = Echo(bound, 0.0), []
    echo.heard(answered)
    for tick in ticks(bound):
        now = answered + tick
        if silence := echo.silence(now):
            assert silence == pytest.approx(now - answered)
            assert now - answered <= bound.detect_within
            break
        if echo.ask(now):
            asked.append(now)
    assert len(asked) == 3
    assert asked[0] - answered <= bound.detect_within / 4 + profile(bound).tick


def test_a_program_that_answers_is_asked_for_ever_and_never_found_dead() -> None:
    bound, asked = Bounds(20.0), 0
    echo = Echo(bound, 0.0)
    for now in ticks(bound):
        if now > 1000:
            break
        assert not echo.silence(now)
        if echo.ask(now):
            asked += 1
            echo.heard(now)
    assert 190 <= asked <= 200


@pytest.mark.parametrize(("detect_within", "expected"), [(20.0, (4, 1, 8902)), (5.0, (1, 1, 1585))])
def test_a_kernel_that_counts_too_little_keeps_the_bound_by_its_own_timers(
    detect_within: float, expected: tuple[int, int, int]
) -> None:
    settings = kernel_only(Bounds(detect_within))
    assert (settings.idle_s, settings.interval_s, settings.user_timeout_ms) == expected
