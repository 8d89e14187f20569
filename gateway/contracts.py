"""What parts promise one another: Stream, Transactor, Sampled, and the Part that all of them are. Nothing
else crosses a folder.

Two kinds of traffic cross the gateway and must not be confused. A *stream* (raw bytes, frames, samples) owes
nobody an answer and is kept while its far end is away. A *transaction* owes exactly one answer to one asker,
and late it is poison.
"""

from asyncio import Future, get_running_loop
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Never, Protocol, runtime_checkable

from .errors import GatewayError
from .flow import Fan
from .status import Life, PartStatus
from .wire.points import Value


class Rank(IntEnum):
    """Order of service on a bus; `policy.fairness` sees to it that none starves."""

    WRITE = 0
    READ = 1
    POLL = 2


class Asker(NamedTuple):
    """Who asks, for fairness: round robin per host, then per connection. Pollers are host "device"."""

    host: str
    connection: int


class Request(NamedTuple):
    """One Modbus request: `pdu` is function code and data, at most 253 bytes."""

    unit: int
    pdu: bytes
    asker: Asker
    rank: Rank = Rank.READ


@runtime_checkable
class Transactor(Protocol):
    """Answers requests: exactly one outcome per call, a PDU (a Modbus exception is one) or a GatewayError.

    `b""` is the answer to a broadcast. `ask` never raises and never waits: "no such line" comes through the
    future too. Cancelling the future withdraws the request: if it was not on the wire yet, it never gets
    there; if it was, the exchange is finished and its answer thrown away. It costs no task: await it or give
    it a done callback.
    """

    def ask(self, request: Request, /) -> Future[bytes]: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One unit of raw serial data, or one sample of a device.

    Its len() is the payload's, for the bounds of taps.
    """

    at: float  # wall time of the first byte, seconds since the epoch
    data: bytes

    def __len__(self) -> int:
        return len(self.data)


@runtime_checkable
class Stream(Protocol):
    """Raw bytes both ways. Both fans are fed by one read of the line."""

    @property
    def chunks(self) -> Fan[bytes]:
        """Bytes as they were read, at once."""

    @property
    def frames(self) -> Fan[Frame]:
        """Cut by the port's rule, only while somebody taps them."""

    @property
    def unfinished(self) -> int:
        """How many of the last bytes that came belong to a frame that has not ended; 0 between frames.

        Counted only while somebody taps `frames`, and too many rather than too few until the first one ends.
        """

    @property
    def rate(self) -> float:
        """Bytes a second that the line says at most."""

    def offer(self, data: bytes, /) -> bool:
        """Send all of it at once, or decline because others are in front, it is too long, or the line is
        away.
        """

    async def send(self, data: bytes, /) -> None:
        """Returns when the kernel has taken all of it.

        Calls are served in order and whole. LineDown when away.
        """


class Reading(NamedTuple):
    """One value of a device, and which of its polls brought it, counted from 1."""

    value: Value
    poll: int


@runtime_checkable
class Sampled(Protocol):
    """A polled device. A sample is a JSON object {"values": {...}, "errors": {...}}, one for each poll."""

    @property
    def samples(self) -> Fan[Frame]:
        """All of them."""

    @property
    def frames(self) -> Fan[Frame]:
        """Those of them that are worth publishing, by the device's `publish` rule."""

    @property
    def newest(self) -> Mapping[str, Reading]:
        """Of each point the last value that could be read, be it in an earlier poll.

        A new mapping after each poll.
        """

    @property
    def unread(self) -> Mapping[str, str]:
        """The points of which the last poll brought no value, and why."""

    @property
    def presence(self) -> Fan[bytes]:
        """`b"online"` after the first good read, `b"offline"` when it stops answering."""

    @property
    def present(self) -> bytes:
        """The last of these; `b""` before the first."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One line of `gatewayctl trace`."""

    at: float  # wall time, seconds since the epoch
    way: str  # "rx" from the line or the far end, "tx" to it
    data: bytes
    text: str  # peer, topic, or what the bytes mean

    def __len__(self) -> int:
        return len(self.data) + len(self.text)


class Part(Protocol):
    """A port, a link or a device: something with a name in the config file.

    Made once per name. `config` may be replaced between two sessions (reload): what depends on it is made
    inside `session`, what must outlive it (fans, counters) in the constructor. A session's position is its
    state.
    """

    config: Any  # each part narrows it

    @property
    def trace(self) -> Fan[Traced]: ...

    async def session(self, life: Life, /) -> Never:
        """One life: open, say `life.up()`, serve, and leave by Down or by cancellation; never return."""

    def status(self) -> PartStatus: ...


def failed(error: GatewayError) -> Future[bytes]:
    """An answer that is already known to be none."""
    answer: Future[bytes] = get_running_loop().create_future()
    answer.set_exception(error)
    return answer
