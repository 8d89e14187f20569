"""What all tests share.

The marker `needs`, a pseudo terminal with a device at its far end, a free TCP port.
"""

import asyncio
import os
import shutil
import termios
import time
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

from gateway.demo import gatewayd

settings.register_profile("gateway", deadline=None)  # a busy machine is not a failure
settings.load_profile("gateway")
os.environ["PATH"] += (
    ":/usr/sbin:/usr/local/sbin"  # mosquitto and ser2net live there; not everybody looks there
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """An absent tool is a skip on a developer's machine, and a failure where all of them are promised."""
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool) is None:
                give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                give_up(f"{tool} is not installed")


@dataclass
class Pty:
    """A serial line in raw mode.

    `path` is our end, as a config names it; the methods are the device's end.
    """

    path: str
    master: int
    _slave: int = field(repr=False)  # keeps our end's settings, and the line up, while nobody has it open

    def open(self) -> int:
        """Our end once more, non-blocking; the caller closes it."""
        return os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def say(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    def heard(self, size: int = 65536) -> bytes:
        """What has come by now, possibly nothing."""
        with suppress(BlockingIOError):
            return os.read(self.master, size)
        return b""

    async def hears(self, count: int) -> bytes:
        """The next `count` bytes."""
        got = b""
        while len(got) < count:
            await readable(self.master)
            got += os.read(self.master, count - len(got))
        return got

    def hang_up(self) -> None:
        """The device is unplugged: both ends of the line are gone, whoever has them open."""
        for fd in (self.master, self._slave):
            os.close(fd)
        self.master = self._slave = -1


async def readable(fd: int) -> None:
    """Until there is something to read."""
    loop = asyncio.get_running_loop()
    come = asyncio.Event()
    loop.add_reader(fd, come.set)
    try:
        await come.wait()
    finally:
        loop.remove_reader(fd)


@pytest.fixture
def pty() -> Iterator[Pty]:
    master, slave = os.openpty()
    tty.setraw(slave, termios.TCSANOW)
    os.set_blocking(master, False)
    line = Pty(os.ttyname(slave), master, slave)
    yield line
    if line.master >= 0:
        line.hang_up()


@pytest.fixture
def free_port() -> int:
    return gatewayd.free_port()


Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """`await until(lambda: listener.peers)`: waits for what no event tells of, at most 30 real seconds."""

    async def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            await asyncio.sleep(0.001)

    return wait


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """How many are open in this process."""
    return lambda: len(os.listdir("/proc/self/fd"))
