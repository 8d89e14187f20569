"""A raw link that dials: one connection out, and what the line says while the far end is away waits in the
link's buffer. With `short` the far end is away for as long as there is nothing to say.
"""

from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from time import time
from typing import Never, Protocol

from ..buffer import Buffer, Record
from ..contracts import Stream, Traced
from ..errors import LinkDown, Rest
from ..flow import Fan
from ..host.connection import Connection
from ..policy.ledger import Place
from ..scope import Scope
from ..settings import Identity
from ..status import Life, PartStatus
from ._boxes import Box, common
from ._delivery import Delivery, Resend
from ._failover import Failover
from ._frames import Ends
from ._hello import Heart, filled
from ._idle import hangs_up, leaves
from ._to_line import to_line
from ._who_dials import Ends as Dialling
from ._who_dials import dialled

_LEAST_UNDER_WAY = 4096  # bytes


class Config(Box, Dialling, Protocol):
    """As far as this file wants to know it."""

    @property
    def packet(self) -> bool: ...

    @property
    def again(self) -> Resend: ...


class Dialler:
    """One connection out; what the line says while the far end is away waits in the link's buffer."""

    def __init__(
        self, config: Config, port: Stream, buffer: Buffer, frames: Ends | None, identity: Identity
    ) -> None:
        self.config, self._port, self._buffer, self._frames = config, port, buffer, frames
        self._identity = identity
        self.trace: Fan[Traced] = Fan()
        self._failover = Failover()
        self._connection: Connection | None = None
        self._place: Place | None = None  # where the last connection ended, if in the middle of a record
        self._counts: Counter[str] = Counter()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        if config.short is not None and not self._buffer.records:
            life.label("idle", "connects when data comes")
            await self._buffer.read(0, 1)
            life.label(life.trying)
        async with dialled(self.config, self._failover, life, self.trace) as connection:
            if config.registration is not None:
                connection.write(filled(config.registration, self._identity))
            life.up()
            await self._serve(connection)
        raise AssertionError("a scope ends by an error")

    async def _serve(self, connection: Connection) -> Never:
        self._connection = connection
        delivery = self._delivery(connection)
        try:
            await self._talk(connection, delivery)
        except CancelledError:
            await delivery.farewell()
            raise
        except LinkDown as down:
            if self.config.short is not None and down.detected_after is None and not delivery.owed:
                raise Rest(str(down)) from down
            raise
        finally:
            self._connection = None
            self._place = delivery.end()

    def _delivery(self, connection: Connection) -> Delivery:
        most = max(_LEAST_UNDER_WAY, int(self._port.rate))  # what the line says in a second
        again, whole = self.config.again != "none", self.config.packet
        return Delivery(connection, self._buffer, most, self._counts, self._place, self._frames, again, whole)

    async def _talk(self, connection: Connection, delivery: Delivery) -> Never:
        heart = self._heart(delivery)
        tell = delivery.tell if heart is None else heart.tell

        def offered(record: Record) -> bool:
            """In the callback that brought it."""
            if (heart and heart.due) or not (data := delivery.at_once(record)):
                return False
            tell(data)
            return True

        self._buffer.offer = offered
        try:
            with heart.beating() if heart else nullcontext():
                async with Scope() as scope:
                    scope.start(self._from_buffer(delivery, tell))
                    scope.start(self._until_idle(connection, delivery))
                    await to_line(connection, self._port)
        finally:
            self._buffer.offer = None
        raise AssertionError("a scope ends by an error")

    async def _until_idle(self, connection: Connection, delivery: Delivery) -> Never:
        if self.config.short is not None:
            await leaves(connection, self.config.short, lambda: delivery.owed)
        await hangs_up(connection, self.config.idle_timeout)

    def _heart(self, delivery: Delivery) -> Heart | None:
        if (rule := self.config.heartbeat) is None:
            return None
        word = filled(rule, self._identity)
        return Heart(rule, word, delivery, self._port, frames=self.config.packet)

    async def _from_buffer(self, delivery: Delivery, tell: Callable[[bytes], None]) -> Never:
        while True:
            tell(await delivery.more())

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        return {
            **common(self.config, self._failover.now(self.config.connect or ())),
            "direction": "connect",
            "peers": peers,
            "buffer": self._buffer.status(time()),
            "sent": self._counts["sent"],
            "confirmed": self._counts["confirmed"],
        }
