"""One connection to the control socket: requests in, answers out, one after the other, each within its
limits.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Never

from ..errors import GatewayError


class Limits(NamedTuple):
    """What a client may cost us. Seconds and bytes."""

    clients: int = 16
    request: int = 64 * 1024
    idle: float = 30.0  # from one whole request to the next
    unread: float = 10.0  # until an answer was taken
    farewell: float = 1.0  # for what was on its way when we hung up
    waiting: int = 64 * 1024  # of a trace that is not read as fast as it grows


class BadRequest(GatewayError):
    """Not our language: said once, then the client is sent away."""


class Gone(GatewayError):
    """It hung up, or one of the limits ran out."""


def encoded(answer: object) -> bytes:
    """As a line."""
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def turn_away(line: socket.socket, most: int) -> None:
    with line, suppress(OSError):
        line.send(encoded({"ok": False, "error": f"{most} clients are connected already"}))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # TimeoutError is one
        raise Gone(str(error)) from None


class Client:
    """Made of a connected socket, which it does not close."""

    def __init__(self, line: socket.socket, limits: Limits) -> None:
        self.limits = limits
        self._line, self._held = line, b""
        self._loop = asyncio.get_running_loop()

    async def serve(self, answer: "Callable[[Client, bytes], Awaitable[None]]") -> None:
        """Until it leaves, breaks the rules, or is idle for too long. `answer` is given each request."""
        with suppress(Gone):
            try:
                while request := await self._request():
                    await answer(self, request)
                    await asyncio.sleep(0)  # a flood of requests must not hold the loop
            except BadRequest as error:
                await self.say({"ok": False, "error": str(error)})
        with suppress(OSError):
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Hears the client out for a moment: closing on unread bytes would take our last line from it."""
        self._line.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(self.limits.farewell):
            while True:
                if not await self._loop.sock_recv(self._line, 65536):
                    return
                await asyncio.sleep(0)  # sock_recv does not yield while there is more

    async def _request(self) -> bytes:
        """The next line, b"" at the end. What is unfinished at the end is a line too."""
        most = self.limits.request
        with _translated():
            async with asyncio.timeout(self.limits.idle):
                while b"\n" not in self._held:
                    if len(self._held) > most:
                        raise BadRequest(f"a request is one line of at most {most} bytes")
                    more = await self._loop.sock_recv(self._line, most + 1 - len(self._held))
                    if not more:
                        rest, self._held = self._held, b""
                        return rest
                    self._held += more
        line, end, self._held = self._held.partition(b"\n")
        return line + end

    async def say(self, answer: object) -> None:
        """One line, to a client that takes it in time."""
        await self.send(encoded(answer))

    async def send(self, lines: bytes) -> None:
        with _translated():
            async with asyncio.timeout(self.limits.unread):
                await self._loop.sock_sendall(self._line, lines)

    async def left(self) -> Never:
        """What ends a stream: the client hangs up, or sends something."""
        with _translated():
            await self._loop.sock_recv(self._line, 1)
        raise Gone("the stream was ended")
