"""A driver's RS-485 mode and what else an open tty is made into; the driver is made here."""

import errno
import os
import struct
import termios
from collections.abc import Callable, Iterator

import pytest
from conftest import Pty
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LineDown
from gateway.host import uart
from gateway.host.rs485 import Flags, Mode, switch_off, switch_on
from gateway.host.settled import settle, undo
from gateway.settings import PortConfig, Rs485

GET, SET = 0x542E, 0x542F
TERMINATED = 1 << 5  # SER_RS485_TERMINATE_BUS: none of ours
MS = st.integers(0, 100)
WORDS = st.integers(0, 2**32 - 1)


class Driver:
    """As much of a kernel's tty as is asked here; `refuses` by request."""

    def __init__(self, **refuses: int) -> None:
        self.refuses, self.known = refuses, Flags.ENABLED | Flags.RTS_ON_SEND | Flags.RTS_AFTER_SEND
        self.mode = Mode(0, 0, 0)
        self.rts: list[bool] = []
        self.queued, self.lsr, self.rate = 0, 1, 9600
        self.broken: list[bool] = []

    def __call__(self, fd: int, request: int, data: bytes) -> bytes:
        match request:
            case 0x542E:
                self._may("rs485")
                return self.mode.packed()
            case 0x542F:
                self._may("set_rs485")
                mode = Mode.unpacked(data)
                self.mode = mode._replace(flags=mode.flags & (self.known | TERMINATED))
            case termios.TIOCMBIS | termios.TIOCMBIC:
                self._may("rts")
                assert struct.unpack("=i", data) == (termios.TIOCM_RTS,)
                self.rts.append(request == termios.TIOCMBIS)
            case termios.TIOCOUTQ:
                return struct.pack("=i", self.queued)
            case 0x5459:
                self._may("lsr")
                return struct.pack("=i", self.lsr)
            case 0x802C542A:
                self._may("rate")
                return struct.pack("=36x2I", self.rate, self.rate)
            case 0x545D:
                self._may("counts")
                return struct.pack("=20i", *range(20))
            case 0x5427 | 0x5428:
                self.broken.append(request == 0x5427)
            case _:
                raise AssertionError(hex(request))
        return data

    def _may(self, what: str) -> None:
        if error := self.refuses.get(what):
            raise OSError(error, os.strerror(error))


@pytest.fixture
def tty(pty: Pty) -> Iterator[int]:
    fd = pty.open()
    yield fd
    os.close(fd)


def config(**keys: object) -> PortConfig:
    line = {"tty": "/dev/ttyUSB0", "mode": "raw", "baudrate": 9600, "format": "8N1"}
    return PortConfig.model_validate(line | keys)


def why_not(tty: int, driver: Driver, **keys: object) -> str:
    with pytest.raises(LineDown) as caught:
        settle(config(**keys), tty, pseudo=False, ioctl=driver)
    return str(caught.value)


# The record


@given(flags=WORDS, before=WORDS, after=WORDS)
def test_a_mode_comes_back_as_it_was_packed(flags: int, before: int, after: int) -> None:
    mode = Mode(flags, before, after)
    record = mode.packed()
    assert len(record) == 32
    assert struct.unpack_from("=3I", record) == (flags, before, after)
    assert Mode.unpacked(record) == mode


@given(on_send=st.booleans(), rx=st.booleans(), before=MS, after=MS, old=WORDS)
def test_what_is_asked_for_is_in_the_flags_and_what_is_not_ours_is_left(
    on_send: bool, rx: bool, before: int, after: int, old: int
) -> None:
    wanted = Rs485.model_validate(
        {
            "rts_on_send": on_send,
            "rx_during_tx": rx,
            "delay_before": f"{before}ms",
            "delay_after": f"{after}ms",
        }
    )
    mode = Mode(old, 7, 8).changed_to(wanted)
    ours = 0b10111
    assert mode.flags & ~ours == old & ~ours
    assert mode.flags & ours == 1 | (2 if on_send else 4) | (16 if rx else 0)
    assert (mode.delay_before, mode.delay_after) == (before, after)


# The driver's mode


def test_it_is_switched_on_read_back_and_switched_off(tty: int) -> None:
    driver = Driver()
    driver.mode = Mode(TERMINATED, 0, 0)
    wanted = config(rs485={"rx_during_tx": True, "delay_after": "2ms"})
    settled = settle(wanted, tty, pseudo=False, ioctl=driver)
    assert settled.mode == (TERMINATED | Flags.ENABLED | Flags.RTS_ON_SEND, 0, 2)
    undo(wanted, settled, tty, driver)
    assert driver.mode.flags == TERMINATED | Flags.RTS_ON_SEND


def test_a_mode_that_somebody_else_switched_on_is_seen_and_left_alone(tty: int) -> None:
    driver = Driver()
    switch_on(tty, Rs485(), driver)
    settled = settle(config(), tty, pseudo=False, ioctl=driver)
    assert settled.mode is not None
    undo(config(), settled, tty, driver)
    assert driver.mode.has(Flags.ENABLED)
    switch_off(tty, driver)
    assert settle(config(), tty, pseudo=False, ioctl=driver).mode is None


@pytest.mark.parametrize("error", [errno.ENOTTY, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_driver_without_that_mode_is_told_what_to_try(tty: int, error: int) -> None:
    words = why_not(tty, Driver(rs485=error), rs485={})
    assert words == 'the driver of /dev/ttyUSB0 knows no RS-485 mode: try direction = "rts"'


def test_a_driver_that_refuses_or_ignores_it_is_told_so(tty: int) -> None:
    words = why_not(tty, Driver(set_rs485=errno.EINVAL), rs485={})
    assert words == "the driver of /dev/ttyUSB0 does not take this rs485"
    words = why_not(tty, Driver(set_rs485=errno.EIO), rs485={})
    assert words == "/dev/ttyUSB0: cannot switch RS-485 mode: Input/output error"
    driver = Driver()
    driver.known = Flags(0)
    assert why_not(tty, driver, rs485={}).startswith("the driver of /dev/ttyUSB0 left its RS-485 mode off")


# Direction


@pytest.mark.parametrize("inverted", [False, True])
def test_rts_is_off_until_we_send_or_the_other_way_round(tty: int, inverted: bool) -> None:
    driver = Driver()
    direction = {"rts": True, "inverted": inverted, "delay_before": "0.5ms", "delay_after": "1ms"}
    turning = settle(config(direction=direction), tty, pseudo=False, ioctl=driver).turning
    assert turning is not None
    assert turning[1:] == (10 / 9600, 0.0005, 0.001, 0)
    turning.pin.set(True)
    turning.pin.set(False)
    assert driver.rts == [inverted, not inverted, inverted]


def test_a_driver_that_does_not_tell_its_last_bit_gets_a_character_more(tty: int) -> None:
    driver = Driver(lsr=errno.ENOTTY)
    turning = settle(config(direction="rts"), tty, pseudo=False, ioctl=driver).turning
    assert turning is not None
    assert turning.unseen == 1


def test_a_driver_without_rts_is_told_what_to_try(tty: int) -> None:
    words = why_not(tty, Driver(rts=errno.ENOTTY), direction="rts")
    assert words.startswith("the driver of /dev/ttyUSB0 knows no RTS: try direction = { gpio = ... }")
    words = why_not(tty, Driver(rts=errno.EIO), direction="rts")
    assert words == "/dev/ttyUSB0: cannot switch RTS: Input/output error"


def test_a_gpio_line_is_given_back(tty: int, descriptors: Callable[[], int]) -> None:
    assert why_not(tty, Driver(), direction={"gpio": "gpiochip77:4"}) == "no such GPIO chip /dev/gpiochip77"


@pytest.mark.parametrize(("line", "bits"), [("8N1", 10), ("8E1", 11), ("7E1", 10), ("8M2", 12), ("5N1.5", 8)])
def test_a_character_takes_its_bits_at_the_real_rate(tty: int, line: str, bits: int) -> None:
    driver = Driver()
    driver.rate = 9000
    pseudo = line == "8M2"  # its driver has no mark parity, but is not asked either
    wanted = config(direction="rts", format=line)
    turning = settle(wanted, tty, pseudo=pseudo, ioctl=driver).turning
    assert turning is not None
    assert turning.character == pytest.approx(bits / 9000)


# Format and rate


@pytest.mark.parametrize("line", ["8M1", "8S1"])
def test_a_driver_without_mark_and_space_parity_is_told_so(tty: int, line: str) -> None:
    words = why_not(tty, Driver(), format=line)
    assert words == f"the driver of /dev/ttyUSB0 has no mark and space parity: format {line}"


def test_the_rate_is_the_one_that_the_driver_gives_back(tty: int) -> None:
    driver = Driver()
    driver.rate = 9615
    settled = settle(config(), tty, pseudo=False, ioctl=driver)
    assert (settled.asked, settled.baudrate) == (9600, 9615)
    assert settle(config(), tty, pseudo=False, ioctl=Driver(rate=errno.ENOTTY)).baudrate is None


# What else a driver tells


def test_the_counters_are_the_right_ones_of_the_record(tty: int) -> None:
    counts = uart.driver_counts(tty, Driver())
    assert counts == uart.DriverCounts(framing=6, overrun=7, parity=8, breaks=9)
    assert uart.driver_counts(tty, Driver(counts=errno.ENOTTY)) is None


@pytest.mark.parametrize(("queued", "lsr", "left"), [(0, 1, 0.0), (0, 0, 0.25), (7, 0, 7.0), (7, 1, 7.0)])
def test_what_has_not_left_the_wire(tty: int, queued: int, lsr: int, left: float) -> None:
    driver = Driver()
    driver.queued, driver.lsr = queued, lsr
    assert uart.unsent(tty, driver) == left


def test_a_uart_that_does_not_tell_is_empty_with_its_queue_and_one_that_is_gone_is_an_error(tty: int) -> None:
    assert uart.unsent(tty, Driver(lsr=errno.ENOTTY)) == 0.0
    assert not uart.tells_when_empty(tty, Driver(lsr=errno.EINVAL))
    with pytest.raises(OSError, match="Input/output error"):
        uart.unsent(tty, Driver(lsr=errno.EIO))


def test_a_pseudo_terminal_has_none_of_it_but_a_rate_and_a_queue(tty: int) -> None:
    """The real ioctls, with the real kernel's refusals."""
    assert uart.driver_counts(tty) is None
    assert not uart.tells_when_empty(tty)
    assert uart.unsent(tty) == 0.0
    assert uart.real_baudrate(tty) == 38400
    with pytest.raises(LineDown, match="knows no RS-485 mode"):
        settle(config(rs485={}), tty, pseudo=True)
    with pytest.raises(LineDown, match="knows no RTS"):
        settle(config(direction="rts"), tty, pseudo=True)
