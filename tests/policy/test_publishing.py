"""Which samples are published. Time is made up; a device is asked each 5 seconds."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.publishing import Publishing

POLL = 5.0
Value = bool | int | float | str | None  # None: it could not be read


def published(rule: Publishing, samples: Sequence[Mapping[str, Value]], begin: float = 0.0) -> list[int]:
    """The places of those that are."""
    return [
        place
        for place, sample in enumerate(samples)
        if rule.wants(
            {name: value for name, value in sample.items() if value is not None},
            [name for name, value in sample.items() if value is None],
            begin + POLL * place,
        )
    ]


def only(*values: Value) -> list[dict[str, Value]]:
    return [{"u": value} for value in values]


def test_without_a_rule_each_sample_is_published() -> None:
    assert published(Publishing(interval=POLL), only(1, 1, 1)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (5.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (9.0, [0, 1, 2, 3, 4, 5, 6, 7]),  # each second one would be too seldom
        (10.0, [0, 2, 4, 6]),
        (14.0, [0, 2, 4, 6]),
        (15.0, [0, 3, 6]),
        (3600.0, [0]),
    ],
)
def test_at_least_every_so_often_the_newest_is_published_whatever_it_says(
    every: float, expected: list[int]
) -> None:
    rule = Publishing(every=every, interval=POLL)
    assert published(rule, only(*range(8))) == expected


def test_a_grid_that_does_not_add_up_in_floats_still_counts_as_even() -> None:
    rule = Publishing(every=0.3, interval=0.1)
    places = [place for place in range(10_000) if rule.wants({}, (), 1e6 + 0.1 * place)]
    assert places == [*range(0, 10_000, 3)]


CHANGES: dict[str, tuple[float | None, Sequence[Value], list[int]]] = {
    "a value that stays is published once": (None, [1, 1, 1], [0]),
    "any other value is a change": (None, [1, 2, 2, 1], [0, 1, 3]),
    "as small as it is written": (None, [230.1, 230.10000001, 230.1], [0, 1, 2]),
    "1 and 1.0 are one value": (None, [1, 1.0], [0]),
    "text": (None, ["off", "on", "on", "off"], [0, 1, 3]),
    "a bit": (None, [False, False, True], [0, 2]),
    "less than the deadband": (0.5, [230.1, 230.2, 229.7], [0]),
    "the deadband itself": (0.2, [230.1, 230.3, 229.9], [0]),  # which floats do not subtract exactly
    "more than the deadband": (0.2, [230.1, 230.4, 230.1], [0, 1, 2]),
    "a slow drift, by what was published last": (1, [0, 1, 2, 3, 4, 5], [0, 2, 4]),
    "a deadband of nothing": (0, [1, 1, 1.5], [0, 2]),
    "integers that a float cannot tell apart": (1, [2**63 - 3, 2**63 - 2, 2**63 - 1], [0, 2]),
    "a point that cannot be read": (1000, [1, None, None, 1], [0, 1, 3]),
    "a device that does not answer": (None, [None, None, 5], [0, 2]),
}


@pytest.mark.parametrize("case", CHANGES)
def test_on_change(case: str) -> None:
    deadband, values, expected = CHANGES[case]
    deadbands = {} if deadband is None else {"u": deadband}
    rule = Publishing(every=None, on_change=True, deadbands=deadbands, interval=POLL)
    assert published(rule, only(*values)) == expected


def test_each_point_has_its_own_deadband_and_one_that_moved_publishes_all() -> None:
    rule = Publishing(every=None, on_change=True, deadbands={"u": 1, "p": 100}, interval=POLL)
    samples = [{"u": 230, "p": 0}, {"u": 231, "p": 100}, {"u": 231, "p": 101}, {"u": 232, "p": 1}]
    assert published(rule, samples) == [0, 2]


def test_another_point_that_cannot_be_read_is_a_change() -> None:
    rule = Publishing(every=None, on_change=True, interval=POLL)
    samples: list[dict[str, Value]] = [{"u": 1, "p": None}, {"u": None, "p": None}, {"u": None, "p": 2}]
    assert published(rule, [*samples, samples[-1]]) == [0, 1, 2]


def test_a_change_starts_the_time_anew() -> None:
    rule = Publishing(every=15.0, on_change=True, interval=POLL)
    assert published(rule, only(0, 0, 1, 1, 1, 1, 1)) == [0, 2, 5]


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(1, 8),
)
def test_what_is_not_published_is_neither_old_nor_far_from_what_was(
    values: list[float], deadband: float, rounds: int
) -> None:
    rule = Publishing(every=POLL * rounds, on_change=True, deadbands={"u": deadband}, interval=POLL)
    places = published(rule, only(*values))
    last = 0
    for place, value in enumerate(values):
        last = place if place in places else last
        assert place - last < rounds
        assert abs(value - values[last]) <= deadband + 1e-9
