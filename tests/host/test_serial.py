"""Opening a tty: what it is set to, why it cannot be had, and that nothing stays behind."""

import asyncio
import fcntl
import grp
import os
import subprocess
import sys
import termios
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Pty

from gateway.errors import LineDown
from gateway.host.serial import open_line
from gateway.settings import PortConfig

Until = Callable[[Callable[[], object]], Awaitable[None]]
CONFIG = PortConfig.model_validate({"tty": "/dev/null", "mode": "raw", "baudrate": 9600, "format": "8N1"})
NOBODY = 65534
TIOCGEXCL = 0x80045440  # include/uapi/asm-generic/ioctls.h
HOLDS = """
import fcntl, sys
tty = open(sys.argv[1], "rb", 0)
fcntl.flock(tty, fcntl.LOCK_EX)
print(flush=True)
input()
"""
IFLAG, OFLAG, CFLAG, LFLAG, _, OSPEED, CC = range(7)


def line_at(path: str, **settings: object) -> PortConfig:
    return CONFIG.model_copy(update={"tty": path, **settings})


async def why_not(config: PortConfig) -> str:
    with pytest.raises(LineDown) as caught:
        async with open_line(config):
            pass
    return str(caught.value)


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may everything, so root becomes somebody else for a moment."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


# Open


async def test_an_open_line_carries_bytes_and_is_raw(pty: Pty, until: Until) -> None:
    async with open_line(line_at(pty.path)) as line:
        got = bytearray()
        line.sink = got.extend
        pty.say(b"\x03\x04\r\n\x11\x13\x7f\xff\x00")
        await until(lambda: got == b"\x03\x04\r\n\x11\x13\x7f\xff\x00")
        await line.write(b"\r\n\x11\xff")
        assert await pty.hears(4) == b"\r\n\x11\xff"
        settings = termios.tcgetattr(pty.master)

    assert settings[OSPEED] == termios.B9600
    assert not settings[LFLAG] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert not settings[OFLAG] & termios.OPOST
    assert settings[CC][termios.VMIN] in (1, b"\x01")


@pytest.mark.parametrize(
    ("flow", "flags"), [("none", 0), ("xon-xoff", termios.IXON | termios.IXOFF), ("rts-cts", termios.CRTSCTS)]
)
async def test_flow_control_is_what_the_config_says(pty: Pty, flow: str, flags: int) -> None:
    async with open_line(line_at(pty.path, flow=flow)):
        settings = termios.tcgetattr(pty.master)

    assert settings[IFLAG] & (termios.IXON | termios.IXOFF) | settings[CFLAG] & termios.CRTSCTS == flags


async def test_what_came_before_it_was_opened_is_not_for_us(pty: Pty, until: Until) -> None:
    pty.say(b"stale")
    async with open_line(line_at(pty.path)) as line:
        got = bytearray()
        line.sink = got.extend
        pty.say(b"fresh")
        await until(lambda: got)

    assert got == b"fresh"


@pytest.mark.parametrize("line_format", ["8N1", "7E1", "8O2", "5N1"])
@pytest.mark.parametrize("baudrate", [1200, 115200, 12345])
async def test_any_line_opens_again_and_again(pty: Pty, line_format: str, baudrate: int) -> None:
    config = line_at(pty.path, format=line_format, baudrate=baudrate)
    for _ in range(3):
        async with open_line(config) as line:
            await line.write(b"x")
            assert await pty.hears(1) == b"x"


async def test_an_ordinary_user_may_open_it_again(pty: Pty) -> None:
    """The exclusive use ends with the line: only root gets past one that was left behind."""
    os.chmod(pty.path, 0o666)
    with an_ordinary_user():
        for _ in range(2):
            async with open_line(line_at(pty.path)):
                pass


async def test_control_lines_that_a_tty_does_not_have_are_no_reason_not_to_open_it(pty: Pty) -> None:
    async with open_line(line_at(pty.path, dtr=False, rts=True, low_latency=True)) as line:
        assert line.offer(b"x")


async def test_closing_does_not_wait_for_a_device_that_takes_nothing(pty: Pty) -> None:
    async with asyncio.timeout(20), open_line(line_at(pty.path)) as line:
        assert line.offer(bytes(200_000))


async def test_after_the_block_the_line_is_closed_for_whoever_still_has_it(pty: Pty) -> None:
    async with open_line(line_at(pty.path)) as line:
        waiting = asyncio.ensure_future(line.gone())
        await asyncio.sleep(0)

    with pytest.raises(LineDown, match=f"^{pty.path}: closed$"):
        await waiting


# Why not


async def test_no_such_device() -> None:
    assert await why_not(line_at("/dev/serial/by-id/nothing")) == "no such device /dev/serial/by-id/nothing"


async def test_no_permission_names_the_group_that_has_it(pty: Pty) -> None:
    os.chmod(pty.path, 0)
    group = grp.getgrgid(os.stat(pty.path).st_gid).gr_name
    with an_ordinary_user():
        words = await why_not(line_at(pty.path))

    assert words == f"no permission on {pty.path}: add the user to group {group}"


async def test_a_line_is_ours_alone(pty: Pty) -> None:
    async with open_line(line_at(pty.path)):
        assert await why_not(line_at(pty.path)) == f"{pty.path} is in use by another program"


async def test_who_else_has_it_open_is_named(pty: Pty) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, pty.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        name = Path(f"/proc/{other.pid}/comm").read_text().strip()
        words = await why_not(line_at(pty.path))
        other.communicate(b"\n")

    assert words == f"{pty.path} is in use by {name} (pid {other.pid})"


async def test_a_pty_is_not_made_exclusive_because_it_would_stay_so_after_a_kill(pty: Pty) -> None:
    async with open_line(line_at(pty.path)):
        other = pty.open()
        exclusive = fcntl.ioctl(other, TIOCGEXCL, bytes(4))
        os.close(other)

    assert exclusive == bytes(4)


async def test_what_is_no_tty_is_told_so(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()

    for path in ("/dev/null", str(plain), str(tmp_path)):
        assert await why_not(line_at(path)) == f"{path} is not a serial device"
    assert await why_not(line_at(f"{plain}/x")) == f"cannot open {plain}/x: not a directory"


async def test_a_tty_without_its_device_is_told_so() -> None:
    """The path of a pty whose far end has gone while somebody still has it open."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    os.close(master)
    words = await why_not(line_at(path))
    os.close(slave)

    assert words in (f"{path} has no device behind it", f"no such device {path}")


# The end


async def test_a_line_that_vanishes_ends_the_block_and_can_be_opened_when_it_is_back(
    pty: Pty, tmp_path: Path
) -> None:
    link = tmp_path / "ttyUSB0"
    link.symlink_to(pty.path)

    async def session() -> None:
        async with open_line(line_at(str(link))) as line:
            pty.hang_up()
            await line.gone()

    with pytest.raises(LineDown):
        await asyncio.wait_for(session(), 30)
    master, slave = os.openpty()
    link.unlink()
    link.symlink_to(os.ttyname(slave))
    async with open_line(line_at(str(link))) as line:
        await line.write(b"back")
        assert os.read(master, 10) == b"back"
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("how", ["open", "cancelled", "vanished", "no tty", "in use", "nothing"])
async def test_no_descriptor_stays_open(
    pty: Pty, descriptors: Callable[[], int], how: str, until: Until
) -> None:
    before = descriptors()
    for _ in range(3):
        match how:
            case "open":
                async with open_line(line_at(pty.path)):
                    assert descriptors() > before
            case "cancelled":
                opening = asyncio.ensure_future(why_not(line_at(pty.path)))
                await asyncio.sleep(0)
                opening.cancel()
                await until(lambda: "open " + pty.path not in {one.name for one in threading.enumerate()})
            case "vanished":
                line = os.openpty()
                async with open_line(line_at(os.ttyname(line[1]))):
                    for fd in line:
                        os.close(fd)
            case "no tty":
                await why_not(line_at("/dev/null"))
            case "in use":
                with open(pty.path, "rb", 0) as other:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    await why_not(line_at(pty.path))
            case "nothing":
                await why_not(line_at("/dev/nothing"))
    async with asyncio.timeout(30):
        while descriptors() > before:  # fewer: a thread of a test before this one had some left
            await asyncio.sleep(0.001)
