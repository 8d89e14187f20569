"""A line that knows what it said and when, and a gatewayd that dies and comes back.

The line is silent while nobody could hear it, from the end of a gatewayd until the next one has the port
open. What gatewayd had not read at a kill need not arrive, nor what was said less than EXCUSED before;
everything else must.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf

from accounts_kit import SIZE, line
from system_kit import Daemon, eventually

from gateway.demo.line import Line, Lines, Wire

EXCUSED = 0.1  # seconds before a kill -9
PORT = "ports.source"


class Source(Line):
    """Says N000001, N000002 ... one line each `every` seconds, while it may."""

    def __init__(self, every: float) -> None:
        super().__init__(Wire(baudrate=0))
        self.every = every
        self.said_at: dict[int, float] = {}  # wall time by number
        self.excused: set[int] = set()  # numbers that may be missing
        self.given = 0  # bytes that the tty has taken
        self._may = False
        self.alarm = 0.0

    def begin(self) -> None:
        self._may = True

    def hold(self, lost_since: float = inf, heard: float = inf) -> None:
        """Silence. What was said after `lost_since`, wall time, may be missing, and all behind `heard`."""
        self._may = False
        self.excused |= {number for number, at in self.said_at.items() if at > lost_since or number > heard}

    def give(self, data: bytes) -> int:
        taken = super().give(data)
        self.given += taken if self.opened else 0
        return taken

    def alarmed(self, now: float) -> None:
        self.alarm = now + self.every
        if self._may and self.opened and not self._out:
            self.say(line(len(self.said_at) + 1), now)

    def said(self, now: float) -> None:
        self.said_at[len(self.said_at) + 1] = time.time()


class Stage:
    """The line, and gatewayd, which dies and comes back. `link` is the path of the one that matters."""

    def __init__(self, source: Source, lines: Lines, daemon: Daemon, link: str) -> None:
        self.source, self.daemon, self.link = source, daemon, link
        self._lines = lines
        self.deaths = 0  # of gatewayd
        self._said = self._given = 0  # lines, and bytes, before this gatewayd had the port open

    def begin(self) -> None:
        self.daemon.start()
        self._listen()

    def _listen(self) -> None:
        """The line goes on once somebody listens: whoever opens a tty throws away what waits in there."""
        self.daemon.comes_to(PORT, "open")
        self._said, self._given = len(self.source.said_at), self.source.given
        self._lines.call(self.source.begin)

    def says(self, count: int) -> None:
        """Until it has said so many more."""
        last = len(self.source.said_at) + count
        eventually(lambda: len(self.source.said_at) >= last)

    def spills(self) -> None:
        """Until records of the link stand on disk."""
        folder = self.daemon.folder / "state" / "buffers"
        eventually(lambda: any(folder.glob(f"{self.link.removeprefix('links.')}.*.sqlite")))

    def crash(self) -> None:
        """kill -9, and a new one."""
        heard = self._said + self._read() // SIZE  # a busy machine may not have let it read the rest
        killed = time.time()
        self.daemon.kill(signal.SIGKILL)
        self.daemon.ended()
        self._lines.call(lambda: self.source.hold(killed - EXCUSED, heard))
        self.deaths += 1
        self.begin()

    def restart(self) -> None:
        """SIGTERM, and a new one. Nothing at all may be missing, once it has read what was said."""
        self._lines.call(self.source.hold)
        eventually(lambda: self._given + self._read() >= self.source.given)
        assert self.daemon.stop() == 0
        self.begin()

    def _read(self) -> int:
        """Bytes of the line that this gatewayd has."""
        read: int = self.daemon.part(PORT)["rx_bytes"]
        return read

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """gatewayd does not run meanwhile, and notices nothing. The line waits when the tty is full."""
        self.daemon.kill(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemon.kill(signal.SIGCONT)

    def end(self) -> None:
        """The line has said everything, and the link has passed on all that it kept."""
        self._lines.call(self.source.hold)
        eventually(lambda: not self.daemon.part(self.link)["buffer"]["records"])

    @property
    def dropped(self) -> int:
        dropped: int = self.daemon.part(self.link)["buffer"]["dropped"]
        return dropped


@contextmanager
def stage(
    every: float, config: str, link: str, before: Sequence[str] = (), **environment: str
) -> Iterator[Stage]:
    """In `config` the tty of the port is "{tty}". What gatewayd logged is printed, for when a test fails."""
    source = Source(every)
    with (
        Lines(source) as lines,
        Daemon(config.replace("{tty}", source.tty), begun=False, before=before, **environment) as daemon,
    ):
        made = Stage(source, lines, daemon, link)
        try:
            made.begin()
            yield made
        finally:
            print(daemon.log)
