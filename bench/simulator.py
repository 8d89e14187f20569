"""Serial lines in a process of their own, which keeps time like hardware as far as it is permitted.

`Flood` and `Loopback` are the raw lines of the bench; Modbus lines are `gateway.demo.bus.Bus`.
"""

import multiprocessing
import os
import random
import signal
import threading
import time
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Self

from gateway.demo.line import Line, Lines, Wire, steady

PERIOD = 65521  # a prime: no buffer size hides a lost block
_PATTERN = random.Random(1).randbytes(PERIOD) * 3
MOST_ROOM = 512.0  # characters: a wire does not save up the time in which nothing was sent
STEP = 0.0005  # seconds between two hand-overs of a paced flood, as a USB adapter or a FIFO makes them


def pattern(offset: int, length: int) -> bytes:
    """`length` (at most 65536) bytes of the endless stream that is sent both ways, from `offset` on."""
    start = offset % PERIOD
    return _PATTERN[start : start + length]


@dataclass
class Flow:
    """What went through one end of one stream."""

    sent: int = 0
    received: int = 0
    broken: int = 0  # pieces that were not what had to come: lost, doubled or damaged bytes before them

    def check(self, data: bytes) -> None:
        self.broken += data != pattern(self.received, len(data))
        self.received += len(data)


class Flood(Line):
    """Sends the pattern and checks what comes, at full line rate both ways, or as fast as it goes."""

    def __init__(self, wire: Wire, step: float = STEP) -> None:
        super().__init__(wire)
        self._step = step
        self.flow = Flow()
        self._sending = False
        self._rate = wire.baudrate / wire.bits  # bytes a second
        self._began = self._last = 0.0
        self._room = 0.0  # characters that the wire has had time for

    def begin(self, sending: bool) -> None:
        self.flow, self.overrun = Flow(), 0
        self._sending = sending
        self._began = self._last = self.alarm = time.monotonic()

    def finish(self) -> Flow:
        """Stops sending; goes on listening."""
        self._sending = False
        return self.flow

    def counted(self) -> tuple[Flow, int]:
        return self.flow, self.overrun

    @property
    def listening(self) -> bool:
        return super().listening and not self.wire.baudrate

    def heard(self, data: bytes, now: float) -> None:
        self.flow.check(data)

    def alarmed(self, now: float) -> None:
        if not self.wire.baudrate:
            return
        self.alarm = now + self._step
        if self._sending:
            self._send(int((now - self._began) * self._rate) - self.flow.sent)
        self._room = min(self._room + (now - self._last) * self._rate, MOST_ROOM)
        self._last = now
        data = self.take(int(self._room), now)
        self._room -= len(data)
        self.flow.check(data)

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._sending and not self.wire.baudrate and self.opened:
            self._send(16384)
            self.choked = True  # come back as soon as there is room again

    def _send(self, count: int) -> None:
        if count > 0 and self.opened:
            self.flow.sent += self.give(pattern(self.flow.sent, count))


class Loopback:
    """`with Loopback() as plug:` is one line that gives every byte back, as quick as a process can."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        pipe, far = context.Pipe()
        self._process = context.Process(target=_give_back, args=(far,), daemon=True)
        self._process.start()
        self.ttys: list[str] = [pipe.recv()]

    def pin(self, core: int) -> None:
        assert self._process.pid
        os.sched_setaffinity(self._process.pid, {core})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _give_back(pipe: Connection) -> None:
    master, slave = os.openpty()
    tty.setraw(master)
    pipe.send(os.ttyname(slave))
    os.close(slave)  # else the exclusive mode of its first user would outlive that one
    while True:
        try:
            os.write(master, os.read(master, 4096))
        except OSError:  # nobody has it open
            time.sleep(0.01)


class Simulator:
    """`with Simulator(partial(Flood, wire)) as lines:`; `lines.call(0, "begin", True)` calls one."""

    def __init__(self, *makers: Callable[[], Line]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_live, args=(far, makers), daemon=True)
        self._process.start()
        far.close()
        self.ttys: list[str]
        self.priority: str
        self.ttys, self.priority = self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def call(self, line: int, method: str, *arguments: object) -> Any:
        self._pipe.send((line, method, arguments))
        return self._pipe.recv()


def _live(pipe: Connection, makers: Sequence[Callable[[], Line]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bench, and the pipe tells its end
    priority = steady()
    lines = Lines(*(maker() for maker in makers))
    pipe.send(([line.tty for line in lines.lines], priority))
    threading.Thread(target=_obey, args=(pipe, lines), daemon=True).start()
    lines.run()
    lines.close()


def _obey(pipe: Connection, lines: Lines) -> None:
    try:
        while True:
            number, name, arguments = pipe.recv()
            pipe.send(lines.call(partial(_do, lines.lines[number], name, arguments)))
    except EOFError:
        lines.stop()


def _do(line: Line, name: str, arguments: Sequence[object]) -> object:
    """A method's result, or the attribute of that name."""
    found = getattr(line, name)
    return found(*arguments) if callable(found) else found
