"""A serial line without hardware: a pty whose far side keeps the time of a wire.

Promises: what is said here reaches the gateway character by character at the baud rate, never early; after a
stall the line catches up, as a UART's FIFO does. What is said while nobody has the tty open is lost. Unpaced
(baudrate 0) nothing else is; paced, what the gateway does not read in time is lost and counted, as on a wire
without flow control. `unplug` is what pulling an adapter looks like; `plug` brings it back as another device
behind the same link.

A Line does nothing by itself: Lines is the loop, in a thread (`with Lines(line):`) or as the whole of a
process (`run`), where `steady()` asks the kernel for a timekeeper as good as hardware.
"""

import os
import select
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

LOOK_AGAIN = 0.005  # seconds between two looks whether somebody has opened the tty: the kernel does not tell


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How fast characters travel."""

    baudrate: int = 19200  # 0: infinitely fast
    bits: int = 11  # of one character, with start, parity and stop bits; 10 for 8N1
    chunk: int = 1  # characters that reach the gateway at once, as from a UART's FIFO

    @property
    def character(self) -> float:
        """Seconds that one character takes."""
        return self.bits / self.baudrate if self.baudrate else 0.0

    @property
    def silence(self) -> float:
        """Seconds that end a Modbus frame: 3.5 characters, above 19200 baud 1.75 ms.

        MODBUS over Serial Line V1.02, 2.5.1.1.
        """
        return self._characters(3.5, 0.00175)

    @property
    def pause(self) -> float:
        """Seconds that no gap inside a Modbus frame may exceed: 1.5 characters, above 19200 baud 0.75 ms."""
        return self._characters(1.5, 0.00075)

    def _characters(self, count: float, at_most_precise: float) -> float:
        return at_most_precise if self.baudrate > 19200 else count * self.character


@dataclass(slots=True)
class _Message:
    start: float  # when its first character begins to travel
    data: bytes
    sent: int = 0


class Line:
    """One pty. `tty` is what the gateway opens; kinds of lines override `heard`, `alarmed` and `said`."""

    def __init__(self, wire: Wire, link: Path | None = None) -> None:
        self.wire = wire
        self.link = link
        self.overrun = 0  # bytes lost because the gateway did not read them
        self.alarm: float | None = None  # `alarmed` is called at this monotonic time
        self.opened = False  # somebody has the tty open
        self.choked = False  # unpaced, and the gateway is slower: `tick` when it has read something
        self._out: list[_Message] = []  # by start; the first may be on its way
        self._free = 0.0  # when the last message had travelled
        self._look_again = 0.0
        self._master = -1
        self._tty = ""
        self.plug()

    def heard(self, data: bytes, now: float) -> None:
        """The gateway wrote `data`, all of it at `now`; its characters still have to travel."""

    def alarmed(self, now: float) -> None:
        """The time set in `alarm` has come; it was cleared."""

    def said(self, now: float) -> None:
        """A message's last character was handed over at `now`, or a moment later."""

    @property
    def tty(self) -> str:
        return str(self.link or self._tty)

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    @property
    def listening(self) -> bool:
        """Whether `listen` is to be called when something was written."""
        return self.opened

    @property
    def due(self) -> float | None:
        """When `tick` has something to do next."""
        times = [] if self.alarm is None else [self.alarm]
        if not self.opened:
            times.append(self._look_again)
        if self._out and not self.choked:
            first = self._out[0]
            step = min(self.wire.chunk, len(first.data) - first.sent)
            times.append(first.start + (first.sent + step) * self.wire.character)
        return min(times, default=None)

    def speaking(self, now: float) -> bool:
        """Whether a character of ours is on the wire."""
        return bool(self._out) and self._out[0].start <= now

    def say(self, data: bytes, at: float) -> None:
        """Send `data` from `at` on, or as soon as what comes before it has travelled."""
        if data:
            insort(self._out, _Message(max(at, self._free), data), key=lambda message: message.start)

    def plug(self) -> None:
        """A new device appears (a new pty), and the link leads to it."""
        self._master, slave = os.openpty()
        self._tty = os.ttyname(slave)
        os.close(slave)  # it is the gateway's: closing it must be its last close, or TIOCEXCL would stay
        os.set_blocking(self._master, False)
        if self.link:
            fresh = self.link.with_name(self.link.name + ".new")
            fresh.symlink_to(self._tty)
            fresh.replace(self.link)

    def unplug(self) -> None:
        """The device is gone: the gateway gets a hang-up, and the link leads nowhere."""
        if self.plugged:
            os.close(self._master)
        self._master = -1
        self._closed()
        if self.link:
            self.link.unlink(missing_ok=True)

    def fileno(self) -> int:
        return self._master

    def listen(self, now: float) -> None:
        """Hear what was written."""
        if data := self.take(65536, now):
            self.heard(data, now)

    def take(self, size: int, now: float) -> bytes:
        """At most `size` bytes that the gateway wrote; notices whether it has the tty open at all."""
        try:
            data = os.read(self._master, size)
        except BlockingIOError:
            data = b""
        except OSError:  # EIO: nobody has
            self._closed()
            self._look_again = now + LOOK_AGAIN
            return b""
        self.opened = True
        return data

    def _closed(self) -> None:
        self.opened = self.choked = False
        self._out.clear()

    def tick(self, now: float) -> None:
        """Do what is due: hand over characters, call `alarmed`."""
        if not self.opened and self._look_again <= now:
            self.listen(now)
        if self.alarm is not None and self.alarm <= now:
            self.alarm = None
            self.alarmed(now)
        while self._out and (count := self._travelled(self._out[0], now)):
            first = self._out[0]
            piece = first.data[first.sent : first.sent + count]
            at = time.monotonic()  # before the write: the gateway cannot have had it earlier
            taken = self.give(piece)
            first.sent += taken
            if first.sent < len(first.data):
                return
            self._free = first.start + len(first.data) * self.wire.character
            self._out.pop(0)
            if self._out:
                self._out[0].start = max(self._out[0].start, self._free)
            self.said(at)

    def _travelled(self, message: _Message, now: float) -> int:
        """How many of its characters are to be handed over now."""
        left = len(message.data) - message.sent
        if not self.wire.baudrate:
            return left if message.start <= now else 0
        count = int((now - message.start) / self.wire.character + 1e-6) - message.sent
        return min(left, count) if count >= min(left, self.wire.chunk) else 0

    def give(self, data: bytes) -> int:
        """Hand `data` to the gateway; how much of it needs no second try."""
        if not self.opened:
            return len(data)
        try:
            taken = os.write(self._master, data)
        except BlockingIOError:
            taken = 0
        if self.wire.baudrate:
            self.overrun += len(data) - taken
            return len(data)
        self.choked = taken < len(data)
        return taken


class Lines:
    """The loop in which lines live: a thread as context manager, or `run()` as a process."""

    def __init__(self, *lines: Line) -> None:
        self.lines = lines
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0)
        self._running = True
        self._thread = threading.Thread(target=self.run, name="serial lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self.close()

    def close(self) -> None:
        for line in self.lines:
            line.unplug()
        os.close(self._wake)

    def stop(self) -> None:
        self._running = False
        os.eventfd_write(self._wake, 1)

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` (a line's `unplug`, say) in the loop, between two steps; return its result."""
        done: Future[T] = Future()

        def inside() -> None:
            try:
                done.set_result(function())
            except BaseException as error:  # it belongs to the caller
                done.set_exception(error)

        self._calls.append(inside)
        os.eventfd_write(self._wake, 1)
        return done.result(timeout=10)

    def run(self) -> None:
        """Until `stop()`. select() and not poll(): it waits to the microsecond."""
        while self._running:
            plugged = [line for line in self.lines if line.plugged]
            due = min((due for line in plugged if (due := line.due) is not None), default=None)
            wait = None if due is None else max(0.0, due - time.monotonic())
            watched: list[Line | int] = [self._wake, *(line for line in plugged if line.listening)]
            ready, _, _ = select.select(watched, [line for line in plugged if line.choked], (), wait)
            now = time.monotonic()
            for line in plugged:
                if line in ready:
                    line.listen(now)
                line.tick(now)
            if self._wake in ready:
                os.eventfd_read(self._wake)
                while self._calls:
                    self._calls.popleft()()


def steady() -> str:
    """Ask for precise waking in this process; what was granted, in words.

    A real-time priority needs root (or an rtprio limit); a timer slack of 1 ns is everybody's.
    """
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    except OSError:
        return "ordinary priority"
    return "SCHED_FIFO 20"
