"""Rows: what it costs to watch connections on which nothing happens."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Wire
from gateway.host.loop import new_event_loop
from gateway.host.watch import Watch
from gateway.policy.liveness import Bounds, profile

from . import daemon
from .load import connect
from .modbus import UNITS
from .simulator import Simulator
from .table import Effort, Row

CLIENTS = 200
BOUNDS = Bounds(5.0)
SETTLE = 1.0  # seconds


def idle(effort: Effort) -> Iterator[Row]:
    spent = median(_per_look(effort.seconds) for _ in range(effort.runs))
    yield Row(
        figure="watchdog, one look at one socket",
        required="<= 10 us",
        measured=f"{1e6 * spent:.1f} us of CPU",
        ok=spent <= 10e-6,
    )
    with Simulator(partial(Bus, UNITS, Wire(baudrate=9600))) as lines:
        share = median(_crowd(lines.ttys[0], effort.seconds) for _ in range(effort.runs))
    yield Row(
        figure=f"{CLIENTS} idle Modbus TCP clients, {BOUNDS.detect_within:g} s",
        required="< 3 % of one core",
        measured=f"{100 * share:.2f} % CPU",
        ok=share < 0.03,
    )


def _per_look(seconds: float) -> float:
    """CPU seconds, with all that the loop needs for it."""

    async def watched() -> float:
        with _pairs(CLIENTS) as socks:
            watches = [Watch(sock, BOUNDS) for sock in socks]
            for watch in watches:
                watch.start(lambda down: None)
            begun = time.process_time()
            await asyncio.sleep(seconds)
            spent = time.process_time() - begun
            for watch in watches:
                watch.stop()
        return spent / (CLIENTS * seconds / profile(BOUNDS).tick)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(watched())


@contextmanager
def _pairs(count: int) -> Iterator[list[socket.socket]]:
    """Connected sockets of ours; their far ends are as idle."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=count) as server:
        near = [stack.enter_context(socket.create_connection(server.getsockname())) for _ in range(count)]
        for _ in range(count):
            stack.enter_context(server.accept()[0])
        yield near


def _crowd(tty: str, seconds: float) -> float:
    """CPU seconds a second of the real daemon."""
    port = free_port()
    with Gatewayd(daemon.crowd(tty, port, CLIENTS, BOUNDS.detect_within)) as gateway, ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(connect(port))
        time.sleep(SETTLE)
        before = daemon.cpu_seconds(gateway.pid)
        time.sleep(seconds)
        return (daemon.cpu_seconds(gateway.pid) - before) / seconds
