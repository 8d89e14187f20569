"""What we say by ourselves on a connection that we made and on which packets go: who calls, and that we are
still there.

Promises: each packet goes out whole, so that nothing ever stands in the middle of one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..host.connection import Connection
from ..policy.heartbeat import Schedule
from ..settings import Identity
from ..values import Octets
from ._hello import Heartbeat, filled


class Registration(Octets):
    """The first bytes of each connection; with `each` they stand in front of every packet instead."""

    each: bool = False


class Voice:
    """Of one connection. All that is said there goes through `say`."""

    def __init__(
        self,
        connection: Connection,
        registration: Registration | None,
        heartbeat: Heartbeat | None,
        identity: Identity,
    ) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._schedule: Schedule | None = None
        self._alarm: asyncio.TimerHandle | None = None
        word = b"" if registration is None else filled(registration, identity)
        each = registration is not None and registration.each
        self._first, self._prefix = (b"", word) if each else (word, b"")
        self._word = b""
        if heartbeat is not None:
            self._word = filled(heartbeat, identity)
            self._schedule = Schedule(heartbeat.every, heartbeat.strict, self._loop.time())

    def say(self, packet: bytes) -> None:
        self._connection.write(self._prefix + packet)
        if self._schedule is not None:
            self._schedule.said(self._loop.time())

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Says who calls, and then, for as long as the block, that we are still there."""
        if self._first:
            self._connection.write(self._first)
        if self._schedule is not None:
            self._look(self._schedule)
        try:
            yield
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def _look(self, schedule: Schedule) -> None:
        now = self._loop.time()
        if schedule.place(0, 0, now) is not None:
            if not self._connection.behind:  # a peer that reads nothing gets no heap of them
                self._connection.write(self._prefix + self._word)
            schedule.beaten(now)
        self._alarm = self._loop.call_at(schedule.next(now), self._look, schedule)
