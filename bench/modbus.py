"""Rows: eight Modbus TCP clients on one bus: paced, with slaves that insist on the silence, and unpaced."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from statistics import median

from gateway.demo.bus import Bus, Count
from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Wire

from . import daemon
from .load import ANSWER, REQUEST, Answers, ModbusLoad, one_each, unit_registers
from .simulator import Simulator
from .table import Effort, Row

CLIENTS = 8
UNITS = {unit: unit_registers(unit) for unit in range(1, CLIENTS + 1)}
GOALS = ((9600, 0.97, 1.0), (19200, 0.97, None), (115200, 0.93, 0.8))  # share of the limit, CPU ms
WARM_UP = 1.0  # seconds


@dataclass(frozen=True)
class Measured:
    """All runs on one line."""

    runs: list[Answers]
    cpu: list[float]  # seconds that the gateway used in each
    count: Count  # of the referee, all runs together

    @property
    def per_second(self) -> float:
        return median(run.per_second for run in self.runs)

    @property
    def cpu_ms(self) -> float:
        """Per transaction."""
        spent = zip(self.runs, self.cpu, strict=True)
        return median(1000 * cpu / max(1, len(run.times)) for run, cpu in spent)

    def waits_ms(self) -> tuple[float, float]:
        """p50 and p99 of the run in the middle."""
        p50, p99 = sorted(run.percentiles for run in self.runs)[len(self.runs) // 2]
        return 1000 * p50, 1000 * p99


def limit(wire: Wire) -> float:
    """Transactions a second that the wire allows: request, silence, answer, silence."""
    return 1 / ((REQUEST + ANSWER) * wire.character + 2 * wire.silence)


def paced(effort: Effort) -> Iterator[Row]:
    """A line that takes its time."""
    for baudrate, share, cpu_ms in GOALS:
        wire = Wire(baudrate=baudrate)
        most, measured = limit(wire), _measure(wire, effort)
        rate, cpu, count = measured.per_second, measured.cpu_ms, measured.count
        yield Row(
            figure=f"Modbus at {baudrate}, {CLIENTS} clients",
            required=f">= {share:.0%} of {most:.2f} tx/s",
            measured=f"{rate:.2f} tx/s, {rate / most:.1%}",
            ok=rate >= share * most,
        )
        yield Row(
            figure="  requests less than 3.5 chars after",
            required="< 1 in 500",
            measured=f"{count.short_gaps} of {count.requests}",
            ok=count.short_gaps * 500 < count.requests,
        )
        yield _faultless(measured)
        yield Row(
            figure="  CPU per transaction",
            required="" if cpu_ms is None else f"<= {cpu_ms:.1f} ms",
            measured=f"{cpu:.2f} ms",
            ok=None if cpu_ms is None else cpu <= cpu_ms,
        )


def strict(effort: Effort) -> Iterator[Row]:
    """The same with slaves that lose a request inside the silence: then nobody gets anything for a second."""
    for baudrate, share, _ in GOALS:
        wire = Wire(baudrate=baudrate)
        most, measured = limit(wire), _measure(wire, effort, strict=True)
        rate, count = measured.per_second, measured.count
        yield Row(
            figure=f"Modbus at {baudrate}, strict slaves",
            required=f">= {share:.0%} of {most:.2f} tx/s",
            measured=f"{rate:.2f} tx/s, {rate / most:.1%}",
            ok=rate >= share * most,
        )
        yield Row(
            figure="  requests lost inside the silence",
            required="< 1 %",
            measured=f"{count.short_gaps} of {count.requests + count.short_gaps}",
            ok=count.short_gaps * 100 < count.requests + count.short_gaps,
        )


def unpaced(effort: Effort) -> Iterator[Row]:
    """An infinitely fast line and `frame_gap = "0s"`: what the gateway itself costs."""
    measured = _measure(Wire(baudrate=0), effort)
    rate, cpu = measured.per_second, measured.cpu_ms
    yield Row(
        figure=f"Modbus unpaced, {CLIENTS} clients",
        required=">= 6000 tx/s",
        measured="{:.0f} tx/s, p50 {:.2f} ms, p99 {:.2f} ms".format(rate, *measured.waits_ms()),
        ok=rate >= 6000,
    )
    yield _faultless(measured)
    yield Row(figure="  CPU per transaction", required="<= 0.12 ms", measured=f"{cpu:.3f} ms", ok=cpu <= 0.12)


def _measure(wire: Wire, effort: Effort, *, strict: bool = False) -> Measured:
    port = free_port()
    with ExitStack() as stack:
        lines = stack.enter_context(Simulator(partial(Bus, UNITS, wire, strict=strict)))
        gateway = stack.enter_context(Gatewayd(daemon.modbus(lines.ttys[0], wire.baudrate, port)))
        clients = stack.enter_context(closing(ModbusLoad(port, one_each(CLIENTS))))
        clients.run(WARM_UP)
        before: Count = lines.call(0, "count")
        runs, cpu = [], []
        for _ in range(effort.runs):
            start = daemon.cpu_seconds(gateway.pid)
            runs.append(clients.run(effort.seconds))
            cpu.append(daemon.cpu_seconds(gateway.pid) - start)
        after: Count = lines.call(0, "count")
    return Measured(runs, cpu, after - before)


def _faultless(measured: Measured) -> Row:
    wrong = sum(run.wrong for run in measured.runs)
    exceptions = sum(sum(run.exceptions.values()) for run in measured.runs)
    faults = measured.count.overlaps + measured.count.pauses + measured.count.bad_crc
    return Row(
        figure="  wrong values",
        required="0",
        measured=f"{wrong}; {exceptions} exceptions, {faults} other faults",
        ok=wrong == exceptions == faults == 0,
    )
