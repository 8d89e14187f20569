"""An output line of a GPIO chip, through the kernel's character device (include/uapi/linux/gpio.h, v2 ABI).

The line is ours while it is open, begins inactive, and goes back to whatever the chip makes of it. Linux 5.10
or later. It must never be asked for twice: the second one is told EBUSY.
"""

import errno
import fcntl
import os
import struct

from ..errors import LineDown
from .uart import Ioctl

_GET_LINE, _SET_VALUES = 0xC250B407, 0xC010B40F  # GPIO_V2_GET_LINE_IOCTL, GPIO_V2_LINE_SET_VALUES_IOCTL
_ACTIVE_LOW, _OUTPUT = 1 << 1, 1 << 3
_REQUEST = struct.Struct("=I252x32sQ264xI24xi")
"""struct gpio_v2_line_request: 64 offsets, consumer, config (flags, attributes), number of lines, ..., fd."""
_VALUES = struct.Struct("=2Q")  # struct gpio_v2_line_values: bits, mask
_CONSUMER = b"gateway"  # as gpioinfo shows it


def request(offset: int, inverted: bool) -> bytes:
    """For one output line."""
    return _REQUEST.pack(offset, _CONSUMER, _OUTPUT | (_ACTIVE_LOW if inverted else 0), 1, 0)


def granted(answer: bytes) -> int:
    """The descriptor of the line, from the answer to a request."""
    return int(_REQUEST.unpack(answer)[-1])


def values(on: bool) -> bytes:
    return _VALUES.pack(on, 1)


class Output:
    """One line of a chip, such as 17 of "gpiochip0". `inverted`: low is active."""

    def __init__(self, fd: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._fd, self._ioctl = fd, ioctl

    def set(self, on: bool) -> None:
        """OSError when the chip is gone."""
        self._ioctl(self._fd, _SET_VALUES, values(on))

    def close(self) -> None:
        os.close(self._fd)


def output(name: str, inverted: bool, ioctl: Ioctl = fcntl.ioctl, folder: str = "/dev") -> Output:
    """`name` is "gpiochip0:17". LineDown when it cannot be had."""
    chip, _, offset = name.partition(":")
    try:
        fd = os.open(f"{folder}/{chip}", os.O_RDWR | os.O_CLOEXEC)
        try:
            return Output(granted(ioctl(fd, _GET_LINE, request(int(offset), inverted))), ioctl)
        finally:
            os.close(fd)
    except OSError as error:
        raise LineDown(_why_not(f"{folder}/{chip}", offset, error)) from error


def _why_not(chip: str, offset: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return f"no such GPIO chip {chip}"
        case errno.EACCES | errno.EPERM:
            return f"no permission on {chip}: add the user to its group"
        case errno.EBUSY:
            return f"line {offset} of {chip} is in use by another program or driver"
        case errno.EINVAL:
            return f"{chip} has no line {offset} that can be an output"
        case errno.ENOTTY:
            return f"{chip} is no GPIO chip, or this Linux is older than 5.10"
    return f"cannot use line {offset} of {chip}: {error.strerror}"
