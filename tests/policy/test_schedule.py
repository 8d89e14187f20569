"""When the next of what is done every so often is due."""

import pytest

from gateway.policy.schedule import next_due


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [(10.0, 10.2, 15.0), (10.0, 9.999999, 15.0), (10.0, 15.0, 15.0), (10.0, 15.1, 20.0), (10.0, 31.0, 35.0)],
)
def test_the_next_is_due_on_the_grid_of_the_first(due: float, now: float, expected: float) -> None:
    assert next_due(due, now, 5.0) == expected
