"""The RS-485 mode of a tty's driver: the kernel or the UART itself switches the direction by RTS.

Documentation/driver-api/serial/serial-rs485.rst. The driver takes of a request what it can: what counts is
what it gives back. The mode outlives whoever set it, so it has to be switched off again.
"""

import fcntl
import struct
from enum import IntFlag
from typing import NamedTuple, Self

from ..settings import Rs485
from .uart import Ioctl

_TIOCGRS485, _TIOCSRS485 = 0x542E, 0x542F  # include/uapi/asm-generic/ioctls.h
_RECORD = struct.Struct("=3I20x")  # struct serial_rs485: flags, delays in ms, addresses and padding


class Flags(IntFlag):
    """include/uapi/linux/serial.h; those that are not ours (termination, addresses) are left as they are."""

    ENABLED = 1 << 0
    RTS_ON_SEND = 1 << 1
    RTS_AFTER_SEND = 1 << 2
    RX_DURING_TX = 1 << 4


_OURS = int(Flags.ENABLED | Flags.RTS_ON_SEND | Flags.RTS_AFTER_SEND | Flags.RX_DURING_TX)


class Mode(NamedTuple):
    """The state of a driver; delays in milliseconds."""

    flags: int
    delay_before: int
    delay_after: int

    @classmethod
    def unpacked(cls, record: bytes) -> Self:
        return cls(*_RECORD.unpack(record))

    def packed(self) -> bytes:
        return _RECORD.pack(*self)

    def has(self, flag: Flags) -> bool:
        return bool(self.flags & flag)

    def changed_to(self, wanted: Rs485) -> Self:
        flags = self.flags & ~_OURS | Flags.ENABLED  # ~ of the Flags would forget those that are not ours
        flags |= Flags.RTS_ON_SEND * wanted.rts_on_send
        flags |= Flags.RTS_AFTER_SEND * wanted.rts_when_done
        flags |= Flags.RX_DURING_TX * wanted.rx_during_tx
        delays = round(1000 * wanted.delay_before), round(1000 * wanted.delay_after)
        return type(self)(int(flags), *delays)


def mode_of(fd: int, ioctl: Ioctl = fcntl.ioctl) -> Mode | None:
    """None where the driver knows no such mode, or has it switched off."""
    try:
        mode = _get(fd, ioctl)
    except OSError:
        return None
    return mode if mode.has(Flags.ENABLED) else None


def switch_on(fd: int, wanted: Rs485, ioctl: Ioctl = fcntl.ioctl) -> None:
    """OSError: ENOTTY or ENOSYS where the driver knows no such mode."""
    ioctl(fd, _TIOCSRS485, _get(fd, ioctl).changed_to(wanted).packed())


def switch_off(fd: int, ioctl: Ioctl = fcntl.ioctl) -> None:
    mode = _get(fd, ioctl)
    ioctl(fd, _TIOCSRS485, mode._replace(flags=mode.flags & ~int(Flags.ENABLED)).packed())


def _get(fd: int, ioctl: Ioctl) -> Mode:
    return Mode.unpacked(ioctl(fd, _TIOCGRS485, bytes(_RECORD.size)))
