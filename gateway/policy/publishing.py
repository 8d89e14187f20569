"""Which samples of a device are worth publishing: by time, by what has changed, or all of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

_EXACT = 0.001  # seconds: rounds come on a grid, but for what floats lose in adding up


class _Sample(NamedTuple):
    at: float
    values: Mapping[str, object]
    unread: frozenset[str]


@dataclass(kw_only=True)
class Publishing:
    """Of one session of a device that is asked each `interval` seconds. Its first sample always is.

    `every` so many seconds at least the newest one is (0: each; None: never for that reason). With
    `on_change` also one that differs from the last published: other points could not be read, or a value has
    moved by more than its deadband, which is in the point's unit; without a deadband, has moved at all.
    """

    every: float | None = 0.0
    on_change: bool = False
    deadbands: Mapping[str, float] = field(default_factory=dict)
    interval: float
    _last: _Sample | None = None

    def wants(self, values: Mapping[str, object], unread: Collection[str], now: float) -> bool:
        """If so, that is the last published. `unread` points have no value; `now` is when its round began."""
        sample = _Sample(now, values, frozenset(unread))
        last = self._last
        if last is None or self._is_time(now - last.at) or (self.on_change and self._differs(last, sample)):
            self._last = sample
            return True
        return False

    def _is_time(self, age: float) -> bool:
        """Waiting for the next one would be too long."""
        return self.every is not None and age + self.interval > self.every + _EXACT

    def _differs(self, last: _Sample, new: _Sample) -> bool:
        if last.unread != new.unread:
            return True
        return any(self._moved(name, last.values.get(name), value) for name, value in new.values.items())

    def _moved(self, name: str, last: object, value: object) -> bool:
        """As the numbers are written: 230.3 is 0.2 more than 230.1."""
        deadband = self.deadbands.get(name)
        if deadband is None or not isinstance(last, int | float) or not isinstance(value, int | float):
            return last != value
        return abs(Decimal(repr(value)) - Decimal(repr(last))) > Decimal(repr(deadband))
