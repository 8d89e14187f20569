"""role = "server": a master on this line asks, and links or other ports answer; its keys, and the port."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..contracts import Traced, Transactor
from ..errors import LineDown
from ..flow import Fan
from ..settings import Need, PortConfig
from ..status import Life, PartStatus
from ..values import Duration, Fault
from ._asked import Hearing, Station, Terms
from ._line import opened
from ._tally import Occupancy, Tally
from ._units import Target, line_faults, needs, ranges, target_faults


class ServerConfig(PortConfig):
    """The keys of every mode in which a master on the line asks us."""

    hearing: ClassVar[Hearing]
    answer_within: Annotated[Duration, Field(gt=0)] = 0.9
    when_away: Literal["exception", "silence"] = "exception"
    units: Annotated[
        dict[str, str | Target], Field(description='"1-31" = "PORT", or { port = "PORT", first = 1 }')
    ] = Field(default_factory=dict)
    echo: bool = False

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        yield from line_faults(self.units)
        yield from target_faults(self.units)

    def needs(self) -> Iterator[Need]:
        yield from needs(self.units)

    def answered(self) -> Iterator[tuple[str, range]]:
        yield from ranges(self.units)

    @property
    def shape(self) -> object:
        return super().shape, self.units

    @property
    def terms(self) -> Terms:
        raise AssertionError(f"{self.mode} has no terms")


class Server:
    """An Asking: what is attached outlives its sessions, each of which is one open line."""

    def __init__(self, config: ServerConfig, targets: Mapping[int, Transactor]) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self.away = "the port is not open yet"
        self._targets = dict(targets)
        self._tally = Tally()
        self._occupancy = Occupancy(asyncio.get_running_loop().time)
        self._station: Station | None = None

    @contextmanager
    def answered_by(self, target: Transactor, units: Collection[int], /) -> Iterator[None]:
        self._targets |= dict.fromkeys(units, target)
        try:
            yield
        finally:
            for unit in units:
                if self._targets.get(unit) is target:
                    del self._targets[unit]

    async def session(self, life: Life, /) -> Never:
        config = self.config
        try:
            async with opened(config, self._tally) as line:
                station = self._station = Station(
                    line,
                    config.hearing.listening_for(self._targets, self._tally),
                    config.terms,
                    self._targets,
                    self._tally,
                    self._occupancy,
                    self.trace,
                )
                line.sink = station.received
                self.away = "the port was closed"
                life.up(state="open")
                await asyncio.get_running_loop().create_future()
                raise AssertionError  # only cancellation ends that
        except LineDown as down:
            self.away = str(down)
            raise
        finally:
            if self._station is not None:
                self._station.close()
                self._station = None

    def status(self) -> PartStatus:
        return {
            **self._tally.status(self.config),
            "role": "server",
            "queue": self._station.queue if self._station is not None else 0,
            "busy_pct": self._occupancy.percent(),
        }
