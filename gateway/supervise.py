"""The only loop that restarts anything.

An expected loss waits by the backoff policy and runs again, for ever. Our own bug costs a traceback and
restarts that one part; too many of them in too short a time end the process, so that systemd starts a clean
one.
"""

import asyncio
import logging
from contextlib import suppress
from math import inf
from typing import Never

from .contracts import Part
from .errors import Down, GatewayError, Rest
from .policy.backoff import Backoff
from .status import Life

BUGS_BEFORE_GIVING_UP = 5
BUGS_ARE_FORGOTTEN_AFTER = 600.0  # seconds
log = logging.getLogger(__name__)


class Hold:
    """Keeps a part from its sessions until it is released, or until a time on the loop's clock."""

    def __init__(self, reason: str, until: float | None = None) -> None:
        self.reason, self.until = reason, until
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def over(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self.until):
                await self._released.wait()


async def supervise(part: Part, life: Life, backoff: Backoff, way_back: asyncio.Event | None = None) -> Never:
    """Runs `part`'s sessions one after the other until cancelled.

    `way_back`, set for a moment, says that the network is back: a wait of that moment ends early.
    """
    now = asyncio.get_running_loop().time
    way_back = way_back or asyncio.Event()
    bugs: list[float] = []
    life.begin()
    while True:
        life.attempts += 1
        try:
            await part.session(life)
        except Rest:
            backoff.ended(inf)
            life.rests()
            continue
        except GatewayError as error:
            down = error if isinstance(error, Down) else Down(str(error))
        except Exception as bug:
            bugs = [at for at in bugs if now() - at < BUGS_ARE_FORGOTTEN_AFTER] + [now()]
            if len(bugs) >= BUGS_BEFORE_GIVING_UP:
                raise
            log.exception("%s: internal error, starting it again", life.name)
            down = Down(f"internal error: {bug!r}")
        if life.up_since is not None:
            backoff.ended(life.died(down))
        delay = 0.0 if down.at_once else backoff.next(down.wait_at_least)
        life.waits(str(down), delay)
        if not down.at_once:
            await _wait(delay, life, backoff, way_back)
        life.label(life.trying, str(down))


async def _wait(delay: float, life: Life, backoff: Backoff, way_back: asyncio.Event) -> None:
    """For `delay` seconds, or less if the way comes back meanwhile; how often it does makes no difference."""
    now = asyncio.get_running_loop().time
    began = now()
    try:
        async with asyncio.timeout(delay):
            await way_back.wait()
    except TimeoutError:
        return
    left = backoff.early(now() - began)
    life.label("waiting", life.reason, now() + left)
    await asyncio.sleep(left)
