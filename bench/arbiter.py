"""Rows: one bus, and askers who get into each other's way.

They all want the same; one of them asks a unit that is dead; one of them is greedy; a device is polled beside
them. Each asker but the equal ones reads registers that nobody else wants, so that nothing can be shared.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from gateway.demo.bus import Bus, Count
from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Wire

from . import daemon
from .load import Answers, Asker, ModbusLoad, one_each, percentiles
from .modbus import CLIENTS, UNITS, WARM_UP, limit
from .simulator import Simulator
from .table import Effort, Row

SLOW, USUAL = Wire(baudrate=9600), Wire(baudrate=19200)
DEAD = CLIENTS + 1  # a unit that is not on the line
PATIENT, HASTY = 0.1, 0.0  # seconds between two requests to it
SETTLE = 4.0  # seconds in which it may be found out
PROBED = 7  # times as long as other runs: the probes become rarer
GREEDY, MODEST = "127.0.0.2", "127.0.0.3"  # hosts
PIPELINED = 16  # requests of one connection under way
UNHURRIED = 'request_timeout = "10s"'  # sixteen that wait for their turn among eight take their time
READERS, POLL_EVERY = 4, "250ms"
TOLERANCE = 1.1  # every fourth or so of the waits has a poll in it, and the worst of them some noise, too


@dataclass(frozen=True)
class Site:
    """A running gateway, its line and who asks."""

    gateway: Gatewayd
    clients: ModbusLoad
    lines: Simulator

    def requests(self, unit: int | None = None) -> int:
        """How many good ones the line has heard: all, or of the last 10,000 those to one unit."""
        if unit is None:
            count: Count = self.lines.call(0, "count")
            return count.requests
        return sum(frame[0] == unit for frame in self.lines.call(0, "seen"))


@contextmanager
def site(wire: Wire, askers: Iterable[Asker], *, keys: str = "", polled: str = "") -> Iterator[Site]:
    port = free_port()
    with ExitStack() as stack:
        lines = stack.enter_context(Simulator(partial(Bus, UNITS, wire)))
        config = daemon.modbus(lines.ttys[0], wire.baudrate, port, keys=keys, polled=polled)
        gateway = stack.enter_context(Gatewayd(config))
        clients = stack.enter_context(closing(ModbusLoad(port, askers)))
        yield Site(gateway, clients, lines)


def identical(effort: Effort) -> Iterator[Row]:
    """All of them read the same ten registers again and again."""
    most = limit(SLOW)
    with site(SLOW, [Asker(unit=1, starts=[0])] * CLIENTS) as here:
        here.clients.run(WARM_UP)
        before = here.requests()
        runs = [here.clients.run(effort.seconds) for _ in range(effort.runs)]
        requests = here.requests() - before
    rate = median(run.per_second for run in runs)
    yield Row(
        figure=f"{CLIENTS} clients read the same at {SLOW.baudrate}",
        required=f">= 7 x {most:.2f} answers/s",
        measured=f"{rate:.1f} answers/s, {rate / most:.1f} x",
        ok=rate >= 7 * most,
    )
    yield Row(
        figure="  answers from one transaction",
        measured=f"{sum(len(run.times) for run in runs) / max(1, requests):.1f}",
    )
    yield _faultless(runs)


def dead(effort: Effort) -> Iterator[Row]:
    """One reads a unit that does not answer, patiently or not; the other one's is alive."""
    yield from _beside(effort, "one asks a dead unit each 100 ms", PATIENT, 0.90)
    yield from _beside(effort, "one asks a dead unit without pause", HASTY, 0.85)


def _beside(effort: Effort, figure: str, every: float, share: float) -> Iterator[Row]:
    askers = [Asker(unit=1), Asker(unit=DEAD, every=every)]
    most, seconds = limit(USUAL), PROBED * effort.seconds
    with site(USUAL, askers, keys='response_timeout = "500ms"') as here:
        here.clients.run(SETTLE)
        cpu, before = daemon.cpu_seconds(here.gateway.pid), here.requests(DEAD)
        live, refused = here.clients.run_each(seconds)
        cpu, probes = daemon.cpu_seconds(here.gateway.pid) - cpu, here.requests(DEAD) - before
    rate = len(live.times) / seconds
    yield Row(
        figure=figure,
        required=f">= {share:.0%} of {most:.2f} tx/s",
        measured=f"{rate:.2f} tx/s, {rate / most:.1%} for the other",
        ok=rate >= share * most,
    )
    exceptions = sum(refused.exceptions.values())
    yield Row(
        figure=f"  it gets in {seconds:g} s",
        measured=f"{exceptions} exceptions, {probes} requests on the wire",
    )
    yield Row(figure="  CPU of the gateway", measured=f"{cpu / seconds:.1%} of one core")
    yield _faultless([live])


def hosts(effort: Effort) -> Iterator[Row]:
    """Seven connections of one host, one of another; then seven with one request each, one with sixteen."""
    crowd = [Asker(unit=unit, host=GREEDY) for unit in range(1, CLIENTS)]
    counts = _asked(effort, [*crowd, Asker(unit=CLIENTS, host=MODEST)])
    share = counts[-1] / sum(counts)
    yield Row(
        figure="1 connection beside 7 of another host",
        required=">= 40 % of the answers",
        measured=f"{share:.1%} of {sum(counts)}",
        ok=share >= 0.4,
    )
    single = [Asker(unit=unit) for unit in range(1, CLIENTS)]
    counts = _asked(effort, [*single, Asker(unit=CLIENTS, pipelined=PIPELINED)])
    even = sum(counts) / CLIENTS
    least = min(counts[:-1]) / even
    yield Row(
        figure=f"7 with 1 request beside 1 with {PIPELINED}",
        required="each >= 80 % of even",
        measured=f"{least:.0%} at least, the other one {counts[-1] / even:.0%}",
        ok=least >= 0.8,
    )


def _asked(effort: Effort, askers: list[Asker]) -> list[int]:
    """Good answers of each, all runs together."""
    with site(USUAL, askers, keys=UNHURRIED) as here:
        here.clients.run(WARM_UP)
        answers = here.clients.run_each(effort.runs * effort.seconds)
    return [len(one.times) for one in answers]


def polled(effort: Effort) -> Iterator[Row]:
    """Four that ask without pause, alone and beside a device that is read four times a second."""
    alone, rate = _waits(effort)
    beside, _ = _waits(effort, POLL_EVERY)
    longer, poll = 1000 * (beside - alone), 1000 / rate
    yield Row(
        figure="p99 beside a polled device, longer by",
        required=f"<= 1 poll, {poll:.1f} ms",
        measured=f"{longer:+.1f} ms, {longer / poll:.2f} polls; alone {1000 * alone:.1f} ms",
        ok=longer <= TOLERANCE * poll,
    )


def _waits(effort: Effort, polled: str = "") -> tuple[float, float]:
    """p99 of a wait in seconds, and answers a second."""
    with site(USUAL, one_each(READERS), polled=polled) as here:
        here.clients.run(WARM_UP)
        answers = here.clients.run(effort.runs * effort.seconds)
    return percentiles(answers.waits)[1], answers.per_second


def _faultless(runs: Iterable[Answers]) -> Row:
    wrong = sum(run.wrong for run in runs)
    exceptions = sum(sum(run.exceptions.values()) for run in runs)
    return Row(
        figure="  wrong values",
        required="0",
        measured=f"{wrong}; {exceptions} exceptions",
        ok=wrong == exceptions == 0,
    )
