"""Which units of a line do not answer, and when each may be asked again. Times in seconds, on any clock.

After two silences in a row a unit is silent: its reads are refused but for a probe now and then, its writes
are tried, though not one right after the other. The first answer ends it, be it late. Apart from that every
unit is closed for a while after a silence, because the answer may still come.
"""

from dataclasses import dataclass

AFTER = 2  # silences in a row
_FIRST_PROBE, _LAST_PROBE, _RISE = 0.5, 10.0, 3.0  # seconds after a silence, each time so many times as long


@dataclass
class _Unit:
    silences: int = 0  # in a row
    opens: float = 0.0  # nothing before
    probe: float = 0.0  # of a silent unit: no read before
    write: float = 0.0  # of a silent unit: no write before


class Silence:
    """Of the units of one line. With `skip` off none is ever silent, however long it does not answer."""

    def __init__(self, skip: bool) -> None:
        self._skip = skip
        self._units: dict[int, _Unit] = {}

    def kept_silent(self, unit: int, now: float, timeout: float) -> None:
        """It was asked and given `timeout` to answer."""
        known = self._units.setdefault(unit, _Unit())
        known.silences += 1
        if self._silent(known):
            known.probe = now + min(_LAST_PROBE, _FIRST_PROBE * _RISE ** min(9, known.silences - AFTER))
            known.write = now + timeout

    def answered(self, unit: int) -> None:
        self._units.pop(unit, None)

    def close(self, unit: int, until: float) -> None:
        self._units.setdefault(unit, _Unit()).opens = until

    def refuses(self, unit: int, now: float) -> bool:
        """It is silent, and no probe is due: a read would only cost the others their time."""
        known = self._units.get(unit)
        return known is not None and self._silent(known) and now < known.probe

    def opens(self, unit: int, changing: bool) -> float:
        """When the next request may go to it; `changing`: one that is not refused meanwhile."""
        known = self._units.get(unit)
        if known is None:
            return 0.0
        return max(known.opens, known.write) if changing else known.opens

    def next_opening(self, now: float) -> float | None:
        """When more may be asked than now; None: never."""
        times = (time for known in self._units.values() for time in (known.opens, known.write))
        return min((time for time in times if time > now), default=None)

    def _silent(self, known: _Unit) -> bool:
        return self._skip and known.silences >= AFTER
