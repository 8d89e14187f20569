"""One writer, many bounded readers: how bytes, frames and samples leave a port or a device.

Promises: `push` never waits and never fails; order is kept per tap; what a tap has no room for is dropped by
its rule and counted in `missed`. A Brake says when the writer is to stop reading its line: when none of the
readers keeps up, all of them being BLOCK taps, or when one of them holds it. A Fan without taps costs a look
at `taps`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sized
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T", bound=Sized)


class WhenFull(StrEnum):
    """What happens to an item that its reader has no room for."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    BLOCK = "block"  # the writer waits while no reader keeps up; while one does, the others lose their oldest


class Tap(Generic[T]):
    """One reader's place at a Fan, from construction (synchronous, so nothing is missed) until it is closed.

    `offer`, when set, takes an item in the writer's own callback or declines it: that saves the hop over a
    task. It is asked only while nothing waits here, so order and bound hold.
    """

    def __init__(self, fan: "Fan[T]", limit: int, rule: WhenFull, offer: Callable[[T], bool] | None) -> None:
        self._fan, self._limit, self._rule, self._offer = fan, limit, rule, offer
        self._items: deque[T] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.size = 0  # of what waits, as len() of the items
        self.missed = 0
        self.holding = False

    async def take(self) -> list[T]:
        """Everything that waits; at least one item."""
        while not self._items:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        items = list(self._items)
        self._items.clear()
        self.size = 0
        self._fan.brake.turned()
        return items

    def put(self, item: T) -> None:
        """For the Fan: take, queue or drop one item."""
        if self._offer is not None and not self._items and self._offer(item):
            return
        self._items.append(item)
        self.size += len(item)
        self._drop()
        if self.full:
            self._fan.brake.turned()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _drop(self) -> None:
        """A BLOCK tap has as much again, for what comes until the writer has really stopped."""
        limit = self._limit * 2 if self._rule is WhenFull.BLOCK else self._limit
        while self.size > limit and len(self._items) > 1:
            lost = self._items.pop() if self._rule is WhenFull.DROP_NEWEST else self._items.popleft()
            self.size -= len(lost)
            self.missed += 1

    @property
    def full(self) -> bool:
        """A reader for which the writer should wait is behind by its limit."""
        return self._rule is WhenFull.BLOCK and self.size >= self._limit

    def hold(self, holding: bool) -> None:
        """The writer is to wait for this reader, whoever else keeps up, until it says otherwise."""
        self.holding = holding
        self._fan.brake.turned()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The reader has left; what still waits here is gone with it."""
        self._fan.leave(self)


class Fan(Generic[T]):
    """Where a writer pushes. Outlives sessions and reloads: it belongs to the part, not to the open line.

    Fans that one writer feeds share one brake.
    """

    def __init__(self, brake: "Brake | None" = None) -> None:
        self.taps: tuple[Tap[T], ...] = ()  # who listens; without any, a look at this is all that it costs
        self.brake = brake or Brake()
        self.brake.fans.append(self)

    def tap(
        self,
        limit: int = 1 << 20,
        rule: WhenFull = WhenFull.DROP_OLDEST,
        offer: Callable[[T], bool] | None = None,
    ) -> Tap[T]:
        """A new reader, holding at most `limit` (by len() of the items; one larger item is still held)."""
        tap = Tap(self, limit, rule, offer)
        self.taps = (*self.taps, tap)
        self.brake.turned()
        return tap

    def push(self, item: T) -> None:
        for tap in self.taps:
            tap.put(item)

    def leave(self, tap: Tap[T]) -> None:
        """For a Tap: its reader is gone."""
        self.taps = tuple(other for other in self.taps if other is not tap)
        self.brake.turned()


class Brake:
    """What the writer of some fans waits for: all their readers taken together."""

    def __init__(self) -> None:
        self.fans: list[Fan[Any]] = []
        self._turned = asyncio.Event()

    @property
    def on(self) -> bool:
        taps = [tap for fan in self.fans for tap in fan.taps]
        return any(tap.holding for tap in taps) or (bool(taps) and all(tap.full for tap in taps))

    async def pulled(self) -> None:
        """Returns when no reader keeps up any more and all want the writer to wait, or one holds it."""
        await self._until(True)

    async def released(self) -> None:
        """Returns when one of them keeps up again, or has come or left, and none holds the writer."""
        await self._until(False)

    async def _until(self, on: bool) -> None:
        while self.on is not on:
            self._turned.clear()
            await self._turned.wait()

    def turned(self) -> None:
        """For Tap and Fan: look again."""
        self._turned.set()
