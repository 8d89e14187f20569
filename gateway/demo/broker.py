"""An MQTT broker inside this process (amqtt, MQTT 3.1.1), and the only way to it: a cable that can be cut.

What goes away in the demo is the way, not the broker: to the gateway that is the same (connections reset,
nobody listens), and the subscriber, which sits on the broker's side, can count what arrives afterwards.
"""

import asyncio
import logging
from types import TracebackType
from typing import Any, Self

from ..scope import Scope
from .gatewayd import free_port


class Broker:
    """The broker itself; `port` is its own door, for the subscriber and the cable."""

    def __init__(self) -> None:
        from amqtt.broker import Broker as Amqtt  # type: ignore[import-untyped]

        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        self.port = free_port()
        anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listener = {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}
        self._amqtt: Any = Amqtt({"listeners": {"default": listener}, "plugins": anonymous})

    async def __aenter__(self) -> Self:
        await self._amqtt.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._amqtt.shutdown()


class Cable:
    """Carries bytes from a door of its own to `port`. `cut` resets what runs and closes the door."""

    def __init__(self, port: int) -> None:
        self._far = port
        self.port = 0  # ours: chosen when first joined, then kept
        self.whole = False
        self._door: asyncio.Server | None = None
        self._runs: set[asyncio.Task[object]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.cut()

    async def join(self) -> None:
        self._door = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._door.sockets[0].getsockname()[1]
        self.whole = True

    async def cut(self) -> None:
        if self._door:
            self._door.close()
            self._door = None
        self.whole = False
        for writer in self._ends:
            writer.transport.abort()
        await asyncio.gather(*self._runs)

    async def _carry(self, near: asyncio.StreamReader, near_back: asyncio.StreamWriter) -> None:
        run = asyncio.current_task()
        assert run
        self._runs.add(run)
        ends = {near_back}
        self._ends |= ends
        try:
            far, far_back = await asyncio.open_connection("127.0.0.1", self._far)
            ends.add(far_back)
            self._ends |= ends
            async with Scope() as ways:
                ways.start(_pour(near, far_back))
                await _pour(far, near_back)
        except (OSError, EOFError):
            pass  # one side hung up: so does the other
        finally:
            self._runs.discard(run)
            self._ends -= ends
            for writer in ends:
                writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise EOFError
