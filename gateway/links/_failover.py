"""Several far ends of one link: which is next, and when to go back to the first.

Promises: they are tried in their order, without a wait in between; the wait of the backoff comes after the
last of them. A connection that was up and ends begins again with the first.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Never, TypeVar

from ..errors import LinkDown
from ..host import net
from ..policy.liveness import Bounds
from ..settings import Reconnect
from ..status import Life
from ..values import Endpoint

E = TypeVar("E")
_LOOK_EVERY = 60.0  # seconds, or four times in `prefer_after`


class Failover:
    """Of one link; outlives its sessions."""

    def __init__(self) -> None:
        self._place = 0
        self._floor = 0.0  # seconds that one of this round wants us to stay away

    @asynccontextmanager
    async def turn(self, ends: Sequence[E], life: Life) -> AsyncIterator[E]:
        """The block is a session with the one whose turn it is, and says `life.up()` when that is there."""
        place = self._place % len(ends)
        self._place = place
        try:
            yield ends[place]
        except LinkDown as down:
            if life.up_since is not None:
                self._place = 0
            else:
                self._place = (place + 1) % len(ends)
                self._floor = max(self._floor, down.wait_at_least)
                down.at_once = self._place > 0
            if not down.at_once:
                down.wait_at_least, self._floor = max(down.wait_at_least, self._floor), 0.0
            raise

    def now(self, ends: Sequence[object]) -> str:
        """The one in use, or tried next, in words."""
        return str(ends[self._place % len(ends)])

    async def preferred(self, first: Endpoint, bounds: Bounds, rule: Reconnect) -> Never:
        """Raises when another is in use and the first could be reached for as long as `rule` says."""
        loop, after = asyncio.get_running_loop(), rule.prefer_after
        reachable_since: float | None = None
        while after is not None and self._place > 0:
            if not await _reaches(first, bounds):
                reachable_since = None
            elif reachable_since is None:
                reachable_since = loop.time()
            elif loop.time() - reachable_since >= after:
                raise LinkDown(f"back to {first}, which could be reached for {after:g} s", at_once=True)
            await asyncio.sleep(min(_LOOK_EVERY, after / 4))
        await loop.create_future()
        raise AssertionError


async def _reaches(end: Endpoint, bounds: Bounds) -> bool:
    try:
        async with net.dial(end, bounds):
            return True
    except LinkDown:
        return False
