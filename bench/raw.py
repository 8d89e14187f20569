"""Rows: raw TCP and serial, ours and ser2net by turns on the same simulated lines."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Wire

from . import daemon, peers
from .load import RawLoad, echo
from .simulator import Flood, Flow, Loopback, Simulator
from .table import Effort, Row, middle, shown

MB = 1_000_000
PORTS, BAUDRATE = 8, 921600
MANY_PORTS, COMMON_BAUDRATE = 32, 115200
MOST_RSS = 60  # MB
MILLISECOND = 0.001  # seconds: a USB adapter hands over what has come as often, at best
ECHOES = 5000
WARM_UP = 0.5  # seconds
SETTLE = 0.3  # seconds: what comes before a client is accepted is nobody's

Figures = tuple[float, ...]  # what one run gives
F = TypeVar("F", bound=Figures)
Lines = TypeVar("Lines", Simulator, Loopback)


class FullRate(NamedTuple):
    """What a run of ports at full rate gives."""

    cpu: float  # seconds a second
    lost: float  # bytes
    through: float  # bytes a second
    rss: float  # MB


class Server(Protocol):
    """What is measured."""

    @property
    def pid(self) -> int: ...


def throughput(effort: Effort) -> Iterator[Row]:
    """One unpaced port, each way by itself."""
    ours, theirs = _by_turns(Simulator(partial(Flood, Wire(baudrate=0, bits=10))), _each_way, effort)
    for way, figure in enumerate(("raw, serial -> TCP", "raw, TCP -> serial")):
        rate, peer = (middle([run[way] / MB for run in runs]) for runs in (ours, theirs))
        assert rate is not None
        yield Row(
            figure=figure,
            required=">= 20 MB/s",
            measured=f"{rate:.1f} MB/s",
            peer=shown(peer, "{:.1f} MB/s"),
            ok=rate >= 20,
        )
    yield _lossless(ours, theirs, column=2)


def latency(effort: Effort) -> Iterator[Row]:
    """One byte there and back."""
    ours, theirs = _by_turns(Loopback(), _echo, effort)
    for column, (name, most) in enumerate((("p50", 0.1), ("p99", 1.5))):
        wait, peer = (middle([1000 * run[column] for run in runs]) for runs in (ours, theirs))
        assert wait is not None
        yield Row(
            figure=f"raw, echo of one byte, {name}",
            required=f"< {most} ms",
            measured=f"{wait:.3f} ms",
            peer=shown(peer, "{:.3f} ms"),
            ok=wait < most,
        )


def eight(effort: Effort) -> Iterator[Row]:
    """Eight ports at full rate, both ways at once."""
    flood = partial(Flood, Wire(baudrate=BAUDRATE, bits=10))
    ours, theirs = _by_turns(Simulator(*[flood] * PORTS), partial(_full_rate, BAUDRATE), effort)
    yield _cpu(f"raw, {PORTS} ports at {BAUDRATE}, both ways", ours, theirs, most=1.25)
    rate = middle([run.through / MB for run in ours])
    yield Row(figure="  through it, all ports and ways", measured=shown(rate, "{:.2f} MB/s"))
    yield _lossless(ours, theirs, column=1)


def thirty_two(effort: Effort) -> Iterator[Row]:
    """As many as a large box has, at the rate of most, for 10 s at least."""
    effort = replace(effort, seconds=max(effort.seconds, 10.0))
    flood = partial(Flood, Wire(baudrate=COMMON_BAUDRATE, bits=10), MILLISECOND)
    measure = partial(_full_rate, COMMON_BAUDRATE)
    ours, theirs = _by_turns(Simulator(*[flood] * MANY_PORTS), measure, effort, COMMON_BAUDRATE)
    yield _cpu(f"raw, {MANY_PORTS} ports at {COMMON_BAUDRATE}, both ways", ours, theirs)
    rss, peer = (max((run.rss for run in runs), default=None) for runs in (ours, theirs))
    yield Row(
        figure="  resident memory",
        required=f"<= {MOST_RSS} MB",
        measured=shown(rss, "{:.1f} MB"),
        peer=shown(peer, "{:.1f} MB"),
        ok=rss is not None and rss <= MOST_RSS,
    )
    through = middle([run.through / MB for run in ours])
    full = 2 * MANY_PORTS * COMMON_BAUDRATE / 10 / MB
    yield Row(
        figure=f"  through it, {effort.seconds:g} s, both ways",
        measured=shown(through, f"{{:.3f}} MB/s of {full:.3f} on the wires"),
    )
    yield _lossless(ours, theirs, column=1)


def _cpu(figure: str, ours: list[FullRate], theirs: list[FullRate], most: float | None = None) -> Row:
    """`most`: so many times what ser2net takes."""
    cpu, peer = (middle([100 * run.cpu for run in runs]) for runs in (ours, theirs))
    assert cpu is not None
    return Row(
        figure=figure,
        required=f"<= {most} x CPU of ser2net" if most else "",
        measured=f"{cpu:.0f} % CPU" + shown(peer and cpu / peer, ", {:.2f} x ser2net"),
        peer=shown(peer, "{:.0f} % CPU"),
        ok=None if peer is None or most is None else cpu <= most * peer,
    )


def _lossless(ours: Sequence[Figures], theirs: Sequence[Figures], column: int) -> Row:
    lost, peer = (sum(run[column] for run in runs) for runs in (ours, theirs))
    return Row(
        figure="  bytes lost or damaged",
        required="0",
        measured=f"{lost:.0f}",
        peer=f"{peer:.0f}" if theirs else "-",
        ok=not lost,
    )


def _by_turns(
    simulated: Lines,
    measure: Callable[[Lines, list[int], int, Effort], F],
    effort: Effort,
    baudrate: int = BAUDRATE,
) -> tuple[list[F], list[F]]:
    """The figures of our runs and of ser2net's; none of these where it is not installed."""
    ours: list[F] = []
    theirs: list[F] = []
    with simulated as lines:
        for _ in range(effort.runs):
            for start, results in ((_gatewayd, ours), (_ser2net, theirs)):
                ports = [free_port() for _ in lines.ttys]
                try:
                    server = start(lines.ttys, baudrate, ports)
                except peers.Absent:
                    continue
                with server as running:
                    results.append(measure(lines, ports, running.pid, effort))
    return ours, theirs


def _gatewayd(ttys: list[str], baudrate: int, ports: list[int]) -> AbstractContextManager[Server]:
    return Gatewayd(daemon.raw(ttys, baudrate, ports))


def _ser2net(ttys: list[str], baudrate: int, ports: list[int]) -> AbstractContextManager[Server]:
    return peers.ser2net(ttys, baudrate, ports, free_port())


def _each_way(lines: Simulator, ports: list[int], _pid: int, effort: Effort) -> Figures:
    """Bytes a second up and down, bytes lost."""
    with closing(RawLoad(ports)) as client:
        _opened(lines)
        lines.call(0, "begin", True)
        took = client.run(effort.seconds)
        up = client.flows[0].received / took
        sent: Flow = lines.call(0, "finish")
        client.drain([sent.sent])
        lost = _lost(sent, client.flows[0])
        start = time.monotonic()
        client.run(effort.seconds, rate=None)
        heard = _settled(lines, 0, client.flows[0].sent)
        down = heard.received / (time.monotonic() - start)
        lost += _lost(client.flows[0], heard)
    return up, down, lost


def _full_rate(baudrate: int, lines: Simulator, ports: list[int], pid: int, effort: Effort) -> FullRate:
    rate = baudrate / 10
    with closing(RawLoad(ports)) as client:
        _opened(lines)
        for number in range(len(ports)):
            lines.call(number, "begin", True)
        client.run(WARM_UP, rate=rate)
        cpu, before = daemon.cpu_seconds(pid), _through(client)
        took = client.run(effort.seconds, rate=rate)
        cpu, through = daemon.cpu_seconds(pid) - cpu, _through(client) - before
        rss, _ = daemon.memory(pid)
        sent: list[Flow] = [lines.call(number, "finish") for number in range(len(ports))]
        client.drain([flow.sent for flow in sent])
        heard = [_settled(lines, number, flow.sent) for number, flow in enumerate(client.flows)]
        lost = sum(map(_lost, sent, client.flows)) + sum(map(_lost, client.flows, heard))
        lost += sum(lines.call(number, "overrun") for number in range(len(ports)))
    return FullRate(cpu / took, lost, through / took, rss)


def _echo(lines: Loopback, ports: list[int], _pid: int, _effort: Effort) -> Figures:
    """The client on one core and the line on another: else the scheduler's choice is what is measured."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    lines.pin(max(cores))
    try:
        return echo(ports[0], ECHOES)
    finally:
        os.sched_setaffinity(0, cores)


def _opened(lines: Simulator) -> None:
    """Until every tty is open: ser2net opens it when a client comes, ours may still be about to."""
    deadline = time.monotonic() + 5
    while not all(lines.call(number, "opened") for number in range(len(lines.ttys))):
        if time.monotonic() > deadline:
            raise RuntimeError("nobody opened the tty")
        time.sleep(0.01)
    time.sleep(SETTLE)


def _settled(lines: Simulator, number: int, count: int) -> Flow:
    """What the line has heard, once it is `count` bytes or nothing more comes."""
    heard: Flow = lines.call(number, "flow")
    while heard.received < count:
        before = heard.received
        time.sleep(0.25)
        heard = lines.call(number, "flow")
        if heard.received == before:
            break
    return heard


def _through(client: RawLoad) -> int:
    return sum(flow.sent + flow.received for flow in client.flows)


def _lost(sent: Flow, heard: Flow) -> int:
    """Bytes that did not arrive; damage counts as one byte a piece."""
    return abs(sent.sent - heard.received) + heard.broken
