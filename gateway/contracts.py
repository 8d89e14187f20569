"""What parts promise one another: Stream, Tunable, Transactor, Asking, Sampled, Settable, and the Part that
all of them are. Nothing else crosses a folder.

Two kinds of traffic cross the gateway and must not be confused. A *stream* (raw bytes, frames, samples) owes
nobody an answer and is kept while its far end is away. A *transaction* owes exactly one answer to one asker,
and late it is poison.
"""

from asyncio import Future, get_running_loop
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
from typing import Any, NamedTuple, Never, Protocol, runtime_checkable

from .errors import GatewayError
from .flow import Fan
from .status import Life, PartStatus
from .wire.own_registers import Counts
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


@runtime_checkable
class Asking(Protocol):
    """A line whose master asks us: the mirror of a Transactor.

    Inside the block its requests for these unit ids go to `target`, whose answers go to the line, if they
    come in time; broadcasts go to every target, for unit 0. Nobody else may stand for one of these.
    """

    def answered_by(self, target: Transactor, units: Collection[int], /) -> AbstractContextManager[None]: ...


@runtime_checkable
class Counted(Protocol):
    """A serial line that tells what it has counted, for whoever watches it by Modbus."""

    def counts(self) -> Counts: ...


class Settings(NamedTuple):
    """Of a serial line."""

    baudrate: int
    format: str

    def __str__(self) -> str:
        return f"{self.baudrate} {self.format}"


@runtime_checkable
class Scannable(Transactor, Protocol):
    """A serial line on which we ask, as `gatewayctl scan` needs it."""

    @property
    def settings(self) -> Settings:
        """Its own."""

    def unnoticed(self) -> AbstractContextManager[None]:
        """Units that are asked for the first time meanwhile, and do not answer, are forgotten after it."""

    def elsewhere(self, settings: Settings, /) -> AbstractAsyncContextManager[Transactor]:
        """The same tty with other settings, for the caller alone, while no session has it. LineDown."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One unit of raw serial data, or one sample of a device.

    Its len() is the payload's, for the bounds of taps.
    """

    at: float  # wall time of the first byte, seconds since the epoch
    data: bytes

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Traced:
    """One line of `gatewayctl trace`."""

    at: float  # wall time, seconds since the epoch
    way: str  # "rx" from the line or the far end, "tx" to it
    data: bytes
    text: str  # peer, topic, or what the bytes mean

    def __len__(self) -> int:
        return len(self.data) + len(self.text)


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
    def trace(self) -> Fan[Traced]:
        """Both ways, in their order on the wire; whoever taps it never makes the line wait."""

    @property
    def presence(self) -> Fan[bytes]:
        """`b"online"` when the line opens, `b"offline"` when it is away, or away for another reason."""

    @property
    def away(self) -> str:
        """Why the line is; "" while it is open."""

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


class ModemLines(NamedTuple):
    """The lines that come from the device."""

    cts: bool = False
    dsr: bool = False
    ri: bool = False
    cd: bool = False


class LineFaults(NamedTuple):
    """What the driver has counted on the line since it was opened."""

    framing: int = 0
    overrun: int = 0
    parity: int = 0
    breaks: int = 0


class Tuning(Protocol):
    """A serial line in the hands of one client: nothing that it asks for raises.

    With the line away settings stay as they are; those made before count again when it is back.
    """

    def taken(self) -> AbstractContextManager[None]:
        """Inside the block the line is the caller's to set; behind it all is as configured again.

        Busy when somebody else has it.
        """

    @property
    def settings(self) -> Settings:
        """The present ones, as the driver says."""

    @property
    def flow(self) -> str:
        """As the config file writes it."""

    def set(self, *, baudrate: int = 0, format: str = "", flow: str = "") -> None:
        """What is given. What the line cannot have stays as it was."""

    @property
    def dtr(self) -> bool: ...

    @property
    def rts(self) -> bool: ...

    def signal(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Our own modem lines; None leaves one alone. RTS is the driver's while `flow` is "rts-cts"."""

    @property
    def breaking(self) -> bool:
        """The line is held in break."""

    def send_break(self, on: bool, /) -> None: ...

    @property
    def modem(self) -> ModemLines | None:
        """None: the tty has none, or is away."""

    @property
    def faults(self) -> LineFaults:
        """Zeros where the driver does not count."""

    @property
    def unsent(self) -> float:
        """Characters that have not left the wire."""

    def purge(self, *, received: bool = False, unsent: bool = False) -> None:
        """Throws away what was received and not read yet, and what is not on the wire yet."""


@runtime_checkable
class Tunable(Stream, Protocol):
    """A line that a client may set for as long as he is there."""

    @property
    def tuning(self) -> Tuning: ...


class Reading(NamedTuple):
    """One value of a device, and which of its polls brought it, counted from 1."""

    value: Value
    poll: int


@runtime_checkable
class Sampled(Protocol):
    """A polled device, or a port whose frames have values in them, each of which counts as a poll.

    A sample is a JSON object {"values": {...}, "errors": {...}}, one for each poll.
    """

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


@runtime_checkable
class Measuring(Protocol):
    """A port that picks values from its frames, if it is told to."""

    @property
    def values(self) -> Sampled: ...


COMMAND_KEYS = frozenset({"id", "expires"})
"""What a command may say beside its points: no point that can be written is called so."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a command. `error` is one sentence, "" when all of it was done.

    `values` are the points that were written, as their registers hold them now; `errors` the others, and why:
    not written, or written perhaps, where the device gave no answer.
    """

    error: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Settable(Protocol):
    """A device that takes commands, if points of it are `writable`."""

    @property
    def writable(self) -> Collection[str]:
        """The names of the points that may be written; they may be others after a reload."""

    def write(self, values: Mapping[str, object], expires: float = inf, /) -> Future[Outcome]:
        """One command: these points get these values, in this order.

        All of it is checked before any of it reaches the wire; then one write follows the other, up to the
        first that fails. Commands of a device are carried out in the order of the calls. Nothing is written
        that has not begun by `expires`, in loop time.
        It never raises and never waits, and has exactly one outcome; who leaves does not undo it, so wait for
        it by `asyncio.wait`, which cancels nothing.
        """


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


@runtime_checkable
class Closable(Protocol):
    """A port that can be kept closed: `away` is what whoever needs it is told meanwhile."""

    away: str


def failed(error: GatewayError) -> Future[bytes]:
    """An answer that is already known to be none."""
    answer: Future[bytes] = get_running_loop().create_future()
    answer.set_exception(error)
    return answer
