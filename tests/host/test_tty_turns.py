"""A line on shared wires: whoever writes, the transmitter is on before and off after; and breaks."""

import asyncio
import errno
import os
import select
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from conftest import Pty

from gateway.errors import LineDown
from gateway.host.direction import Turning
from gateway.host.settled import PLAIN, Settled
from gateway.host.tty import Line

Until = Callable[[Callable[[], object]], Awaitable[None]]
MUCH = 200_000  # bytes: more than the kernel keeps for a pty
SOON, SLOW = 0.0001, 0.1  # seconds of one character
SBRK, CBRK = 0x5427, 0x5428


class Transmitter(list[bool]):
    """A pin. If it `listens`, `heard` has what reached the device up to each switching."""

    error = 0
    listens = False

    def __init__(self, pty: Pty) -> None:
        super().__init__()
        self._pty, self.heard = pty, list[bytes]()

    def set(self, on: bool, /) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.append(on)
        if self.listens:
            select.select([self._pty.master], [], [], 0 if on else 5)  # what was written is on its way
            self.heard.append(self._pty.heard())

    def close(self) -> None:
        pass


class Kernel:
    """An ioctl that has nothing left to send; breaks are kept."""

    def __init__(self, error: int = 0) -> None:
        self.breaks: list[int] = []
        self._error = error

    def __call__(self, fd: int, request: int, data: bytes) -> bytes:
        if request == termios.TIOCOUTQ:
            return bytes(4)
        if request in (SBRK, CBRK) and not self._error:
            self.breaks.append(request)
            return data
        raise OSError(self._error or errno.ENOTTY, "not here")


@pytest.fixture
def pin(pty: Pty) -> Transmitter:
    return Transmitter(pty)


@asynccontextmanager
async def opened(
    pty: Pty, settled: Settled = PLAIN, ioctl: Kernel | None = None
) -> AsyncIterator[tuple[Line, Kernel]]:
    fd, kernel = pty.open(), ioctl or Kernel()
    line = Line(fd, pty.path, settled, kernel)
    try:
        yield line, kernel
    finally:
        line.detach()
        os.close(fd)


def turning(pin: Transmitter, *, before: float = 0.0, character: float = SOON) -> Settled:
    return Settled(turning=Turning(pin, character, before, 0.0, 0))


@pytest.mark.parametrize("before", [0.0, 0.01])
@pytest.mark.parametrize("how", ["offer", "write"])
async def test_it_is_on_before_the_first_byte_and_off_after_the_last(
    pty: Pty, pin: Transmitter, until: Until, how: str, before: float
) -> None:
    pin.listens = True
    async with opened(pty, turning(pin, before=before)) as (line, _):
        if how == "offer":
            assert line.offer(b"hello")
        else:
            await line.write(b"hello")
        await until(lambda: pin == [True, False])
        assert pin.heard == [b"", b"hello"]


async def test_each_writer_has_its_turn_and_nothing_goes_out_between(
    pty: Pty, pin: Transmitter, until: Until
) -> None:
    pin.listens = True
    async with opened(pty, turning(pin)) as (line, _):
        for _ in range(3):
            await line.write(b"hello")
            await until(lambda: not pin[-1])
        assert pin == [True, False] * 3
        assert pin.heard == [b"", b"hello"] * 3


async def test_while_the_first_byte_waits_others_are_declined_and_writers_wait(
    pty: Pty, pin: Transmitter, until: Until
) -> None:
    async with opened(pty, turning(pin, before=0.02, character=SLOW)) as (line, _):
        assert line.offer(b"a")
        assert not line.offer(b"b")
        assert line.waiting == 1
        await line.write(b"c")
        assert await pty.hears(2) == b"ac"
        await until(lambda: pin == [True, False])


async def test_what_is_discarded_before_its_first_byte_is_never_sent(
    pty: Pty, pin: Transmitter, until: Until
) -> None:
    async with opened(pty, turning(pin, before=0.01)) as (line, _):
        assert line.offer(b"old")
        line.discard_output()
        await until(lambda: pin == [True, False])
        await line.write(b"new")
        assert await pty.hears(3) == b"new"


async def test_a_long_message_keeps_it_on_until_the_kernel_has_all(
    pty: Pty, pin: Transmitter, until: Until
) -> None:
    """A device that reads slowly: the end that was reckoned comes long before the last byte is taken."""
    async with opened(pty, turning(pin, character=1e-9)) as (line, _):
        writing = asyncio.ensure_future(line.write(bytes(MUCH)))
        await asyncio.sleep(0.02)
        assert pin == [True]
        assert not writing.done()
        assert await pty.hears(MUCH) == bytes(MUCH)
        await writing
        await until(lambda: pin == [True, False])


async def test_a_line_that_is_closed_in_the_middle_lets_go(pty: Pty, pin: Transmitter) -> None:
    async with opened(pty, turning(pin, before=10)) as (line, _):
        assert line.offer(b"never")
    await asyncio.sleep(0)
    assert pin == [True, False]
    assert pty.heard() == b""


@pytest.mark.parametrize("how", ["offer", "write", "break"])
async def test_a_pin_that_is_gone_is_a_line_that_is_down(pty: Pty, pin: Transmitter, how: str) -> None:
    pin.error = errno.ENODEV
    async with opened(pty, turning(pin)) as (line, _):
        with pytest.raises(LineDown, match=f"^{pty.path}: no such device$"):  # noqa: PT012
            match how:
                case "offer":
                    line.offer(b"x")
                case "write":
                    await line.write(b"x")
                case "break":
                    line.set_break(True)
        with pytest.raises(LineDown):
            await line.gone()
        assert pty.heard() == b""


async def test_a_pin_that_goes_while_it_is_on_is_a_line_that_is_down(pty: Pty, pin: Transmitter) -> None:
    async with opened(pty, turning(pin)) as (line, _):
        assert line.offer(b"x")
        pin.error = errno.ENODEV
        with pytest.raises(LineDown, match="no such device"):
            await asyncio.wait_for(line.gone(), 30)


async def test_another_baud_rate_is_reckoned_with(pty: Pty, pin: Transmitter, until: Until) -> None:
    async with opened(pty, turning(pin, character=100)) as (line, _):
        line.respaced(SOON)
        assert line.offer(b"hello")
        await until(lambda: pin == [True, False])


# Breaks


async def test_a_break_lasts_until_it_is_ended(pty: Pty) -> None:
    async with opened(pty) as (line, kernel):
        assert line.set_break(True)
        assert line.set_break(False)
        assert kernel.breaks == [SBRK, CBRK]


async def test_a_break_keeps_the_transmitter_on(pty: Pty, pin: Transmitter, until: Until) -> None:
    async with opened(pty, turning(pin)) as (line, _):
        assert line.set_break(True)
        await asyncio.sleep(0.02)
        assert pin == [True]
        assert line.set_break(False)
        await until(lambda: pin == [True, False])


async def test_a_break_ends_with_the_line(pty: Pty) -> None:
    async with opened(pty) as (line, kernel):
        assert line.set_break(True)
    assert kernel.breaks == [SBRK, CBRK]


async def test_a_driver_without_break_is_no_reason_to_lose_the_line(
    pty: Pty, pin: Transmitter, until: Until
) -> None:
    async with opened(pty, turning(pin), Kernel(errno.ENOTTY)) as (line, _):
        assert not line.set_break(True)
        await until(lambda: pin == [True, False])
        assert line.offer(b"x")


async def test_a_break_on_a_device_that_is_gone_is_a_line_that_is_down(pty: Pty) -> None:
    async with opened(pty, ioctl=Kernel(errno.EIO)) as (line, _):
        with pytest.raises(LineDown):
            line.set_break(True)


async def test_a_pseudo_terminal_takes_a_break(pty: Pty) -> None:
    """The real ioctl."""
    fd = pty.open()
    line = Line(fd, pty.path)
    assert line.set_break(True)
    assert line.set_break(False)
    line.detach()
    os.close(fd)
