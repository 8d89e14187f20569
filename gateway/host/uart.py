"""What a serial driver tells and takes beyond termios: one ioctl each, all of them in include/uapi.

OSError comes out as it is: `host.tty` and `host.serial` know what it means there. `ioctl` is handed in,
because pseudo terminals have none of this.
"""

import errno
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

Ioctl = Callable[[int, int, bytes], bytes]

_TIOCSBRK, _TIOCCBRK = 0x5427, 0x5428
_TIOCSERGETLSR, _TEMT = 0x5459, 0x01  # asm-generic/ioctls.h, linux/serial.h
_TIOCGICOUNT = 0x545D
_TCGETS2, _TERMIOS2 = 0x802C542A, struct.Struct("=36x2I")  # struct termios2, of which only the speeds
_INT = struct.Struct("=i")
_CMSPAR = 0o10000000000  # asm-generic/termbits.h: a driver without it drops it
_CFLAG = 2  # of tcgetattr
NOT_THERE = frozenset({errno.ENOTTY, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What drivers say to a request that they do not know."""


class DriverCounts(NamedTuple):
    """What the UART itself found wrong since it was opened (struct serial_icounter_struct)."""

    framing: int
    overrun: int
    parity: int
    breaks: int


def sticks_parity(fd: int) -> bool:
    """The parity bit is a mark or a space, as the driver has taken it."""
    return bool(termios.tcgetattr(fd)[_CFLAG] & _CMSPAR)


def driver_counts(fd: int, ioctl: Ioctl = fcntl.ioctl) -> DriverCounts | None:
    """Since the driver was loaded; None where it does not count (ptys, most USB adapters)."""
    try:
        counts = struct.unpack("20i", ioctl(fd, _TIOCGICOUNT, bytes(80)))
    except OSError:
        return None
    return DriverCounts(framing=counts[6], overrun=counts[7], parity=counts[8], breaks=counts[9])


def real_baudrate(fd: int, ioctl: Ioctl = fcntl.ioctl) -> int | None:
    """What the driver has made of the rate that was asked for; None where it does not tell."""
    try:
        _, ospeed = _TERMIOS2.unpack(ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))
    except OSError:
        return None
    return int(ospeed) or None


def unsent(fd: int, ioctl: Ioctl = fcntl.ioctl) -> float:
    """Characters that have not left the wire: those of the kernel, and a part of one while the UART still
    shifts.
    """
    (queued,) = _INT.unpack(ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    return float(queued) or (0.25 if _shifts(fd, ioctl) else 0.0)


def _shifts(fd: int, ioctl: Ioctl) -> bool | None:
    """Whether the UART is not empty; None where the driver does not tell."""
    try:
        (state,) = _INT.unpack(ioctl(fd, _TIOCSERGETLSR, bytes(4)))
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise
    return not state & _TEMT


def tells_when_empty(fd: int, ioctl: Ioctl = fcntl.ioctl) -> bool:
    """Whether `unsent` sees the last bit, too."""
    return _shifts(fd, ioctl) is not None


def set_break(fd: int, on: bool, ioctl: Ioctl = fcntl.ioctl) -> None:
    ioctl(fd, _TIOCSBRK if on else _TIOCCBRK, b"")


def set_rts(fd: int, on: bool, ioctl: Ioctl = fcntl.ioctl) -> None:
    ioctl(fd, termios.TIOCMBIS if on else termios.TIOCMBIC, _INT.pack(termios.TIOCM_RTS))
