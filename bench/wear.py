"""Rows: what is written to the disk of the state directory, in each mode of durability.

The state directory is the only thing of the daemon's that is on a disk here; all else is in memory, so that
the kernel's count of its writes (/proc/PID/io) is the wear. A gateway for each mode has a healthy link, one
more has none: all side by side, each with ten records a second.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Line, Wire

from . import peers
from .outage import CONFIG, SIZE, Outage
from .simulator import Simulator
from .table import Effort, Row

EVERY = 0.1  # seconds from one record to the next
MINUTES = 10 / 3  # a second of effort: ten minutes by default
MODES = ("memory", "crash", "power")
MOST = {"memory": 0, "crash": 7, "power": 20}  # bytes on the disk for each byte of payload
DISK, MEMORY = Path("/var/tmp"), Path("/dev/shm")
SETTLE = 3.0  # seconds after the start, and after the last record was confirmed
_LINE = b"%0*d\n" % (SIZE - 1, 0)


class Ticker(Line):
    """Says a line of SIZE bytes each EVERY seconds."""

    def __init__(self) -> None:
        super().__init__(Wire(baudrate=0))
        self.count = 0
        self._may = False
        self.alarm = 0.0

    def may(self, speak: bool) -> int:
        """How many lines it has said so far."""
        self._may = speak
        return self.count

    def alarmed(self, now: float) -> None:
        self.alarm = now + EVERY
        if self._may and self.opened:
            self.count += 1
            self.give(_LINE)


class Gateway:
    """One that is observed, on line `number`."""

    def __init__(self, stack: ExitStack, lines: Simulator, number: int) -> None:
        self.mode = MODES[number % len(MODES)]
        self.state = Path(stack.enter_context(TemporaryDirectory(prefix="bench-", dir=DISK)))
        port = free_port()
        config = f'[gateway]\nname = "bench"\nstate_dir = "{self.state}"\n'
        keys = f'buffer = {{ durability = "{self.mode}" }}'
        config += CONFIG.format(tty=lines.ttys[number], broker=port, keys=keys)
        gateway = stack.enter_context(Gatewayd(config, inside=MEMORY))
        self.outage = stack.enter_context(Outage(lines, gateway, port))
        self._lines, self._number = lines, number

    def speak(self) -> None:
        self._lines.call(self._number, "may", True)

    def begin(self) -> None:
        """The count. Before that it has spoken: numbers are reserved once for all of a start's."""
        self._before, self._files = _written(self._pid), self._look()
        self._said: int = self._lines.call(self._number, "may", True)

    def end(self) -> None:
        """Nothing more is said, and all of it has been confirmed."""
        said = self._lines.call(self._number, "may", False)
        self.outage.until(lambda link: link["confirmed"] >= said)
        time.sleep(SETTLE)
        self.payload = (said - self._said) * SIZE
        self.written = _written(self._pid) - self._before
        self.touched = self._look() != self._files

    @property
    def _pid(self) -> int:
        return self.outage.gateway.pid

    def _look(self) -> set[tuple[str, int, int]]:
        """Each file, its size and when it was changed."""
        stats = ((file, file.stat()) for file in self.state.rglob("*"))
        return {(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats}


def wear(effort: Effort) -> Iterator[Row]:
    """Ten minutes by default; with `--seconds 0.3` one."""
    minutes = MINUTES * effort.seconds
    figure = f"disk, {60 * minutes:.0f} s of {1 / EVERY:g} records/s"
    if not _is_disk(DISK) or _is_disk(MEMORY):
        yield Row(figure=figure, measured=f"{DISK} is no disk, or {MEMORY} is one")
        return
    try:
        healthy, away = _observed(60 * minutes)
    except peers.Absent as absent:
        yield Row(figure=figure, measured=str(absent))
        return
    yield Row(figure=figure, measured=f"{healthy[0].payload / 1000:.0f} KB of payload")
    for one in healthy:
        must = one.mode != "power"
        yield Row(
            figure=f"  {one.mode}, the link is up",
            required="0" if must else "",
            measured=_shown(one),
            ok=one.written == 0 and not one.touched if must else None,
        )
    for one in away:
        yield Row(
            figure=f"  {one.mode}, away all the time, and back",
            required=f"<= {MOST[one.mode]} x payload",
            measured=_shown(one),
            ok=one.written <= MOST[one.mode] * one.payload,
        )


def _shown(one: Gateway) -> str:
    touched = ", files changed" if one.touched else ""
    return f"{one.written} bytes, {one.written / one.payload:.1f} x payload{touched}"


def _observed(seconds: float) -> tuple[list[Gateway], list[Gateway]]:
    """With a healthy link, and with one whose broker is away until the end; by mode."""
    with ExitStack() as stack:
        lines = stack.enter_context(Simulator(*(2 * len(MODES) * [Ticker])))
        gateways = [Gateway(stack, lines, number) for number in range(2 * len(MODES))]
        healthy, away = gateways[: len(MODES)], gateways[len(MODES) :]
        for one in healthy:
            one.outage.end()
        for one in gateways:
            one.speak()
        time.sleep(SETTLE)
        for one in gateways:
            one.begin()
        time.sleep(seconds)
        for one in away:
            one.outage.end()
        for one in gateways:
            one.end()
    return healthy, away


def _written(pid: int | str) -> int:
    """Bytes that this process has given disks to write so far, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def _is_disk(folder: Path) -> bool:
    before = _written("self")
    try:
        with NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"?")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError:
        return False
    return _written("self") > before
