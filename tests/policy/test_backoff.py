"""When to try again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.backoff import Backoff

MANY = 2000


def delays(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next() for _ in range(count)]


@given(
    first=st.floats(0.001, 100),
    ratio=st.floats(1, 10_000),
    seed=st.integers(),
    tries=st.integers(1, 100),
)
def test_no_delay_is_longer_than_its_ceiling_and_none_is_negative(
    first: float, ratio: float, seed: int, tries: int
) -> None:
    longest = first * ratio
    backoff = Backoff(first, longest, 30.0, Random(seed))

    for failures, delay in enumerate(delays(backoff, tries)):
        assert 0 <= delay <= min(longest, first * 2.0**failures)


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(0, 1.0), (1, 2.0), (3, 8.0), (5, 32.0), (6, 60.0), (40, 60.0)]
)
def test_delays_are_spread_over_everything_from_nothing_to_the_ceiling(failures: int, ceiling: float) -> None:
    seen = [delays(Backoff(1.0, 60.0, 30.0, Random(seed)), failures + 1)[-1] for seed in range(MANY)]

    assert min(seen) < 0.02 * ceiling
    assert max(seen) > 0.98 * ceiling
    assert sum(seen) / MANY == pytest.approx(ceiling / 2, rel=0.05)


def test_it_never_gives_up_however_often_it_failed() -> None:
    backoff = Backoff(1.0, 60.0, 30.0, Random(1))

    assert max(delays(backoff, 20_000)[-100:]) <= 60.0


@pytest.mark.parametrize(("lived", "ceiling"), [(30.0, 1.0), (1e9, 1.0), (29.9, 60.0), (0.0, 60.0)])
def test_only_a_session_that_lived_long_enough_starts_it_over(lived: float, ceiling: float) -> None:
    seen = []
    for seed in range(MANY):
        backoff = Backoff(1.0, 60.0, 30.0, Random(seed))
        delays(backoff, 10)
        backoff.ended(lived)
        seen.append(backoff.next())

    assert 0.98 * ceiling < max(seen) <= ceiling
