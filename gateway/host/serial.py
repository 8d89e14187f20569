"""Opens and configures a tty with pyserial, and says in plain words why it cannot.

A tty is opened for ourselves alone (flock and TIOCEXCL) and closed the moment it vanishes, so that an adapter
that is plugged in again comes back under its old name.
"""

import errno
import fcntl
import grp
import logging
import os
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import serial

from ..errors import LineDown
from ..settings import PortConfig
from .threads import in_thread
from .tty import Line

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_line(config: PortConfig) -> AsyncIterator[Line]:
    """The open line, for as long as the block lasts. LineDown when it cannot be opened."""
    device = await in_thread(partial(_open, config), f"open {config.tty}", late=_close)
    line = Line(device.fileno(), config.tty)
    try:
        yield line
    finally:
        line.detach()
        _close(device)


def _open(config: PortConfig) -> serial.Serial:
    """Blocks as long as the driver does."""
    pseudo = _is_pseudo(config.tty)
    bits, parity = (8, "N") if pseudo else (int(config.format[0]), config.format[1])
    device = serial.Serial(
        port=None,
        baudrate=config.baudrate,
        bytesize=bits,
        parity=parity,
        stopbits=float(config.format[2:]),
        rtscts=config.flow == "rts-cts",
        xonxoff=config.flow == "xon-xoff",
        exclusive=True,
        inter_byte_timeout=0,  # VMIN = 1: then "nothing there" and "unplugged" read differently
        timeout=0,
    )
    if config.dtr is not None:
        device.dtr = config.dtr
    if config.rts is not None and config.flow != "rts-cts":
        device.rts = config.rts
    device.port = config.tty
    try:
        device.open()
        if not pseudo:  # it would keep that beyond our last close, if we are killed
            fcntl.ioctl(device.fileno(), termios.TIOCEXCL)
        termios.tcflush(device.fileno(), termios.TCIOFLUSH)
    except (OSError, ValueError, termios.error) as error:
        _close(device)
        raise LineDown(_why_not(config, error)) from error
    if config.low_latency:
        with suppress(OSError, ValueError):  # ptys and some adapters have no such setting
            device.set_low_latency_mode(True)
    return device


def _is_pseudo(tty: str) -> bool:
    """A UNIX98 pseudo terminal (Documentation/admin-guide/devices.txt): it has neither parity nor 7 bits.

    Asked for them nevertheless, it refuses whenever it has nothing else to change: on each second open.
    """
    with suppress(OSError):
        return 136 <= os.major(os.stat(tty).st_rdev) <= 143
    return False


def _close(device: serial.Serial) -> None:
    """Output is thrown away: close() would wait up to 30 s for a device that takes none."""
    with suppress(OSError, termios.error):
        fcntl.ioctl(device.fileno(), termios.TIOCNXCL)  # it would outlive us where others have the tty open
        termios.tcflush(device.fileno(), termios.TCIOFLUSH)
    with suppress(OSError):
        device.close()


def _why_not(config: PortConfig, error: Exception) -> str:
    """`error` is what pyserial or termios raised."""
    tty = config.tty
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    match number:
        case errno.ENOENT:
            return f"no such device {tty}"
        case errno.EACCES | errno.EPERM:
            return f"no permission on {tty}: add the user to group {_group(tty)}"
        case errno.EBUSY | errno.EAGAIN:
            return f"{tty} is in use by {_user(tty)}"
        case errno.ENXIO | errno.ENODEV | errno.EIO:
            return f"{tty} has no device behind it"
        case errno.EINVAL:
            return f"{tty} does not accept {config.line}"
        case errno.EISDIR | errno.ENOTTY:
            return f"{tty} is not a serial device"
    if isinstance(error, serial.SerialException) and "configure" in str(error):
        return f"{tty} is not a serial device"
    return f"cannot open {tty}: {error if number is None else os.strerror(number).lower()}"


def _group(tty: str) -> str:
    try:
        return grp.getgrgid(os.stat(tty).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _user(tty: str) -> str:
    """Which process has it open, as far as we may look."""
    target = os.path.realpath(tty)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.path.realpath(f"/proc/{pid}/fd/{fd}") == target:
                    with open(f"/proc/{pid}/comm") as name:
                        return f"{name.read().strip()} (pid {pid})"
    return "another program"
