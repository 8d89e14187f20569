"""Whose turn it is to drive a pair of wires, where neither the adapter nor the driver sees to it.

Our transmitter is on before the first byte and stays on until the last bit has left the wire: that is
reckoned from the baud rate, and then asked of the driver. Nothing here waits in the loop; what time has to
pass is a timer.
"""

import asyncio
import fcntl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from .uart import Ioctl, set_rts

_SOONEST = 0.00005  # seconds between two looks
_FIFO = 64  # characters that a UART may still have after its driver's buffer was thrown away


class Pin(Protocol):
    """What switches the transmitter: on while we send. OSError when its device is gone."""

    def set(self, on: bool, /) -> None: ...
    def close(self) -> None: ...


class Rts:
    """The RTS line of the tty itself. `inverted`: off while we send."""

    def __init__(self, fd: int, inverted: bool, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._fd, self._inverted, self._ioctl = fd, inverted, ioctl

    def set(self, on: bool, /) -> None:
        set_rts(self._fd, on is not self._inverted, self._ioctl)

    def close(self) -> None:
        """It goes with the tty."""


class Turning(NamedTuple):
    """How to switch. Seconds: of one character, before the first, after the last."""

    pin: Pin
    character: float
    before: float
    after: float
    unseen: int  # characters that may still be on the wire when the driver has none left


class HalfDuplex:
    """`left` counts the characters that still have to go (OSError when the device is gone), `lost` is told of
    an OSError.
    """

    def __init__(
        self, turning: Turning, left: Callable[[], float], lost: Callable[[OSError], object]
    ) -> None:
        self._turning, self._left, self._lost = turning, left, lost
        self._loop = asyncio.get_running_loop()
        self.character = turning.character  # seconds
        self._sending = False
        self._ends = 0.0  # loop time at which the last bit is out, if nothing held it up
        self._timer: asyncio.TimerHandle | None = None

    def claim(self) -> float:
        """Drive the line. How many seconds the first byte has to wait; OSError when that cannot be."""
        self._cancel()
        if self._sending:
            return 0.0
        self._turning.pin.set(True)
        self._sending = True
        return self._turning.before

    def sent(self, count: float) -> None:
        """The kernel has taken so many characters."""
        self._ends = max(self._ends, self._loop.time()) + count * self.character
        self._look_at(self._ends + self._turning.unseen * self.character)

    def cut(self) -> None:
        """What the kernel had not sent yet was thrown away."""
        if self._sending:
            now = self._loop.time()
            self._ends = min(max(self._ends, now), now + _FIFO * self.character)
            self._look_at(self._ends + self._turning.unseen * self.character)

    def stop(self) -> None:
        """The line is closed."""
        self._cancel()
        if self._sending:
            self._sending = False
            with suppress(OSError):
                self._turning.pin.set(False)

    def _look(self) -> None:
        """Time is up for what was taken: is it out?"""
        self._timer = None
        try:
            left = self._left()
        except OSError as error:
            self._lost(error)
            return
        turning = self._turning
        if left:
            self._look_at(self._loop.time() + max(_SOONEST, (left + turning.unseen) * self.character))
        elif turning.after:
            self._timer = self._loop.call_later(turning.after, self._release)
        else:
            self._release()

    def _release(self) -> None:
        self._timer, self._sending = None, False
        try:
            self._turning.pin.set(False)
        except OSError as error:
            self._lost(error)

    def _look_at(self, at: float) -> None:
        self._cancel()
        self._timer = self._loop.call_at(at, self._look)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
