"""The lab in use: peers at the far ends, one program in the gateway, and each case from its death to its
return.

The program is gatewayd, or anything else that has a connection for each case.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, closing
from typing import Protocol, TypeVar

from deaths_kit import PERIOD, Case, Death, Found, Kind, Outcome, Traffic
from ends_kit import Broker, Peer, Plant
from system_kit import PATIENCE
from wires_kit import VICTIM, Host, Wires

T = TypeVar("T")

LOOK_EVERY = 0.1  # seconds between two looks at the program
GIVE_UP = 8.0  # seconds after the bound: then a death counts as never found
OFF = 1.0  # seconds for which the victim has no power


class Program(Protocol):
    """What stands in the gateway's place, seen from outside.

    `caller` is the peer's address where the peer dials.
    """

    @property
    def at(self) -> float:
        """Wall time of the last look."""

    def look(self) -> None: ...

    def up_since(self, case: Case, caller: str, /) -> float | None:
        """Wall time; None while there is no connection."""

    def heard(self, case: Case, /) -> bool:
        """It has received something."""

    def found(self, case: Case, caller: str, cut: float, /) -> Found | None:
        """The death that it has noticed."""

    def write(self, case: Case, /) -> None:
        """Makes it say something to the peer."""


class Lab:
    """The peers of all cases, and what happens to them. `program` is there once it runs."""

    def __init__(self, cases: list[Case], wires: Wires, give_up: float) -> None:
        self.cases, self.wires, self._give_up = cases, wires, give_up
        self.begun: float  # when the program ran, wall time
        self.program: Program
        self._peers = {case: Peer(case) for case in cases if case.kind is not Kind.MQTT_CONNECT}
        mqtt = [case for case in cases if case.kind is Kind.MQTT_CONNECT]
        self._brokers = {
            place: Broker(case.port for case in mqtt if (case.far == VICTIM) is place)
            for place in (False, True)
        }
        self._news = asyncio.Event()

    def _host(self, case: Case) -> Host:
        return self.wires.victim if case.far == VICTIM else self.wires.far

    async def listen(self) -> None:
        """The peers that are dialled."""
        self._brokers[False].begin(self.wires.far)
        self._brokers[True].begin(self.wires.victim)
        await self._begin(case for case in self.cases if case.kind.dials)

    async def call(self) -> None:
        """The peers that dial. Returns when every connection is there that can be."""
        self.begun = time.time()
        await self._begin(case for case in self.cases if not case.kind.dials)
        end = self.begun + PATIENCE
        able = [case for case in self.cases if case.death is not Death.CONNECT]
        ups = await asyncio.gather(*(self.until(lambda case=case: self.up_since(case), end) for case in able))
        absent = [case for case, up in zip(able, ups, strict=True) if up is None]
        assert not absent, absent

    async def _begin(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if case in self._peers:
                await self._peers[case].begin(self._host(case))

    async def watch(self) -> None:
        """For as long as the lab is in use. The brokers' commands come from here, too."""
        last_word = 0.0
        while True:
            await asyncio.to_thread(self.program.look)
            self._news.set()
            self._news.clear()
            if self.program.at - last_word >= PERIOD:
                last_word = self.program.at
                for broker in self._brokers.values():
                    broker.publish()
            await asyncio.sleep(LOOK_EVERY)

    async def until(self, there: Callable[[], T | None], end: float) -> T | None:
        """What `there` says after some look; None when it is still nothing at `end`, wall time."""
        while not (found := there()) and self.program.at < end:
            await self._news.wait()
        return found

    def up_since(self, case: Case) -> float | None:
        return self.program.up_since(case, self._caller(case))

    def found(self, case: Case, cut: float) -> Found | None:
        return self.program.found(case, self._caller(case), cut)

    def _caller(self, case: Case) -> str:
        return self._peers[case].address if case in self._peers else ""

    async def die(self, death: Death, cases: list[Case], late: float) -> list[Outcome]:
        """All of them at once. A late write comes `late` seconds before the bound, if it can be chosen."""
        await asyncio.gather(*(self._last_word(case) for case in cases))
        cut = self._strike(death, cases)
        mended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            dying = [group.create_task(self._dies(case, cut)) for case in cases]
            ends = [
                group.create_task(self._returns(case, cut, found, mended))
                for case, found in zip(cases, dying, strict=True)
            ]
            for case in cases:
                group.create_task(self._write(case, cut + case.bound - late))
            mended.set_result(await self._mend(death, cases, dying, cut))
        return [end.result() for end in ends]

    async def _last_word(self, case: Case) -> None:
        """The peer's, right before the end, where nothing else would be said: the worst moment to die.

        To a modbus-server it is a request; where its answer is the late write, one that takes a second.
        """
        silent = case.traffic in (Traffic.IDLE, Traffic.LATE) and case.death is not Death.CONNECT
        if silent and case in self._peers:
            self._peers[case].say_last()
            await self.until(lambda: self.program.heard(case), self.program.at + PATIENCE)

    async def _write(self, case: Case, at: float) -> None:
        if case.kind is not Kind.MODBUS_LISTEN and case.traffic is Traffic.LATE:
            await asyncio.sleep(at - time.time())
            self.program.write(case)

    def _strike(self, death: Death, cases: list[Case]) -> float:
        """When it had happened, wall time; of what is known at once, when it began to happen."""
        ports, began = [case.port for case in cases], time.time()
        match death:
            case Death.BOTH | Death.POWER:
                self.wires.cut(ports)
            case Death.OURS:
                self.wires.cut(ports, theirs=False)
            case Death.THEIRS:
                self.wires.cut(ports, ours=False)
            case Death.MAPPING:
                self.wires.forget(flow for flow in self.wires.far.flows() if set(flow) & set(ports))
            case Death.ADDRESS:
                self.wires.take_address()
                return began
            case Death.CONNECT:
                return self.begun
        return time.time()

    async def _mend(
        self, death: Death, cases: list[Case], dying: Iterable[asyncio.Task[Found | None]], cut: float
    ) -> float:
        """When the wire was good again, wall time."""
        match death:
            case Death.MAPPING:
                return cut  # for new connections it always was
            case Death.POWER:
                await self._restart_victim(cases)
            case _:
                await asyncio.wait(dying)
        if death is Death.ADDRESS:
            self.wires.give_address()
        self.wires.mend(case.port for case in cases)
        return time.time()

    async def _dies(self, case: Case, cut: float) -> Found | None:
        there = cut + case.may_take + self._give_up
        return await self.until(lambda: self.found(case, cut), there)

    async def _returns(
        self, case: Case, cut: float, dying: asyncio.Task[Found | None], mended: asyncio.Future[float]
    ) -> Outcome:
        found, wire = await dying, await mended
        if found is None:
            return Outcome(case, None, None)
        returned = max(wire, cut + found.after)
        if not case.kind.dials:
            self._peers[case].end()
            await self._begin([case])
        since = await self.until(lambda: self.up_since(case), returned + PATIENCE)
        return Outcome(case, found, None if since is None else max(0.0, since - returned))

    async def _restart_victim(self, cases: list[Case]) -> None:
        """It had no power for `OFF` seconds; what ran there runs again, and remembers nothing."""
        back = time.time() + OFF
        self.wires.unplug_victim()
        self._brokers[True].kill()
        for case in self._peers.keys() & cases:
            self._peers[case].end()
        self.wires.plug_victim()
        self._brokers[True].begin(self.wires.victim)
        await self._begin(case for case in cases if case.kind.dials)
        await asyncio.sleep(back - time.time())

    def close(self) -> None:
        for end in (*self._peers.values(), *self._brokers.values()):
            end.end()


@asynccontextmanager
async def lab(
    cases: list[Case],
    wires: Wires,
    program: Callable[[list[Case], Wires, Plant], AbstractContextManager[Program]],
    *,
    apart: bool = False,
    give_up: float = GIVE_UP,
) -> AsyncIterator[Lab]:
    """With a connection for each case, but for those whose connect is a black hole.

    `apart`: every case has a serial line of its own. `give_up`: seconds after the bound.
    """
    plant = Plant(cases, apart=apart)
    wires.cut(case.port for case in cases if case.death is Death.CONNECT)
    with plant.lines, closing(Lab(cases, wires, give_up)) as made:
        await made.listen()
        with program(cases, wires, plant) as made.program:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(made.watch())
                try:
                    await made.call()
                    yield made
                finally:
                    watching.cancel()
