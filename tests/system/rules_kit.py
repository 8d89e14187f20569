"""Serial lines whose far end plays a script against the real daemon: what it hears, what it says, and when.

A script is written down in full, as bytes: `hears` a request, exactly; `says` bytes that need be no frame;
`waits`. What comes and was not expected stays in `unexpected`, so that nothing can reach a line unseen. Each
line is a port of one daemon and has a modbus-server link of its own.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from peers_kit import Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server

from gateway.demo.bus import with_crc
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Line, Lines, Wire

READ, SEVEN, EIGHT = "03 0000 0001", "03 02 00 07", "03 02 00 08"
READ_NEXT = "03 0001 0001"  # the same shape: RTU cannot tell its answer from that to READ
WRITE = "06 0005 0007"


def rtu(unit: int, pdu: str) -> bytes:
    return with_crc(bytes((unit,)) + bytes.fromhex(pdu))


def spoiled(frame: bytes) -> bytes:
    """The same with a wrong CRC."""
    return frame[:-1] + bytes((frame[-1] ^ 0xFF,))


class Hears(NamedTuple):
    data: bytes


class Says(NamedTuple):
    data: bytes


class Waits(NamedTuple):
    seconds: float


Step = Hears | Says | Waits


def hears(unit: int, pdu: str) -> Hears:
    return Hears(rtu(unit, pdu))


def says(unit: int, pdu: str) -> Says:
    return Says(rtu(unit, pdu))


class Seen(NamedTuple):
    """Something on the line, in the order in which it was there."""

    what: str  # "heard" or "said"
    at: float  # monotonic; of what was heard never too early, of what was said never too late
    data: bytes


class Slave(Line):
    """Whatever is at the far end. Without a script it is silent."""

    def __init__(self, wire: Wire | None = None) -> None:
        super().__init__(wire or Wire(baudrate=0))
        self.seen: list[Seen] = []
        self.script: deque[Step] = deque()
        self.unexpected = b""
        self._saying: deque[bytes] = deque()

    @property
    def over(self) -> bool:
        """All was heard and said."""
        return not self.script and not self._saying

    def play(self, steps: Iterable[Step]) -> None:
        self.seen.clear()
        self.script.extend(steps)
        self.unexpected = b""
        self._go_on(time.monotonic())

    def speak(self, data: bytes) -> None:
        """Now, whatever the script says."""
        self._say(data, time.monotonic())

    def heard(self, data: bytes, now: float) -> None:
        self.unexpected += data
        while self.script and self.unexpected.startswith(expected := self._next_request()):
            self.script.popleft()
            self.unexpected = self.unexpected[len(expected) :]
            self.seen.append(Seen("heard", now, expected))
            self._go_on(now)

    def said(self, now: float) -> None:
        self.seen.append(Seen("said", now, self._saying.popleft()))

    def _next_request(self) -> bytes:
        step = self.script[0]
        assert isinstance(step, Hears)
        return step.data

    def _go_on(self, at: float) -> None:
        """As far as to the next request."""
        while self.script and not isinstance(step := self.script[0], Hears):
            self.script.popleft()
            if isinstance(step, Waits):
                at += step.seconds
            else:
                self._say(step.data, at)

    def _say(self, data: bytes, at: float) -> None:
        self._saying.append(data)
        self.say(data, at)


class Client(Scada):
    def hears(self) -> str:
        """The next answer, as hexadecimal digits."""
        answer = self.answer()
        assert answer is not None, "the connection was closed"
        return answer.pdu.hex(" ")


@dataclass
class Place:
    """One line, its port, and where Modbus TCP clients reach it."""

    name: str
    slave: Slave
    tcp: int
    lines: Lines
    daemon: Daemon
    _counted: dict[str, int] = field(default_factory=dict)

    def scada(self) -> Client:
        return Client(self.tcp)

    @contextmanager
    def plays(self, *steps: Step) -> Iterator[Slave]:
        """In the end all of it was played, and nothing else has reached the line."""
        self._counted = self._errors()
        self.lines.call(lambda: self.slave.play(steps))
        yield self.slave
        eventually(lambda: self.slave.over)
        assert self.slave.unexpected == b""

    def speaks(self, data: bytes) -> None:
        self.lines.call(lambda: self.slave.speak(data))

    @property
    def errors(self) -> dict[str, int]:
        """How much each count of the daemon has grown since the play began, without those that have not."""
        before = self._counted
        return {name: now - before[name] for name, now in self._errors().items() if now > before[name]}

    @property
    def queue(self) -> int:
        """Requests that wait for the line."""
        return int(self.daemon.part(f"ports.{self.name}")["queue"])

    @property
    def clients(self) -> int:
        """Connections to its link."""
        return len(self.daemon.part(f"links.to-{self.name}")["peers"])

    def _errors(self) -> dict[str, int]:
        counts = self.daemon.part(f"ports.{self.name}")["errors"]
        return {name: count for name, count in counts.items() if count is not None}


Keys = Mapping[str, Any]


@contextmanager
def stage(ports: Mapping[str, Keys], links: Mapping[str, Keys], more: str = "") -> Iterator[dict[str, Place]]:
    """One daemon with these ports and, where we ask, a link to each; `links` has more of their keys, `more`
    is further text of the config file. In the end the daemon has no bug to report.
    """
    slaves = {name: Slave() for name in ports}
    tcp = {name: free_port() for name in ports}
    config = more
    for name, keys in ports.items():
        config += modbus_port(name, slaves[name].tty, **keys)
        if keys.get("role") != "server":
            config += modbus_server(f"to-{name}", tcp[name], port=name, **links.get(name, {}))
    with ExitStack() as stack:
        lines = stack.enter_context(Lines(*slaves.values()))
        daemon = stack.enter_context(Daemon(config))
        for name in ports:
            daemon.comes_to(f"ports.{name}", "open")
        yield {name: Place(name, slaves[name], tcp[name], lines, daemon) for name in ports}
        assert "Traceback" not in daemon.log
        assert "internal error" not in daemon.log
