"""The bytes of a silent month, by the figures of the protocols and by playing them through."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.traffic import MONTH, Heartbeat, packet, ping, read, upkeep

IDLE = st.integers(1, 1080)
EVERY = st.integers(1, 4 * 3600).map(lambda quarters: quarters / 4)  # exact as a float
SIZE = st.integers(1, 1024)


@pytest.mark.parametrize(
    ("idle", "octets"),
    [(6, 44_928_000), (18, 14_976_000), (36, 7_488_000), (90, 2_995_200)],
)
def test_a_link_without_a_heartbeat_pays_for_a_probe_and_its_answer_each_idle_time(
    idle: int, octets: int
) -> None:
    assert upkeep(idle) == (octets, ("keep-alive",))


@pytest.mark.parametrize(
    ("tls", "websocket", "octets"),
    # PINGREQ 54, PINGRESP 54, its acknowledgement 52; TLS 22 on each of the first two; websocket 6 and 2
    [(False, False, 160), (True, False, 204), (False, True, 168), (True, True, 212)],
)
def test_a_ping_is_three_packets_with_all_that_is_wrapped_around_it(
    tls: bool, websocket: bool, octets: int
) -> None:
    assert ping(15, tls=tls, websocket=websocket).octets == octets


def test_a_ping_each_15_s_costs_28_mb_a_month() -> None:
    assert upkeep(18, ping(15, tls=False, websocket=False)) == (27_648_000, ("pings",))


def test_a_read_is_a_question_its_answer_and_the_acknowledgement() -> None:
    # MBAP header 7, then function, address and count, or function, byte count and the register
    assert read(5).octets == (52 + 7 + 5) + (52 + 7 + 4) + 52


@given(SIZE, EVERY)
def test_a_heartbeat_is_its_own_packet_and_the_acknowledgement(size: int, every: float) -> None:
    assert packet(size, every).octets == 52 + size + 52


@given(IDLE, EVERY, SIZE)
def test_the_cost_is_what_playing_the_silence_through_costs(idle: int, every: float, size: int) -> None:
    heartbeat = packet(size, every)
    octets, causes = upkeep(idle, heartbeat)

    said, probes = silence(idle, heartbeat, heartbeats=3)

    assert octets == pytest.approx(float(MONTH / (3 * Fraction(every)) * (said + probes)), abs=1)
    assert causes == (("heartbeats", "keep-alive") if probes else ("heartbeats",))


def silence(idle: int, heartbeat: Heartbeat, heartbeats: int) -> tuple[int, int]:
    """Bytes of heartbeats and bytes of probes: whichever is due first is said, and is answered at once."""
    said = probes = 0
    last_said = last_heard = Fraction(0)
    while said < heartbeats * heartbeat.octets:
        next_said, next_probe = last_said + Fraction(heartbeat.every), last_heard + idle
        if next_said <= next_probe:
            said += heartbeat.octets
            last_said = last_heard = next_said
        else:
            probes += 104
            last_heard = next_probe
    return said, probes


@given(IDLE, EVERY, SIZE)
def test_keep_alive_is_paid_for_only_where_heartbeats_leave_it_room(
    idle: int, every: float, size: int
) -> None:
    assert ("keep-alive" in upkeep(idle, packet(size, every)).causes) == (every > idle)


@given(IDLE, EVERY, SIZE)
def test_a_heartbeat_costs_at_most_itself_on_top_of_keep_alive(idle: int, every: float, size: int) -> None:
    own = round(MONTH / every * (104 + size))
    alone = upkeep(idle).octets
    assert own <= upkeep(idle, packet(size, every)).octets <= own + alone + 1


@given(IDLE, st.integers(1, 100), EVERY)
def test_a_longer_idle_time_never_costs_more(idle: int, more: int, every: float) -> None:
    heartbeat = packet(1, every)
    assert upkeep(idle + more).octets < upkeep(idle).octets
    assert upkeep(idle + more, heartbeat).octets <= upkeep(idle, heartbeat).octets
