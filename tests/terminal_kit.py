"""A pseudo terminal in which gatewayctl runs, seen from the other side."""

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ctl_kit import COMMAND, ROOT


class Terminal:
    """The other side of a pseudo terminal in which gatewayctl runs."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd, self.seen = process, fd, ""

    async def shows(self, text: str, times: int = 1) -> None:
        """Waits until `text` was written so many times."""
        while self.seen.count(text) < times:
            await asyncio.sleep(0.005)
            try:
                self.seen += os.read(self._fd, 65536).decode()
            except BlockingIOError:
                continue

    def types(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def ended(self) -> int:
        while self.process.poll() is None:
            await asyncio.sleep(0.005)
        return self.process.returncode


@contextmanager
def terminal(path: Path, *arguments: str, size: tuple[int, int], **environment: str) -> Iterator[Terminal]:
    """`size` is rows and columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    os.set_blocking(ours, False)
    plain = {key: os.environ[key] for key in os.environ if key != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, "--socket", str(path), *arguments],
        cwd=ROOT,
        env=plain | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
