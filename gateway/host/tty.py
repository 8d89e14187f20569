"""An open serial line as bytes: reads into a sink, writes whole and in turn, notices when the device is gone.

Above it there is no OSError, only LineDown. Where wires are shared, our transmitter is switched on before the
first byte and off after the last bit, whoever writes (`host.direction`). Opening and configuring is
`host.serial`'s; reading and writing go through the descriptor, because pyserial's own write spins while the
kernel's buffer is full and its read cannot tell "nothing" from "unplugged".
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from typing import Never

from ..errors import LineDown
from .controls import Controls
from .direction import HalfDuplex
from .settled import PLAIN, Settled
from .uart import NOT_THERE, DriverCounts, Ioctl, driver_counts, real_baudrate, set_break, unsent

_READ_SIZE = 64 * 1024


class Line:
    """An open tty in raw mode, VMIN = 1, non-blocking. `rx_bytes` and `tx_bytes` count from its opening.

    `sink` gets each chunk in the reader's own callback and must be set before anything is awaited. `settled`
    is what the driver has made of the config.
    """

    controls: Controls  # set by whoever opened it

    def __init__(self, fd: int, name: str, settled: Settled = PLAIN, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._fd, self._name, self._ioctl, self.settled = fd, name, ioctl, settled
        self._loop = asyncio.get_running_loop()
        self._rest = bytearray()  # taken from a writer, not yet by the kernel
        self._drained: asyncio.Future[None] | None = None
        self._turn, self._writers = asyncio.Lock(), 0
        self._lost: asyncio.Future[Never] = self._loop.create_future()
        self._lost.add_done_callback(lambda lost: lost.cancelled() or lost.exception())
        self._resting: asyncio.TimerHandle | None = None
        self._counts_at_open = driver_counts(fd, ioctl)
        turning = settled.turning
        self._half = None if turning is None else HalfDuplex(turning, self._left, self._failed)
        self._starting: asyncio.TimerHandle | None = None  # our transmitter is on, the first byte waits
        self._breaking = False
        self.rx_bytes = self.tx_bytes = 0
        self.sink: Callable[[bytes], None] = lambda data: None
        self._loop.add_reader(fd, self._readable)

    async def gone(self) -> Never:
        """Raises LineDown when the device vanishes.

        A sibling of every session, so that an idle line is missed too.
        """
        await asyncio.shield(self._lost)
        raise AssertionError  # it only ever has an exception

    # Reading

    def poll(self) -> None:
        """Read now what has already come."""
        self._readable()

    def pause(self) -> None:
        """Leave what comes to the kernel, and so to the line's flow control."""
        self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self._lost.done():
            self._loop.add_reader(self._fd, self._readable)

    def rest(self, seconds: float) -> None:
        """What comes within this time may stay in the kernel: one wake-up instead of one per byte."""
        self.pause()
        if self._resting is not None:
            self._resting.cancel()
        self._resting = self._loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self.resume()
        self.poll()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._down(_words(error))
            return
        if not data:
            self._down("unplugged")
            return
        self.rx_bytes += len(data)
        self.sink(data)

    # Writing

    def offer(self, data: bytes) -> bool:
        """Take all of it now, or nothing while earlier bytes still wait. LineDown when the device is gone."""
        if self._rest or self._writers:
            return False
        self._put(data)
        return True

    async def write(self, data: bytes) -> None:
        """Whole, in the order of the calls; returns when the kernel has all of it."""
        self._writers += 1
        try:
            async with self._turn:
                await self._drain()
                self._put(data)
                await self._drain()
        finally:
            self._writers -= 1

    @property
    def waiting(self) -> int:
        """Bytes that were taken from a writer and not by the kernel yet."""
        return len(self._rest)

    def discard_output(self) -> None:
        """What a device that holds its flow control did not take must not reach it later."""
        self._rest.clear()
        self._not_starting()
        self._all_taken()
        try:
            termios.tcflush(self._fd, termios.TCOFLUSH)
        except termios.error as error:
            raise self._down(error.args[1].lower()) from error
        if self._half is not None:
            self._half.cut()

    def _put(self, data: bytes) -> None:
        self.tx_bytes += len(data)
        if self._half is not None and (wait := self._claim(self._half)) > 0:
            self._rest += data
            self._starting = self._loop.call_later(wait, self._start)
            return
        sent = self._write_now(data)
        if sent < len(data):
            self._rest += data[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def _start(self) -> None:
        """Our transmitter has been on for long enough."""
        self._starting = None
        self._loop.add_writer(self._fd, self._writable)
        self._writable()

    def _not_starting(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    def _write_now(self, data: bytes | bytearray) -> int:
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._down(_words(error)) from error
        if self._half is not None:
            self._half.sent(sent)
        return sent

    def _writable(self) -> None:
        try:
            del self._rest[: self._write_now(self._rest)]
        except LineDown:
            return  # `gone` tells it
        if not self._rest:
            self._all_taken()

    def _all_taken(self) -> None:
        self._loop.remove_writer(self._fd)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def _drain(self) -> None:
        while self._rest:
            self._drained = self._loop.create_future()
            await asyncio.wait((self._drained, self._lost), return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                await self._lost

    def set_break(self, on: bool) -> bool:
        """Hold the wire at break until it is told otherwise.

        False where the driver cannot; LineDown when the device is gone.
        """
        if self._half is not None and on:
            self._claim(self._half)
        try:
            set_break(self._fd, on, self._ioctl)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise self._down(_words(error)) from error
            on, known = False, False
        else:
            known = True
        self._breaking = on
        if self._half is not None:
            self._half.sent(0)
        return known

    # Whose turn it is

    def respaced(self, character: float) -> None:
        """A character takes so many seconds from now on."""
        if self._half is not None:
            self._half.character = character

    def _claim(self, half: HalfDuplex) -> float:
        """Seconds until the first byte may go."""
        try:
            return half.claim()
        except OSError as error:
            raise self._down(_words(error)) from error

    def _left(self) -> float:
        """Characters that still have to leave before others may speak."""
        return len(self._rest) + self._breaking + unsent(self._fd, self._ioctl)

    def _failed(self, error: OSError) -> None:
        self._down(_words(error))

    # The end

    def _down(self, why: str) -> LineDown:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        down = LineDown(f"{self._name}: {why}")
        if not self._lost.done():
            self._lost.set_exception(down)
        return down

    def real_baudrate(self) -> int | None:
        """As the driver gives it back; None where it does not."""
        return real_baudrate(self._fd, self._ioctl)

    def driver_counts(self) -> DriverCounts | None:
        """Since the line was opened; None where the driver does not count (ptys, most USB adapters)."""
        now = driver_counts(self._fd, self._ioctl)
        if now is None or self._counts_at_open is None:
            return None
        return DriverCounts(*(new - old for new, old in zip(now, self._counts_at_open, strict=True)))

    def detach(self) -> None:
        """No callback any more; the descriptor is closed by whoever opened it."""
        if self._resting is not None:
            self._resting.cancel()
        self._not_starting()
        if self._breaking:
            with contextlib.suppress(LineDown):
                self.set_break(False)
        if self._half is not None:
            self._half.stop()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if not self._lost.done():
            self._lost.set_exception(LineDown(f"{self._name}: closed"))


def _words(error: OSError) -> str:
    """A line that is hung up gives EIO to whoever writes (tty_io.c): to that the reader is often second."""
    number = error.errno or errno.EIO
    return "unplugged" if number == errno.EIO else os.strerror(number).lower()
