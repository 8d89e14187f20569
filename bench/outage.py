"""Rows: a million records through an outage of the broker, and a bus that is polled while it gets them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from statistics import median
from typing import Any

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import Gatewayd, GatewaydError, free_port
from gateway.demo.line import Line, Wire

from . import daemon, peers
from .load import ModbusLoad, one_each
from .modbus import CLIENTS, UNITS, WARM_UP, limit
from .simulator import Simulator
from .table import Effort, Row

SIZE = 200  # bytes of a record
RECORDS = 1_000_000 / 3  # a second of effort: a million by default
REPLAY = 2000  # records/s while the bus is polled
BUS = Wire(baudrate=9600)
SHARE = 0.95  # of what that wire allows
LOOK_EVERY = 0.1  # seconds
GIVE_UP = 20.0  # seconds in which nothing happens
STEP = 0.001  # seconds between two hand-overs
BURST = 16_000.0  # bytes: the time in which nothing was read is not saved up
RATE = 25_000.0  # records/s that are said: what is lost then is lost by the gateway
_PAGE = b"%0*d\n" % (SIZE - 1, 0) * 81

Link = dict[str, Any]  # its record in the status

CONFIG = """
[ports.printer]
tty = "{tty}"
mode = "raw"
baudrate = 115200
format = "8N1"
frame = {{ delimiter = {{ text = "\\n" }} }}
[links.cloud]
kind = "mqtt"
connect = "mqtt://127.0.0.1:{broker}"
ports = ["printer"]
reconnect = {{ first = "100ms", max = "500ms" }}
{keys}
"""


class Printer(Line):
    """Says lines of SIZE bytes, so many in each second, or fewer if they are not read."""

    def __init__(self) -> None:
        super().__init__(Wire(baudrate=0))
        self._left = 0  # bytes that are still to be said,
        self._due = 0.0  # and that might have been said by now
        self._rate = self._last = 0.0

    def begin(self, lines: int, rate: float) -> None:
        """So many more."""
        self._left += lines * SIZE
        self._rate, self._due = rate * SIZE, 0.0
        self.alarm = self._last = time.monotonic()

    def alarmed(self, now: float) -> None:
        if self._left:
            self.alarm = now + STEP
        self._due = min(self._due + (now - self._last) * self._rate, BURST)
        self._last = now
        count = min(int(self._due), self._left)
        if self.opened and count:
            start = -self._left % SIZE
            given = self.give(_PAGE[start : start + count])
            self.choked = False  # the alarm is enough
            self._left -= given
            self._due -= given


class Outage:
    """A gatewayd whose broker comes and goes, and a printer, which is the first of the simulated lines."""

    def __init__(self, lines: Simulator, gateway: Gatewayd, port: int) -> None:
        self.lines, self.gateway, self._port = lines, gateway, port
        self._broker = ExitStack()

    def __enter__(self) -> "Outage":
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.close()

    def link(self) -> Link:
        self.gateway.check()
        link: Link = self.gateway.status()["links"]["cloud"]
        return link

    def begin(self) -> None:
        """The broker goes; returns when that is known."""
        self._broker.close()
        self.until(lambda link: link["state"] != "up")

    def end(self) -> None:
        """The broker is back; returns when the link is up. peers.Absent when there is none."""
        self._broker.enter_context(peers.mosquitto(self._port))
        self.until(lambda link: link["state"] == "up")

    def append(self, records: int) -> float:
        """The printer says so many, and the buffer has them all after so many seconds."""
        goal = self.link()["buffer"]["records"] + records
        start = time.monotonic()
        self.lines.call(0, "begin", records, RATE)
        self.until(lambda link: link["buffer"]["records"] >= goal)
        return time.monotonic() - start

    def until(self, there: Callable[[Link], bool]) -> Link:
        """GatewaydError when nothing moves any more."""
        last, since = None, time.monotonic()
        while not there(link := self.link()):
            moved = link["state"], link["confirmed"], link["buffer"]["records"]
            if moved != last:
                last, since = moved, time.monotonic()
            elif time.monotonic() > since + GIVE_UP:
                raise GatewaydError(f"links.cloud does not get on: {link}")
            time.sleep(LOOK_EVERY)
        return link


def throughput(effort: Effort) -> Iterator[Row]:
    """Through the disk and back, once."""
    count = round(RECORDS * effort.seconds)
    figure = f"outage of {count} records, {SIZE} bytes"
    try:
        rate, spent, drained, growth, lost = _through(count)
    except peers.Absent as absent:
        yield Row(figure=figure, measured=str(absent))
        return
    yield Row(
        figure=figure,
        required="append >= 20000/s",
        measured=f"{rate:.0f}/s, {1e6 * spent:.0f} us of CPU each",
        ok=rate >= 20_000,
    )
    yield Row(
        figure="  to mosquitto, QoS 1",
        required=">= 8000 msg/s",
        measured=f"{drained:.0f} msg/s",
        ok=drained >= 8000,
    )
    yield Row(figure="  not confirmed", required="0", measured=f"{lost}", ok=lost == 0)
    yield Row(
        figure="  growth of resident memory, at most",
        required="<= 10 MB",
        measured=f"{growth:.1f} MB",
        ok=growth <= 10,
    )


def _through(count: int) -> tuple[float, float, float, float, int]:
    """Appended a second, CPU seconds for one, drained a second, MB of growth, how many are missing."""
    port = free_port()
    with ExitStack() as stack:
        lines = stack.enter_context(Simulator(Printer))
        config = CONFIG.format(tty=lines.ttys[0], broker=port, keys='buffer = { size = "1GB" }')
        gateway = stack.enter_context(Gatewayd(daemon.GATEWAY + config))
        outage = stack.enter_context(Outage(lines, gateway, port))
        outage.end()
        outage.begin()
        resident, _ = daemon.memory(gateway.pid)
        cpu = daemon.cpu_seconds(gateway.pid)
        appended = count / outage.append(count)
        cpu = daemon.cpu_seconds(gateway.pid) - cpu
        outage.end()
        drained = _drained(outage)
        lost = count - outage.link()["confirmed"]
        _, peak = daemon.memory(gateway.pid)
    return appended, cpu / count, drained, peak - resident, lost


def _drained(outage: Outage) -> float:
    """Messages a second, until nothing is left."""
    start, before = time.monotonic(), outage.link()["confirmed"]
    outage.until(lambda link: not link["buffer"]["records"])
    count: int = outage.link()["confirmed"] - before
    return count / (time.monotonic() - start)


def beside_a_bus(effort: Effort) -> Iterator[Row]:
    """The replay must not slow down what others do on another line."""
    figure, most = f"Modbus at 9600 beside {REPLAY} msg/s", limit(BUS)
    required = f">= {SHARE:.0%} of {most:.2f} tx/s"
    try:
        per_second, replayed = _beside(effort)
    except peers.Absent as absent:
        yield Row(figure=figure, required=required, measured=str(absent))
        return
    yield Row(
        figure=figure,
        required=required,
        measured=f"{per_second:.2f} tx/s, {per_second / most:.1%}",
        ok=per_second >= SHARE * most,
    )
    yield Row(
        figure="  replayed meanwhile",
        required=f"{REPLAY} msg/s",
        measured=f"{replayed:.0f} msg/s",
        ok=0.95 * REPLAY <= replayed <= 1.05 * REPLAY,
    )


def _beside(effort: Effort) -> tuple[float, float]:
    """Transactions a second on the bus, messages a second to the broker; medians of the runs."""
    port, scada = free_port(), free_port()
    seconds = WARM_UP + effort.runs * (effort.seconds + 1.0)
    with ExitStack() as stack:
        lines = stack.enter_context(Simulator(Printer, partial(Bus, UNITS, BUS)))
        config = CONFIG.format(tty=lines.ttys[0], broker=port, keys=f"replay_rate = {REPLAY}")
        bus = daemon.modbus(lines.ttys[1], BUS.baudrate, scada)
        gateway = stack.enter_context(Gatewayd(bus + config))
        outage = stack.enter_context(Outage(lines, gateway, port))
        outage.append(round(2 * REPLAY * seconds))
        clients = stack.enter_context(closing(ModbusLoad(scada, one_each(CLIENTS))))
        outage.end()
        clients.run(WARM_UP)
        runs = [_run(outage, clients, effort.seconds) for _ in range(effort.runs)]
    return median(run[0] for run in runs), median(run[1] for run in runs)


def _run(outage: Outage, clients: ModbusLoad, seconds: float) -> tuple[float, float]:
    start, before = time.monotonic(), outage.link()["confirmed"]
    answers = clients.run(seconds)
    return answers.per_second, (outage.link()["confirmed"] - before) / (time.monotonic() - start)
