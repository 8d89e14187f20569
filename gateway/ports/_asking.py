"""What a raw port asks its instrument by itself, over and over.

Promises: an ask is one write, in turn with everybody else's, never inside somebody else's bytes, and not
before whoever wrote last has had as long for his answer as an ask has. Asks keep to their grid; one that was
put off begins a new one. An answer that does not come is counted, and said when it goes on. Must not look
into answers: the next frame is one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Annotated, Never

from pydantic import Field

from ..contracts import Frame
from ..flow import Brake, Fan
from ..policy.episodes import Ration
from ..policy.schedule import next_due
from ..values import Duration, Fault, Octets
from ._tally import Tally
from ._values import BEGINNING, Values

_SILENT = 3  # answers missed in a row, after which the instrument is not there
_LINES = 4  # of the log, a minute, of an instrument that comes and goes
log = logging.getLogger(__name__)


class Ask(Octets):
    """Said every so often; the next frame is the answer, and whole within `timeout`."""

    every: Annotated[Duration, Field(ge=0.05)] = 1.0
    timeout: Annotated[Duration, Field(ge=0.01)] = 0.5

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        if self.timeout > self.every:
            yield Fault(("timeout",), "the next ask would come before that: timeout is longer than every")


class Asking:
    """Of one port: its own asks, and where clients stand with theirs.

    `astray`: the line is set as a client wants it, and the instrument would not understand.
    """

    def __init__(
        self, frames: Fan[Frame], brake: Brake, tally: Tally, values: Values, astray: Callable[[], bool]
    ) -> None:
        self._frames, self._brake, self._tally, self._values = frames, brake, tally, values
        self._astray = astray
        self._clients = 0  # whose bytes are not all with the kernel
        self._last_client = -inf  # loop time
        self._rested = asyncio.Event()
        self._answer: asyncio.Future[None] | None = None
        self._missed = 0  # in a row
        self._lines = Ration(_LINES, 60.0)
        self.reason = ""

    @contextmanager
    def client(self) -> Iterator[None]:
        """Somebody else writes, perhaps in several pieces."""
        self._clients += 1
        try:
            yield
        finally:
            self._clients -= 1
            self.client_wrote()

    def client_wrote(self) -> None:
        """Now, and all of it."""
        self._last_client = self._now()
        self._rested.set()

    async def serve(
        self, name: str, rule: Ask, wire: float, write: Callable[[bytes], Awaitable[None]]
    ) -> Never:
        """While the line is open, which it is from now on. `wire`: seconds that the ask takes there."""
        now = self._now
        due = now() + BEGINNING
        try:
            with self._frames.tap(offer=self._heard):
                while True:
                    await asyncio.sleep(max(0.0, due - now()))
                    put_off = await self._turn(rule.timeout)
                    asked = now()
                    if await self._answers(rule.octets, rule.timeout + wire, write):
                        self._answered(name)
                    else:
                        self._silence(name, rule)
                    due = next_due(asked if put_off else due, now(), rule.every)
        finally:
            self._missed, self.reason = 0, ""

    async def _turn(self, pause: float) -> bool:
        """Until an ask is in nobody's way; True: it was in somebody's."""
        put_off = False
        while self._brake.on or self._busy_until(pause) > self._now():
            put_off = True
            await self._brake.released()
            self._rested.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if self._clients else self._busy_until(pause)):
                    await self._rested.wait()
        return put_off

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _busy_until(self, pause: float) -> float:
        """At least; inf: until a client says so."""
        if self._clients:
            return inf
        return (self._now() if self._astray() else self._last_client) + pause

    async def _answers(self, words: bytes, within: float, write: Callable[[bytes], Awaitable[None]]) -> bool:
        self._tally.tx_frames += 1
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await write(words)
                await self._answer
        except TimeoutError:
            return False
        finally:
            self._answer = None
        return True

    def _heard(self, frame: Frame) -> bool:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        return True

    def _answered(self, name: str) -> None:
        if self.reason:
            log.info("%s: answers again", name)
        self._missed, self.reason = 0, ""

    def _silence(self, name: str, rule: Ask) -> None:
        self._tally.timeout += 1
        self._missed += 1
        self._values.missed(f"no answer within {rule.timeout:g} s")
        if self._missed < _SILENT:
            return
        self._values.absent()
        self.reason = f"no answer to the last {self._missed} asks, each within {rule.timeout:g} s"
        if self._missed == _SILENT and self._lines.allows(self._now()):
            log.warning("%s: %s", name, self.reason)
