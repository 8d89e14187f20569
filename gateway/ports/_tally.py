"""What a port has seen.

Belongs to the port: it outlives its lines and its reloads, and nothing is decided from it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..host.adapters import Whereabouts
from ..host.rs485 import Flags, Mode
from ..host.tty import Line
from ..host.uart import DriverCounts
from ..policy.silent import AFTER
from ..settings import PortConfig
from ..status import Errors, Latency, PartStatus, Rs485Status, UnitStatus

_LATENCIES = 256  # of the last answers of one unit
_TOLERANCE = 0.02  # of the baud rate: both ends together may differ by 4 or 5 % in 10 bits
_WINDOW = 10.0  # seconds over which busy_pct is taken, at least


@dataclass
class Unit:
    """One Modbus unit id on the line."""

    requests: int = 0
    answers: int = 0
    timeouts: int = 0
    late: int = 0
    late_after: float = 0.0  # seconds that the last late answer took
    timeouts_in_a_row: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))  # seconds

    @property
    def silent(self) -> bool:
        return self.timeouts_in_a_row >= AFTER

    def status(self) -> UnitStatus:
        return {
            "state": "silent" if self.silent else "ok",
            "requests": self.requests,
            "answers": self.answers,
            "timeouts": self.timeouts,
            "late": self.late,
            "latency_ms": _percentiles(self.latencies),
        }


def _percentiles(latencies: deque[float]) -> Latency | None:
    if not latencies:
        return None
    order = sorted(latencies)
    return {
        "p50": round(1000 * order[len(order) // 2], 2),
        "p99": round(1000 * order[len(order) * 99 // 100], 2),
    }


class Occupancy:
    """Which share of the time a line was taken. `now` is the loop's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.seconds = 0.0
        self._marks = [(now(), 0.0)] * 2  # an older and a newer one

    def percent(self) -> float:
        """Over the last 10 to 20 seconds that this is asked in, or since it was asked before."""
        now = self._now()
        if now - self._marks[1][0] >= _WINDOW:
            self._marks = [self._marks[1], (now, self.seconds)]
        began, before = self._marks[0]
        return round(min(100.0, 100 * (self.seconds - before) / max(now - began, 0.001)), 1)


class Tally:
    """Bytes, frames and errors of one port."""

    def __init__(self) -> None:
        self.rx_frames = self.tx_frames = 0
        self.timeout = self.crc = self.short = self.late = self.foreign = self.echo = self.exceptions = 0
        self.dropped_bytes = 0  # that a link sent while the line was away
        self.units: dict[int, Unit] = {}
        self.whereabouts = Whereabouts()
        self._rx_bytes = self._tx_bytes = 0
        self.told = ""  # the last doubt about a line that the log has
        self._driver: DriverCounts | None = None
        self._line: Line | None = None

    @contextmanager
    def counting(self, line: Line) -> Iterator[None]:
        """For as long as `line` is open its own counts are part of these."""
        self._line = line
        try:
            yield
        finally:
            self._rx_bytes += line.rx_bytes
            self._tx_bytes += line.tx_bytes
            self._driver = self._driver_counts()
            self._line = None

    def unit(self, unit: int) -> Unit:
        found = self.units.get(unit)
        if found is None:
            found = self.units[unit] = Unit()
        return found

    def asked(self, unit: int) -> None:
        self.tx_frames += 1
        self.unit(unit).requests += 1

    def answered(self, unit: int, after: float, *, exception: bool) -> None:
        known = self.unit(unit)
        known.answers += 1
        known.timeouts_in_a_row = 0
        known.latencies.append(after)
        self.rx_frames += 1
        self.exceptions += exception

    def timed_out(self, unit: int, noise: bool) -> None:
        """`noise`: something came, but no answer, nor the beginning of one."""
        known = self.unit(unit)
        known.timeouts += 1
        known.timeouts_in_a_row += 1
        self.short += noise
        self.timeout += not noise

    def came_late(self, unit: int, after: float) -> None:
        """The answer to a request that had timed out: the unit is slow, not silent."""
        known = self.unit(unit)
        known.late += 1
        known.late_after = after
        known.timeouts_in_a_row = 0
        self.late += 1

    def forget_the_absent(self, known: Collection[int]) -> None:
        """The units that have not answered, but for those."""
        for number, unit in tuple(self.units.items()):
            if number not in known and not unit.answers and not unit.late:
                del self.units[number]

    def _driver_counts(self) -> DriverCounts | None:
        now = self._line.driver_counts() if self._line is not None else None
        if now is None or self._driver is None:
            return now or self._driver
        return DriverCounts(*(a + b for a, b in zip(self._driver, now, strict=True)))

    def _errors(self) -> Errors:
        driver = self._driver_counts()
        return {
            "timeout": self.timeout,
            "crc": self.crc,
            "short": self.short,
            "late": self.late,
            "foreign": self.foreign,
            "echo": self.echo,
            "exceptions": self.exceptions,
            "overrun": driver.overrun if driver else None,
            "framing": driver.framing if driver else None,
            "parity": driver.parity if driver else None,
            "break": driver.breaks if driver else None,
        }

    @property
    def real_baudrate(self) -> int | None:
        return self._line.real_baudrate() if self._line else None

    @property
    def doubt(self) -> str:
        """What may be wrong with the line that is open, as far as its driver tells."""
        if self._line is None:
            return ""
        asked, there = self._line.settled.asked, self._line.settled.baudrate
        if there is None or abs(there - asked) <= _TOLERANCE * asked:
            return ""
        off = 100 * abs(there - asked) / asked
        return f"the driver makes {there} of baudrate {asked}, which is {off:.1f} % off"

    def status(self, config: PortConfig) -> PartStatus:
        return {
            "reason": self.doubt,
            "mode": config.mode,
            "tty": config.tty,
            "line": config.line,
            "real_baudrate": self.real_baudrate,
            "rs485": _rs485(self._line.settled.mode if self._line else None),
            "rx_bytes": self._rx_bytes + (self._line.rx_bytes if self._line else 0),
            "tx_bytes": self._tx_bytes + (self._line.tx_bytes if self._line else 0),
            "rx_frames": self.rx_frames,
            "tx_frames": self.tx_frames,
            "errors": self._errors(),
            "units": {str(unit): self.units[unit].status() for unit in sorted(self.units)},
        }


def _rs485(mode: Mode | None) -> Rs485Status | None:
    if mode is None:
        return None
    return {
        "rts_on_send": mode.has(Flags.RTS_ON_SEND),
        "rts_after_send": mode.has(Flags.RTS_AFTER_SEND),
        "rx_during_tx": mode.has(Flags.RX_DURING_TX),
        "delay_before_ms": mode.delay_before,
        "delay_after_ms": mode.delay_after,
    }
