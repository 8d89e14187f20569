"""role = "client": we ask the devices on this line; its keys, and the port that asks by a mode's framing."""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, ClassVar, Never, Self

from pydantic import Field, PrivateAttr

from ..contracts import Request, Settings, Traced, Transactor, failed
from ..errors import LineDown
from ..flow import Fan
from ..host.tty import Line
from ..settings import PortConfig
from ..status import Life, PartStatus
from ..values import Duration
from ..wire.own_registers import Counts
from ._bus import Bus
from ._framing import Framing, Rules
from ._line import opened
from ._recent import LOOK_EVERY, Recent
from ._tally import Occupancy, Tally


class ClientConfig(PortConfig):
    """The keys of every mode that asks. A mode adds its own, and says what they mean for its bus."""

    framing: ClassVar[Framing]
    response_timeout: Annotated[Duration, Field(gt=0)] = 1.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    request_timeout: Annotated[Duration, Field(gt=0)] = 2.5
    turnaround_delay: Duration = 0.1
    late_answer_guard: Duration = 0.5
    queue: Annotated[int, Field(ge=1, le=1024)] = 16
    broadcast: bool = False
    skip_silent: bool = True
    coalesce: bool = True
    cache: Annotated[Duration, Field(le=60)] = 0.0
    echo: bool = False
    _response_timeouts: Mapping[int, float] = PrivateAttr(
        default_factory=dict
    )  # of units that have their own

    def completed(self, response_timeouts: Mapping[int, float]) -> Self:
        told = self.model_copy()
        told._response_timeouts = response_timeouts
        return told

    @property
    def rules(self) -> Rules:
        raise AssertionError(f"{self.mode} has no rules")

    def rules_by(self, *, character_bits: int, gap: float, quiet: float) -> Rules:
        """These keys, and what the framing makes of the others; times in seconds."""
        return Rules(
            character=character_bits / self.baudrate,
            lead=self.lead,
            gap=gap,
            quiet=quiet,
            response_timeout=self.response_timeout,
            request_timeout=self.request_timeout,
            turnaround_delay=self.turnaround_delay,
            late_answer_guard=self.late_answer_guard,
            retries=self.retries,
            queue=self.queue,
            broadcast=self.broadcast,
            skip_silent=self.skip_silent,
            coalesce=self.coalesce,
            cache=self.cache,
            echo=self.echo,
            response_timeouts=self._response_timeouts,
        )

    def busy(self, requests: Iterable[bytes]) -> float:
        rules, framing = self.rules, self.framing
        characters = [len(framing.encode(1, pdu)) + framing.answer_size(pdu) for pdu in requests]
        return sum(characters) * rules.character + len(characters) * (rules.lead + 2 * rules.gap)


class Client:
    """A Transactor: its bus lives as long as the line is open."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self._tally = Tally()
        self._occupancy = Occupancy(asyncio.get_running_loop().time)
        self._recent = Recent(self._tally)
        self._bus: Bus | None = None
        self.away = "the port is not open yet"

    async def session(self, life: Life, /) -> Never:
        config = self.config
        try:
            async with opened(config, self._tally) as line:
                self._bus = self._asking_on(line, config, self._tally)
                self._recent = Recent(self._tally)
                self.away = "the port was closed"
                life.up(state="open")
                while True:
                    await asyncio.sleep(LOOK_EVERY)
                    self._recent.look()
        except LineDown as down:
            self.away = str(down)
            raise
        finally:
            if self._bus is not None:
                self._bus.close(LineDown(self.away))
                self._bus = None

    def _asking_on(self, line: Line, config: ClientConfig, tally: Tally) -> Bus:
        bus = Bus(line, config.framing, config.rules, tally, self._occupancy, self.trace)
        line.sink = bus.received
        return bus

    def counts(self) -> Counts:
        tally = self._tally
        return Counts(
            open=self._bus is not None,
            busy=round(self._occupancy.percent()),
            queue=self._bus.queue if self._bus is not None else 0,
            requests=tally.tx_frames,
            answers=tally.rx_frames,
            timeouts=tally.timeout,
            crc=tally.crc,
            short=tally.short,
            late=tally.late,
            foreign=tally.foreign,
            echo=tally.echo,
            exceptions=tally.exceptions,
            units={unit: not known.silent for unit, known in tally.units.items() if unit},
        )

    def ask(self, request: Request, /) -> Future[bytes]:
        return self._bus.ask(request) if self._bus is not None else failed(LineDown(self.away))

    # For a scan

    @property
    def settings(self) -> Settings:
        return Settings(self.config.baudrate, self.config.format)

    @contextmanager
    def unnoticed(self) -> Iterator[None]:
        known = set(self._tally.units)
        try:
            yield
        finally:
            self._tally.forget_the_absent(known)

    @asynccontextmanager
    async def elsewhere(self, settings: Settings, /) -> AsyncIterator[Transactor]:
        """With a tally of its own: what goes wrong with wrong settings says nothing about the line."""
        config, tally = self.config.model_copy(update={**settings._asdict(), "retries": 0}), Tally()
        async with opened(config, tally) as line:
            bus = self._asking_on(line, config, tally)
            try:
                yield bus
            finally:
                bus.close(LineDown("the line was let go of"))

    def status(self) -> PartStatus:
        record = self._tally.status(self.config)
        return {
            **record,
            "reason": (self._recent.diagnosis() if self._bus is not None else "") or record["reason"],
            "role": "client",
            "queue": self._bus.queue if self._bus is not None else 0,
            "busy_pct": self._occupancy.percent(),
        }
