"""Runs of numbers against a plain set."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.arrivals import Arrivals

STEPS = st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=30)


@given(STEPS, st.integers(0, 60))
def test_it_knows_what_was_added_and_how_far_that_reaches_without_a_gap(
    steps: list[tuple[int, bool]], floor: int
) -> None:
    arrivals, model, number = Arrivals(), set[int](), 0
    for step, twice in steps:
        number += step
        for _ in range(1 + twice):
            arrivals.add(number)
        model.add(number)
    assert {number for number in range(1, 100) if number in arrivals} == model
    assert arrivals.count(floor) == len([number for number in model if number >= floor])

    reached = arrivals.settle(floor)
    assert reached == floor or reached in model
    assert set(range(floor + 1, reached + 1)) <= model
    assert reached + 1 not in model
    assert {number for number in range(reached + 1, 100) if number in arrivals} == {
        number for number in model if number > reached
    }


def test_nothing_is_known_any_more_when_the_numbers_begin_anew() -> None:
    arrivals = Arrivals()
    arrivals.add(7)
    arrivals.forget()

    assert 7 not in arrivals
    assert arrivals.settle(6) == 6
