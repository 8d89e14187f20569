"""What happens when, and the verdict: did data flow both ways, and did it survive the broker's absence?"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from .plant import Plant

DRAIN_WITHIN = 20.0  # seconds for the last buffered line to arrive
FIRST_ABSENCE = 12.0  # seconds after the start, and as long again until the broker is back


class Claim(NamedTuple):
    """One sentence of the verdict."""

    good: bool
    text: str


class Story:
    """The steps; `tell` is told about each in one line."""

    def __init__(self, plant: Plant, tell: Callable[[str], None]) -> None:
        self._plant = plant
        self._tell = tell
        self._start = time.monotonic()
        self.held_back = 0  # scale lines printed while the broker was away
        self._absences = 0
        self._printed_before = 0
        self._tares = 0

    async def tare(self) -> None:
        """Nobody keeps a command for a gateway that is away: it goes out when the gateway is there."""
        subscriber = self._plant.subscriber
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_WITHIN):
                await subscriber.until(lambda: subscriber.online)
        self._tares += 1
        self._tell("the broker sends the scale a tare command")
        subscriber.tare()

    async def away(self) -> None:
        self._tell("the broker goes away")
        await self._plant.cable.cut()
        self._absences += 1
        self._printed_before = self._plant.scale.printed

    async def back(self) -> None:
        held_back = self._plant.scale.printed - self._printed_before
        self.held_back += held_back
        self._tell(f"the broker is back; the scale has printed {held_back} lines meanwhile")
        await self._plant.cable.join()

    async def by_clock(self, seconds: float) -> list[Claim]:
        """All of it in `seconds`, and the verdict."""
        steps = ((0.15, self.tare), (0.3, self.away), (0.6, self.back), (0.75, self.tare))
        for part, step in steps:
            await self._until(part * seconds)
            await step()
        await self._until(0.85 * seconds)
        return await self.end()

    async def by_keys(self, keys: "asyncio.Queue[str]") -> list[Claim]:
        """Until [q]. The first absence comes by itself unless a key was pressed before."""
        by_itself = [FIRST_ABSENCE, 2 * FIRST_ABSENCE]
        while True:
            wait = by_itself[0] - self._clock() if by_itself else None
            try:
                async with asyncio.timeout(wait):
                    key = await keys.get()
            except TimeoutError:
                key = "b"
                del by_itself[0]
            else:
                by_itself.clear()
            match key:
                case "b":
                    await (self.away() if self._plant.cable.whole else self.back())
                case "t" if self._plant.cable.whole:
                    await self.tare()
                case "q":
                    return await self.end()

    async def end(self) -> list[Claim]:
        """The scale stops, what is still buffered arrives, and this is what it comes to."""
        scale, subscriber = self._plant.scale, self._plant.subscriber
        scale.printing = False
        if not self._plant.cable.whole:
            await self.back()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_WITHIN):
                await subscriber.until(lambda: subscriber.last_line >= scale.printed)
                if not self._tares:
                    await self.tare()
                await subscriber.until(lambda: all(claim.good for claim in self._verdict()))
        return list(self._verdict())

    def _verdict(self) -> Iterator[Claim]:
        plant = self._plant
        scada, subscriber, scale = plant.scada, plant.subscriber, plant.scale
        written = {unit: meter.writes for unit, meter in plant.meters.items()}
        missing = scale.printed - subscriber.arrived
        yield Claim(
            scada.reads > 0 and not scada.wrong and not scada.failed,
            f"Modbus read: {scada.reads} answers, {scada.wrong} wrong, {scada.failed} failed",
        )
        yield Claim(all(written.values()), f"Modbus write: {sum(written.values())} seen by the meters")
        yield Claim(subscriber.polled > 0, f"polled values at the broker: {subscriber.polled} messages")
        yield Claim(
            subscriber.wills >= self._absences,
            f"broker away: {self._absences} times, the gateway's last will came {subscriber.wills} times",
        )
        yield Claim(scale.tared == self._tares > 0, f"tare: {self._tares} sent, {scale.tared} obeyed")
        yield Claim(
            not missing and not subscriber.out_of_turn and scale.printed > 0,
            f"scale lines: {scale.printed} printed, {subscriber.arrived} at the broker, {missing} missing, "
            f"{subscriber.out_of_turn} out of turn, {subscriber.twice} twice; "
            f"{self.held_back} of them printed while the broker was away",
        )

    def _clock(self) -> float:
        return time.monotonic() - self._start

    async def _until(self, at: float) -> None:
        await asyncio.sleep(at - self._clock())
