"""What an open tty was made into beyond bits and parity: RS-485, direction, and the rate that came of it.

Says in plain words what a driver cannot do: with mark parity, RS-485 mode or RTS that are not there a port
would send, and nobody would understand it. What was switched on here is switched off by `undo`.
"""

import errno
import fcntl
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..errors import LineDown
from ..settings import Direction, PortConfig
from . import rs485
from .direction import Rts, Turning
from .gpio import output
from .uart import NOT_THERE, Ioctl, real_baudrate, sticks_parity, tells_when_empty


@dataclass(frozen=True, kw_only=True)
class Settled:
    """`mode` and `baudrate` are what the driver gives back.

    None where it does not tell, or has no mode on.
    """

    asked: int = 0  # of baudrate
    baudrate: int | None = None
    mode: rs485.Mode | None = None
    turning: Turning | None = None


PLAIN = Settled()


def settle(config: PortConfig, fd: int, *, pseudo: bool, ioctl: Ioctl = fcntl.ioctl) -> Settled:
    """`fd` is open and configured. LineDown, with nothing left switched on, where the driver cannot."""
    tty = config.tty
    if not pseudo and config.format[1] in "MS" and not sticks_parity(fd):
        raise LineDown(f"the driver of {tty} has no mark and space parity: format {config.format}")
    baudrate = real_baudrate(fd, ioctl)
    if config.rs485 is not None:
        _switch_on(config, fd, ioctl)
    character = config.character_bits / (baudrate or config.baudrate)
    turning = None
    if (wanted := config.turns) is not None:
        turning = _turning(tty, wanted, character, fd, ioctl)
    return Settled(asked=config.baudrate, baudrate=baudrate, mode=rs485.mode_of(fd, ioctl), turning=turning)


def undo(config: PortConfig, settled: Settled, fd: int, ioctl: Ioctl = fcntl.ioctl) -> None:
    if settled.turning is not None:
        settled.turning.pin.close()
    if config.rs485 is not None:
        with suppress(OSError):
            rs485.switch_off(fd, ioctl)


def _switch_on(config: PortConfig, fd: int, ioctl: Ioctl) -> None:
    assert config.rs485 is not None
    try:
        rs485.switch_on(fd, config.rs485, ioctl)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise LineDown(f"the driver of {config.tty} does not take this rs485") from error
        raise LineDown(_why_not(config.tty, "RS-485 mode", error)) from error
    if rs485.mode_of(fd, ioctl) is None:
        raise LineDown(f'the driver of {config.tty} left its RS-485 mode off: try direction = "rts"')


def _turning(tty: str, wanted: Direction, character: float, fd: int, ioctl: Ioctl) -> Turning:
    turning = partial(
        Turning,
        character=character,
        before=wanted.delay_before,
        after=wanted.delay_after,
        unseen=0 if _tells(fd, ioctl) else 1,
    )
    if wanted.gpio is not None:
        return turning(output(wanted.gpio, wanted.inverted, ioctl))
    rts = Rts(fd, wanted.inverted, ioctl)
    try:
        rts.set(False)
    except OSError as error:
        raise LineDown(_why_not(tty, "RTS", error)) from error
    return turning(rts)


def _tells(fd: int, ioctl: Ioctl) -> bool:
    try:
        return tells_when_empty(fd, ioctl)
    except OSError:
        return False


def _why_not(tty: str, what: str, error: OSError) -> str:
    if error.errno not in NOT_THERE:
        return f"{tty}: cannot switch {what}: {error.strerror}"
    if what == "RTS":
        return (
            f"the driver of {tty} knows no RTS: try direction = {{ gpio = ... }}, or an adapter that has it"
        )
    return f'the driver of {tty} knows no {what}: try direction = "rts"'
