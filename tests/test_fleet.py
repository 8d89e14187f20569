"""The simulated fleet: nobody is lost or counted twice, and the broker never accepts too much."""

from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fleet import (
    AWAY,
    BURST,
    OUTAGES,
    POLICIES,
    RATE,
    RESTART,
    Broker,
    Outage,
    Outcome,
    Policy,
    comeback,
    doubling,
    fixed,
    ours,
    rows,
    simulate,
)
from bench.table import Effort

FLEET = 500
NEARLY = 1e-6  # tokens; they are floats

every_outage = pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


def room(accepted: list[float], now: float) -> float:
    """How many more the broker may accept at `now`, by every span of time that ends there."""
    started = [0.0, *accepted]
    return min(BURST + RATE * (now - start) - sum(start <= at <= now for at in accepted) for start in started)


@every_outage
@every_policy
def test_everybody_is_back_exactly_once_and_only_after_the_return(outage: Outage, policy: Policy) -> None:
    back = simulate(outage, policy, FLEET).back

    assert sorted(gateway for _, gateway in back) == list(range(FLEET))
    assert back[0][0] >= 0.0
    assert list(back) == sorted(back)


crowds = st.lists(st.sampled_from([0.0, 0.0001, 0.0019, 0.0021]), max_size=40)  # 500/s is a gap of 0.002


@given(crowds, st.floats(0.0, 0.2), crowds)
def test_the_broker_accepts_all_that_the_bucket_allows_and_never_more(
    crowd: list[float], rest: float, again: list[float]
) -> None:
    gaps = [0.0] * BURST + crowd + [rest] + again
    broker, accepted, refused = Broker(), list[float](), 0
    for now in accumulate(gaps):
        left = room(accepted, now)
        if broker.accepts(now):
            assert left >= 1 - NEARLY
            accepted.append(now)
        else:
            assert left < 1 + NEARLY
            refused += 1

    assert broker.refused == refused


def test_a_crowd_after_a_rest_gets_the_burst_and_then_the_rate() -> None:
    broker = Broker()

    assert sum(broker.accepts(3.0) for _ in range(1000)) == BURST
    assert sum(broker.accepts(3.0 + tick / 1000) for tick in range(1, 1001)) == RATE
    assert broker.peak == 1999  # the second's own end is not in it
    assert broker.refused == 2000 - BURST - RATE


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ours_refuses_nobody_where_the_others_come_in_one_second(seed: int) -> None:
    spread, at_once, doubled = (simulate(RESTART, policy, FLEET, seed) for policy in (ours, fixed, doubling))

    assert spread.refused == 0
    assert spread.peak < FLEET / 10
    assert at_once.peak == doubled.peak == FLEET
    assert at_once.refused > FLEET
    assert doubled.refused > FLEET


def test_the_peak_is_the_fullest_second() -> None:
    outcome = simulate(RESTART, ours, FLEET)
    times = [at for at, _ in outcome.back]

    assert outcome.refused == 0  # so these are all the connects there were
    assert outcome.peak == max(sum(at - 1.0 < other <= at for other in times) for at in times)


def test_a_share_is_back_when_its_last_gateway_is() -> None:
    outcome = Outcome(tries=0, peak=0, refused=0, back=[(1.0, 2), (2.0, 0), (4.0, 1)])

    assert [outcome.until(share) for share in (0.3, 0.5, 0.99, 1.0)] == [1, 2, 4, 4]


@every_outage
def test_a_seed_decides_everything(outage: Outage) -> None:
    assert simulate(outage, ours, FLEET, seed=7) == simulate(outage, ours, FLEET, seed=7)
    assert simulate(outage, ours, FLEET, seed=7) != simulate(outage, ours, FLEET, seed=8)


def test_the_others_wait_as_they_do_in_the_field() -> None:
    steady, growing = fixed(Random()), doubling(Random())

    assert [steady.next() for _ in range(3)] == [5, 5, 5]
    assert [growing.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    growing.ended(lived=3600)
    assert growing.next() == 1


def test_tries_that_are_refused_at_once_follow_each_other_by_the_wait_alone() -> None:
    outcome = simulate(Outage(name="", noticed=(1.0, 1.0)), fixed, fleet=1)

    assert outcome.tries == 119  # at 6, 11, ... 596 s
    assert outcome.back == [(1.0, 0)]


def test_a_try_that_nobody_answers_is_part_of_the_time() -> None:
    outcome = simulate(Outage(name="", noticed=(2.0, 2.0), lasts=10.0), fixed, fleet=1)

    assert outcome.tries == 40  # at 7, 22, ... 592 s
    assert outcome.back == [(7.0, 0)]  # the last one failed 2 s after the return


def test_who_still_knocks_when_the_broker_returns_is_in_with_the_next_syn() -> None:
    knocking = Outage(name="", noticed=(2.25, 2.25), lasts=10.0, knocks=(0.0, 1.0, 3.0, 7.0, 9.0))

    outcome = simulate(knocking, fixed, fleet=1)

    assert outcome.tries == 40
    assert outcome.back == [(1.25, 0)]  # from 592.25 s on: at 593.25, 595.25, 599.25, 601.25


def test_when_the_network_says_that_it_is_back_nobody_waits_for_the_end_of_his_wait() -> None:
    unheard = simulate(Outage(name="", noticed=(40.0, 40.0)), doubling, FLEET)
    heard = simulate(Outage(name="", noticed=(40.0, 40.0), early=5.0), doubling, FLEET)

    assert unheard.until(0.01) == 63 + 9 * 60 - (AWAY - 40)
    assert heard.until(1.0) <= 5
    assert heard.refused == 0  # 100/s
    assert heard.tries == unheard.tries


def test_who_comes_early_and_is_refused_keeps_his_long_waits() -> None:
    crowd = simulate(Outage(name="", noticed=(40.0, 40.0), early=0.01), doubling, FLEET)

    assert BURST <= sum(at <= 0.01 for at, _ in crowd.back) <= BURST + 0.01 * RATE
    assert crowd.back[BURST + 5][0] >= 60


def test_the_table_requires_something_of_ours_alone_and_of_no_carrier() -> None:
    table = list(comeback(Effort(), FLEET))

    assert len(table) == 2 * len(OUTAGES) * len(POLICIES)
    assert [row.figure for row in table if row.ok is not None and row.figure.startswith("fleet")] == [
        "fleet, silent loss, ours",
        "fleet, broker restart, ours",
    ]
    assert all((row.ok is None) == (row.required == "") for row in table)


def test_who_refuses_many_or_takes_long_misses_what_is_required() -> None:
    assert [row.ok for row in rows("", simulate(RESTART, ours, FLEET), required=True)] == [True, True]
    assert [row.ok for row in rows("", simulate(RESTART, doubling, FLEET), required=True)] == [False, False]
    slowly = Outage(name="", noticed=(40.0, 40.0), lasts=120.0)
    assert [row.ok for row in rows("", simulate(slowly, ours, 20), required=True)] == [True, False]
