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
from typing import NamedTuple

import serial

from ..errors import LineDown
from ..settings import PortConfig
from .adapters import Whereabouts
from .controls import Controls, is_pseudo, settings_of
from .holders import holders
from .settled import Settled, settle, undo
from .threads import in_thread
from .tty import Line

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_line(config: PortConfig, whereabouts: Whereabouts | None = None) -> AsyncIterator[Line]:
    """The open line, for as long as the block lasts. LineDown when it cannot be opened.

    `whereabouts` are the port's own: so it can say where an adapter is that was plugged in elsewhere.
    """
    find = partial(_found_and_opened, config, whereabouts or Whereabouts())
    tty = await in_thread(find, f"open {config.tty}", late=_Tty.close)
    line = Line(tty.device.fileno(), config.tty, tty.settled)
    line.controls = Controls(tty.device)
    try:
        yield line
    finally:
        line.detach()
        tty.close()


class _Tty(NamedTuple):
    """Open, and as `config` has it."""

    config: PortConfig
    device: serial.Serial
    settled: Settled

    def close(self) -> None:
        undo(self.config, self.settled, self.device.fileno())
        _close(self.device)


def _found_and_opened(config: PortConfig, whereabouts: Whereabouts) -> _Tty:
    """Blocks as long as the driver does."""
    found = config.model_copy(update={"tty": whereabouts.path(config.tty)})
    device = _open(found, whereabouts)
    whereabouts.opened(config.tty)
    try:
        return _Tty(found, device, settle(found, device.fileno(), pseudo=is_pseudo(found.tty)))
    except LineDown:
        _close(device)
        raise


def _open(config: PortConfig, whereabouts: Whereabouts) -> serial.Serial:
    """Blocks as long as the driver does."""
    device = serial.Serial(
        port=None,
        **settings_of(config, config.tty),
        exclusive=True,
        inter_byte_timeout=0,  # VMIN = 1: then "nothing there" and "unplugged" read differently
        timeout=0,
    )
    if config.dtr is not None:
        device.dtr = config.dtr
    if config.rts is not None and config.flow != "rts-cts":
        device.rts = config.rts
    if config.turns is not None and config.turns.rts:
        device.rts = config.turns.inverted  # nobody sends yet
    device.port = config.tty
    try:
        device.open()
        if not is_pseudo(config.tty):  # it would keep that beyond our last close, if we are killed
            fcntl.ioctl(device.fileno(), termios.TIOCEXCL)
        termios.tcflush(device.fileno(), termios.TCIOFLUSH)
    except (OSError, ValueError, termios.error) as error:
        _close(device)
        raise LineDown(_why_not(config, error, whereabouts)) from error
    if config.low_latency:
        with suppress(OSError, ValueError):  # ptys and some adapters have no such setting
            device.set_low_latency_mode(True)
    return device


def _close(device: serial.Serial) -> None:
    """Output is thrown away: close() would wait up to 30 s for a device that takes none."""
    with suppress(OSError, termios.error):
        fcntl.ioctl(device.fileno(), termios.TIOCNXCL)  # it would outlive us where others have the tty open
        termios.tcflush(device.fileno(), termios.TCIOFLUSH)
    with suppress(OSError):
        device.close()


def _why_not(config: PortConfig, error: Exception, whereabouts: Whereabouts) -> str:
    """`error` is what pyserial or termios raised."""
    tty = config.tty
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    match number:
        case errno.ENOENT:
            return f"no such device {tty}{whereabouts.moved(tty)}"
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
    """Which process has it, as far as we may look."""
    path = os.path.realpath(tty)
    others = (one for one in holders({path}).get(path, ()) if one.pid != os.getpid())
    return str(next(others, "another program"))
