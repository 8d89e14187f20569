"""What an open tty can be told and asked beside bytes: its settings, modem lines, a purge.

Nothing here raises: what a driver does not have (a pty knows no modem lines: ENOTTY) is off, and what it
refuses stays as it was. Whether the device is still there is for whoever reads it to find out.
"""

import fcntl
import os
import struct
import termios
from contextlib import suppress
from typing import Any

import serial

from ..contracts import ModemLines
from ..settings import PortConfig
from . import uart

_TOLERANCE = 0.02  # of a baud rate: that close, the line is as it was asked to be
_FAILURES = (OSError, ValueError, termios.error)


def settings_of(config: PortConfig, tty: str) -> dict[str, Any]:
    """As pyserial names them, for `tty`, which `config` means."""
    bits, parity = (8, "N") if is_pseudo(tty) else (int(config.format[0]), config.format[1])
    return {
        "baudrate": config.baudrate,
        "bytesize": bits,
        "parity": parity,
        "stopbits": float(config.format[2:]),
        "rtscts": config.flow == "rts-cts",
        "xonxoff": config.flow == "xon-xoff",
    }


def is_pseudo(tty: str) -> bool:
    """A UNIX98 pseudo terminal (Documentation/admin-guide/devices.txt): it has neither parity nor 7 bits.

    Asked for them nevertheless, it refuses whenever it has nothing else to change: on each second open.
    """
    with suppress(OSError):
        return 136 <= os.major(os.stat(tty).st_rdev) <= 143
    return False


class Controls:
    """Of an open `device`, which it does not own."""

    def __init__(self, device: serial.Serial) -> None:
        self._device = device

    def apply(self, config: PortConfig) -> bool:
        """Its baud rate, format and flow control. False: the driver does not have them."""
        tty = str(self._device.port)
        try:
            self._device.apply_settings(settings_of(config, tty))
            sticks = uart.sticks_parity(self._device.fileno())
        except _FAILURES:
            return False
        return config.format[1] not in "MS" or sticks or is_pseudo(tty)

    @property
    def baudrate(self) -> int:
        """As the driver says; what was asked for, if that is near, or nobody knows better."""
        asked = int(self._device.baudrate)
        there = asked
        with suppress(*_FAILURES):
            there = uart.real_baudrate(self._device.fileno()) or asked
        return there if abs(there - asked) > _TOLERANCE * asked else asked

    def signal(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Raises or lowers our own lines; None leaves one alone."""
        with suppress(*_FAILURES):
            if dtr is not None:
                self._device.dtr = dtr
        with suppress(*_FAILURES):
            if rts is not None:
                self._device.rts = rts

    @property
    def modem(self) -> ModemLines | None:
        """None: this tty has none."""
        try:
            (bits,) = struct.unpack("I", fcntl.ioctl(self._device.fileno(), termios.TIOCMGET, bytes(4)))
        except _FAILURES:
            return None
        lines = (termios.TIOCM_CTS, termios.TIOCM_DSR, termios.TIOCM_RI, termios.TIOCM_CD)
        return ModemLines(*(bool(bits & line) for line in lines))

    @property
    def unsent(self) -> float:
        """Characters in the kernel that have not left the wire."""
        with suppress(*_FAILURES):
            return uart.unsent(self._device.fileno())
        return 0.0

    def discard_input(self) -> None:
        """What came and was not read yet."""
        with suppress(*_FAILURES):
            termios.tcflush(self._device.fileno(), termios.TCIFLUSH)
