"""What all modes with role = "client" are: their keys, and the port that asks by a mode's framing."""

import asyncio
from asyncio import Future
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Never, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from ..contracts import Part, Request, Traced, Transactor, failed
from ..errors import LineDown
from ..flow import Fan
from ..settings import PortConfig
from ..status import Life, PartStatus
from ..values import Duration
from ._bus import Bus
from ._framing import Framing, Rules
from ._line import opened
from ._tally import Occupancy, Tally


def _role(value: object) -> object:
    match value:
        case "master":
            raise ValueError('a master is called "client" here: we ask the devices on this line')
        case "slave":
            raise ValueError('a slave is called "server" here, and this mode has only role = "client"')
    return value


class ClientConfig(PortConfig):
    """The keys of every mode that asks. A mode adds its own, and says what they mean for its bus."""

    offers: ClassVar[Mapping[str, type]] = {"client": Transactor}
    framing: ClassVar[Framing]
    role: Annotated[Literal["client"], BeforeValidator(_role)] = "client"
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
        return sum(characters) * rules.character + 2 * len(characters) * rules.gap

    def build(self, name: str, /) -> Part:
        return Client(self)


class Client:
    """A Transactor: its bus lives as long as the line is open."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self._tally = Tally()
        self._occupancy = Occupancy(asyncio.get_running_loop().time)
        self._bus: Bus | None = None
        self._away = "the port is not open yet"

    async def session(self, life: Life, /) -> Never:
        config = self.config
        try:
            async with opened(config, self._tally) as line:
                self._bus = Bus(line, config.framing, config.rules, self._tally, self._occupancy, self.trace)
                line.sink = self._bus.received
                self._away = "the port was closed"
                life.up(state="open")
                await asyncio.get_running_loop().create_future()
                raise AssertionError  # only cancellation ends that
        except LineDown as down:
            self._away = str(down)
            raise
        finally:
            if self._bus is not None:
                self._bus.close(LineDown(self._away))
                self._bus = None

    def ask(self, request: Request, /) -> Future[bytes]:
        return self._bus.ask(request) if self._bus is not None else failed(LineDown(self._away))

    def status(self) -> PartStatus:
        return {
            **self._tally.status(self.config),
            "role": self.config.role,
            "queue": self._bus.queue if self._bus is not None else 0,
            "busy_pct": self._occupancy.percent(),
        }
