"""A client of a tcp link who speaks telnet, plain or with RFC 2217.

Promises: bytes and orders reach the line in the client's order, but for a purge of what has not left, which
overtakes it. What he sends, malformed or not, neither ends him nor anybody else. Who reads none of our
answers is heard no further. A NOP now and then, whatever else is said, shows in time that he is dead.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext, suppress
from typing import Any, Never, Protocol

from ..contracts import Tunable
from ..errors import Busy, LineDown, LinkDown
from ..host.connection import Connection
from ..scope import Scope
from ..values import Connect, Fault
from ..wire import rfc2217
from ..wire.telnet import HERE, IAC, NOP, Agreed, Command, Event, Option, Suboption, Telnet, Verb, escaped
from ._rfc2217 import ComPort, output_gone

_MOST = 64 * 1024  # bytes that wait for the line until the client has to
_PIECE = 4096  # bytes that a purge cannot stop any more
_ORDER = 64  # bytes that one counts for
_BREAK = 0.25  # seconds: that of the telnet command BREAK, as tcsendbreak(3) has it


class Terminal:
    """One connection. `offer`, `write` and `drain` are those of a Connection, for what the line says."""

    def __init__(
        self, connection: Connection, port: Tunable, *, com_port: bool = False, may_write: bool = True
    ) -> None:
        self._connection, self._port, self._may_write = connection, port, may_write
        self._telnet = Telnet(com_port=com_port)
        self._com_port = (
            ComPort(port.tuning, connection.write, self._suspend, may_write) if com_port else None
        )
        self._todo: deque[Event] = deque()
        self._held = bytearray()  # what the line said while the client suspended its flow
        self._size, self._working = 0, False
        self._news, self._room, self._listens = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._listens.set()

    async def serve(
        self, from_line: Callable[["Terminal"], Coroutine[Any, Any, Never]], every: float
    ) -> Never:
        """`from_line(self)` brings what the line says; a NOP goes out `every` so many seconds."""
        sets = self._com_port is not None and self._may_write
        try:
            with self._port.tuning.taken() if sets else nullcontext():
                await self._talk(from_line, every)
        except Busy as busy:
            raise LinkDown(str(busy)) from busy
        raise AssertionError("a scope ends by an error")

    async def _talk(
        self, from_line: Callable[["Terminal"], Coroutine[Any, Any, Never]], every: float
    ) -> None:
        async with Scope() as scope:
            scope.start(from_line(self))
            scope.start(self._beat(every))
            scope.start(self._work())
            if self._com_port is not None:
                scope.start(self._com_port.watch())
            await self._listen()

    # What the line says

    def offer(self, data: bytes) -> bool:
        return self._listens.is_set() and self._connection.offer(escaped(data))

    def write(self, data: bytes) -> None:
        if self._listens.is_set():
            self._connection.write(escaped(data))
        else:
            self._held += data  # no more than one batch: `drain` comes next

    async def drain(self) -> None:
        await self._connection.drain()
        await self._listens.wait()

    def _suspend(self, on: bool) -> None:
        if on:
            self._listens.clear()
        elif not self._listens.is_set():
            self._listens.set()
            held, self._held = bytes(self._held), bytearray()
            self.write(held)

    async def _beat(self, every: float) -> Never:
        while True:
            await asyncio.sleep(every)
            if not self._connection.behind:
                self._connection.write(NOP)

    # What the client says

    async def _listen(self) -> Never:
        self._connection.write(self._telnet.answer())
        self._connection.sink = self._at_once
        while True:
            self._hear(await self._connection.read())
            await self._connection.drain()
            await self._room.wait()

    def _at_once(self, data: bytes) -> bool:
        """In the callback that brought it."""
        plain = self._telnet.idle and IAC not in data
        ours = self._may_write and not self._todo and not self._working
        return plain and ours and self._port.offer(data)

    def _hear(self, data: bytes) -> None:
        for event in self._telnet.feed(data):
            if isinstance(event, bytes):
                for start in range(0, len(event), _PIECE):
                    self._add(event[start : start + _PIECE], min(_PIECE, len(event) - start))
            else:
                self._overtake(event)
                self._add(event, _ORDER)
        if answer := self._telnet.answer():
            self._connection.write(answer)

    def _add(self, event: Event, size: int) -> None:
        self._todo.append(event)
        self._size += size
        self._news.set()
        if self._size > _MOST:
            self._room.clear()

    def _overtake(self, event: Event) -> None:
        order = self._order(event)
        if order is not None and self._com_port is not None and self._com_port.out_of_turn(order):
            self._todo = deque(event for event in self._todo if not isinstance(event, bytes))

    async def _work(self) -> Never:
        while True:
            await self._news.wait()
            while self._todo:
                self._working = True
                await self._do(self._todo.popleft())
            self._working, self._size = False, 0
            self._news.clear()
            self._room.set()

    async def _do(self, event: Event) -> None:
        match event:
            case bytes():
                if self._may_write:
                    with suppress(LineDown):  # dropped and counted there
                        await self._port.send(event)
            case Command(Verb.AYT):
                self._connection.write(HERE)
            case Command(Verb.BREAK):
                await self._break()
            case Agreed(Option.COM_PORT) if self._com_port is not None:
                self._com_port.agreed()
            case Suboption():
                await self._obey(event)

    async def _break(self) -> None:
        if not self._may_write:
            return
        await output_gone(self._port.tuning)
        self._port.tuning.send_break(True)
        try:
            await asyncio.sleep(_BREAK)
        finally:
            self._port.tuning.send_break(False)

    async def _obey(self, event: Suboption) -> None:
        order = self._order(event)
        if order is None or self._com_port is None:
            return
        if self._connection.traced:
            self._connection.note("rx", f"{order.ask.name} {order.value or order.text!r}")
        await self._com_port.obey(order)

    def _order(self, event: Event) -> rfc2217.Order | None:
        match event:
            case Suboption(Option.COM_PORT, data):
                return rfc2217.order(data)
        return None


class Speaks(Protocol):
    """The Config of a link whose clients may do so."""

    @property
    def connect(self) -> Connect | None: ...

    @property
    def telnet(self) -> bool: ...

    @property
    def rfc2217(self) -> bool: ...

    @property
    def readers(self) -> int: ...

    @property
    def max_clients(self) -> int: ...

    @property
    def tap(self) -> bool: ...

    @property
    def idle_timeout(self) -> float | None: ...


def telnet_faults(config: Speaks) -> Iterator[Fault]:
    """What does not fit together of these keys."""
    for key in ("telnet", "rfc2217", "readers"):
        if not getattr(config, key):
            continue
        if config.connect is not None:
            yield Fault((key,), f"{key} goes with listen")
        elif config.tap:
            yield Fault((key,), f"{key} does not go with tap, whose clients only see bytes as they pass")
    if config.telnet and config.rfc2217:
        yield Fault(("telnet",), "rfc2217 is telnet and more: write one of the two")
    if config.rfc2217 and config.max_clients > 1:
        yield Fault(("max_clients",), "with rfc2217 one client sets the line; others may look on: readers")
    if (config.telnet or config.rfc2217) and config.idle_timeout is not None:
        yield Fault(("idle_timeout",), "a telnet client is sent a NOP now and then, so it is never idle")
