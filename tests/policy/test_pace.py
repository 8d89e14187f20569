"""So many a second, evenly, whoever is late."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.pace import Pace


def gone(rate: float, seconds: float, late: Callable[[int], float]) -> list[float]:
    """When each one went within that time; `late` is what each of them lost beside the wait."""
    pace, now, times = Pace(rate, 0.0), 0.0, list[float]()
    while now <= seconds:
        now += pace.wait(now) + late(len(times))
        times.append(now)
    return times


@pytest.mark.parametrize(("rate", "expected"), [(1, [1.0, 2.0, 3.0]), (4, [0.25, 0.5, 0.75, 1.0])])
def test_each_goes_one_interval_behind_the_other(rate: float, expected: list[float]) -> None:
    assert gone(rate, 3.0, lambda place: 0.0)[: len(expected)] == pytest.approx(expected)


def test_what_is_a_little_late_is_made_up_for() -> None:
    assert len(gone(1000, 10.0, lambda place: 0.0005)) == pytest.approx(10_000, abs=2)


def test_what_a_pause_has_missed_is_lost_but_for_a_tenth_of_a_second() -> None:
    times = gone(100, 10.0, lambda place: 5.0 if place == 200 else 0.0)
    assert len(times) == pytest.approx(500 + 10, abs=2)


@given(st.floats(0.1, 5000), st.lists(st.floats(0, 2), max_size=50))
def test_in_no_second_go_more_than_the_rate_and_a_tenth_of_it(rate: float, late: list[float]) -> None:
    times = gone(rate, 0.2 + sum(late), lambda place: late[place] if place < len(late) else 0.0)[:2000]
    first = 0
    for last, time in enumerate(times):
        while times[first] <= time - 1.0:
            first += 1
        assert last - first + 1 <= rate * 1.1 + 2
