"""When to try again."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.backoff import EARLY_TRY_WITHIN, LONGEST_FLOOR, Backoff

MANY = 2000
REFUSED = 60.0


class Fixed(Random):
    """Every draw is this share of the range: 0 the shortest wait, 1 the longest."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._share


class Ceilings(Random):
    """Remembers the last range that was drawn from."""

    last = 0.0

    def uniform(self, a: float, b: float) -> float:
        self.last = b
        return super().uniform(a, b)


def delays(backoff: Backoff, count: int, at_least: float = 0.0) -> list[float]:
    return [backoff.next(at_least) for _ in range(count)]


def longest(at_least: float = 0.0, before: Callable[[Backoff], object] = lambda backoff: None) -> float:
    """The next wait at its longest, after what came before."""
    backoff = Backoff(1.0, 60.0, 30.0, Fixed(1.0))
    before(backoff)
    return backoff.next(at_least)


# Full jitter


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


@pytest.mark.parametrize(("at_least", "longest"), [(0.0, 60.0), (REFUSED, 1.5 * LONGEST_FLOOR)])
def test_it_never_gives_up_however_often_it_failed(at_least: float, longest: float) -> None:
    backoff = Backoff(1.0, 60.0, 30.0, Random(1))

    assert max(delays(backoff, 20_000, at_least)[-100:]) <= longest


@pytest.mark.parametrize(("lived", "ceiling"), [(30.0, 1.0), (1e9, 1.0), (29.9, 60.0), (0.0, 60.0)])
def test_only_a_session_that_lived_long_enough_starts_it_over(lived: float, ceiling: float) -> None:
    def before(backoff: Backoff) -> None:
        delays(backoff, 10)
        backoff.ended(lived)

    assert longest(before=before) == ceiling


# Refusals


@given(
    first=st.floats(0.001, 100),
    ratio=st.floats(1, 10_000),
    seed=st.integers(),
    at_least=st.floats(0.1, 10_000),
    tries=st.integers(1, 60),
    lost_before=st.integers(0, 60),
)
def test_each_refusal_in_a_row_doubles_what_is_waited_at_least(
    first: float, ratio: float, seed: int, at_least: float, tries: int, lost_before: int
) -> None:
    most = first * ratio
    backoff = Backoff(first, most, 30.0, Random(seed))
    delays(backoff, lost_before)

    for refusals, delay in enumerate(delays(backoff, tries, at_least)):
        floor = min(at_least * 2.0**refusals, max(at_least, LONGEST_FLOOR))
        assert floor >= at_least
        assert floor <= delay <= floor + max(most, floor / 2)


def test_a_refusal_waits_a_minute_and_at_last_a_quarter_of_an_hour() -> None:
    shortest = delays(Backoff(1.0, 60.0, 30.0, Fixed(0.0)), 7, REFUSED)
    latest = delays(Backoff(1.0, 60.0, 30.0, Fixed(1.0)), 7, REFUSED)

    assert shortest == [60, 120, 240, 480, 960, 960, 960]
    assert latest == [90, 180, 360, 720, 1440, 1440, 1440]


@pytest.mark.parametrize(("refusals", "floor"), [(0, 60.0), (2, 240.0), (9, 960.0)])
def test_a_fleet_that_was_refused_at_once_does_not_come_back_at_once(refusals: int, floor: float) -> None:
    seen = [delays(Backoff(1.0, 60.0, 30.0, Random(seed)), refusals + 1, REFUSED)[-1] for seed in range(MANY)]

    assert floor <= min(seen) < 1.01 * floor
    assert 1.49 * floor < max(seen) <= 1.5 * floor
    assert sum(seen) / MANY == pytest.approx(1.25 * floor, rel=0.02)


def test_another_kind_of_failure_starts_the_refusals_over_but_not_the_failures() -> None:
    def before(backoff: Backoff) -> None:
        delays(backoff, 5, REFUSED)
        assert backoff.next() == 32.0

    assert longest(REFUSED, before) == REFUSED + 60.0


@pytest.mark.parametrize(("lived", "wait"), [(30.0, 90.0), (29.9, 1440.0)])
def test_a_session_that_lived_long_enough_starts_the_refusals_over(lived: float, wait: float) -> None:
    def before(backoff: Backoff) -> None:
        delays(backoff, 5, REFUSED)
        backoff.ended(lived)

    assert longest(REFUSED, before) == wait


# The network is back


@given(
    seed=st.integers(),
    failures=st.integers(1, 20),
    at_least=st.sampled_from([0.0, REFUSED]),
    into=st.floats(0.0, 1.0),
)
def test_an_early_try_is_soon_and_never_later_than_planned_nor_below_the_floor(
    seed: int, failures: int, at_least: float, into: float
) -> None:
    backoff = Backoff(1.0, 60.0, 30.0, Random(seed))
    delay = delays(backoff, failures, at_least)[-1]
    waited = into * delay
    floor = min(REFUSED * 2.0 ** (failures - 1), LONGEST_FLOOR) if at_least else 0.0

    left = backoff.early(waited)

    assert 0.0 <= left <= delay - waited
    assert left <= max(0.0, floor - waited) + EARLY_TRY_WITHIN
    assert waited + left >= floor


def test_early_tries_of_a_fleet_are_spread_over_five_seconds() -> None:
    seen = []
    for seed in range(MANY):
        backoff = Backoff(60.0, 60.0, 30.0, Random(seed))
        while (delay := backoff.next()) < 30.0:
            pass
        seen.append(backoff.early(delay - 30.0))

    assert min(seen) < 0.02 * EARLY_TRY_WITHIN
    assert max(seen) > 0.98 * EARLY_TRY_WITHIN
    assert sum(seen) / MANY == pytest.approx(EARLY_TRY_WITHIN / 2, rel=0.05)


@given(failures=st.integers(0, 40), seed=st.integers())
def test_a_try_that_was_brought_forward_does_not_count(failures: int, seed: int) -> None:
    random = Ceilings(seed)
    backoff = Backoff(1.0, 60.0, 30.0, random)
    delays(backoff, failures)
    delay = backoff.next()
    ceiling = random.last
    brought_forward = backoff.early(0.0) < delay

    backoff.next()
    assert random.last == (ceiling if brought_forward else min(60.0, 2 * ceiling))


def test_a_refusal_on_an_early_try_counts_as_ever_because_its_floor_was_kept() -> None:
    backoff = Backoff(1.0, 60.0, 30.0, Fixed(0.5))
    floors = []
    for _ in range(3):
        delay = backoff.next(REFUSED)
        floors.append(delay / 1.25)
        assert backoff.early(0.0) == delay / 1.25 + EARLY_TRY_WITHIN / 2
    assert floors == [60, 120, 240]
