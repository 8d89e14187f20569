"""Every socket option out of one number. The figures are those that were measured on cut wires."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.liveness import NAMED, Bounds, profile


@pytest.mark.parametrize(
    ("detect_within", "idle", "interval", "probes", "user_timeout_ms", "rto_max_ms"),
    [
        (3, 1, 1, 2, 3000, 1000),
        (5, 1, 1, 3, 5000, 1000),
        (10, 3, 1, 6, 10_000, 1000),
        (20, 6, 2, 6, 20_000, 2000),
        (60, 18, 6, 6, 60_000, 6000),
        (120, 36, 12, 6, 120_000, 12_000),
        (300, 90, 30, 6, 300_000, 30_000),
        (3600, 1080, 360, 6, 3_600_000, 120_000),
    ],
)
def test_the_options_are_those_that_were_measured(
    detect_within: float, idle: int, interval: int, probes: int, user_timeout_ms: int, rto_max_ms: int
) -> None:
    options = profile(Bounds(detect_within))

    assert options[:5] == (idle, interval, probes, user_timeout_ms, rto_max_ms)
    assert options.connect_timeout == min(detect_within, 10)


@given(st.floats(3, 3600))
def test_an_idle_link_that_died_is_found_in_time_and_all_options_are_ones_that_the_kernel_takes(
    detect_within: float,
) -> None:
    options = profile(Bounds(detect_within))

    assert options.idle_s + options.probes * options.interval_s <= detect_within
    assert 1 <= options.idle_s <= 32767
    assert 1 <= options.interval_s <= 32767
    assert 2 <= options.probes <= 10
    assert 1000 <= options.rto_max_ms <= 120_000
    assert options.user_timeout_ms <= 1000 * detect_within
    assert 0 < options.connect_timeout <= detect_within


def test_every_name_is_a_bound_in_seconds() -> None:
    assert NAMED == {"lan": 5, "default": 20, "cellular": 60, "satellite": 120, "metered": 300}
