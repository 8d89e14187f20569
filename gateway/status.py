"""The records that `gatewayctl` shows (TypedDict: the JSON is the type), and Life, the diary of one
supervised part.

Nothing here is ever read by the logic. Each part builds its own record; `site` puts name and Life around it.
Times are RFC 3339 UTC; what ends in _s is seconds, _ms milliseconds, _bytes bytes.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypedDict

from .errors import Down


class Rs485Status(TypedDict):
    """The RS-485 mode that the driver of a tty gives back, not what was asked for."""

    rts_on_send: bool
    rts_after_send: bool
    rx_during_tx: bool
    delay_before_ms: int
    delay_after_ms: int


_Breaks = TypedDict("_Breaks", {"break": int | None})  # a keyword cannot be a field below


class Errors(_Breaks):
    """What went wrong on one line.

    The last three and `break` are the driver's own counters; None where it does not count.
    """

    timeout: int
    crc: int
    short: int
    late: int
    foreign: int
    echo: int
    exceptions: int
    overrun: int | None
    framing: int | None
    parity: int | None


class Latency(TypedDict):
    p50: float
    p99: float


class UnitStatus(TypedDict):
    """One Modbus unit of a port.

    `latency_ms` is from the request's last byte to the answer's last; None before any.
    """

    state: Literal["ok", "silent"]
    requests: int
    answers: int
    timeouts: int
    late: int
    latency_ms: Latency | None


class Keepalive(TypedDict):
    """What getsockopt gives back, not what was asked for."""

    idle_s: int
    interval_s: int
    count: int
    user_timeout_ms: int


class PeerStatus(TypedDict):
    """One connection, or one source of datagrams, which has neither proofs nor timers: they are None.

    So is what the kernel does not tell.
    """

    address: str
    since: str
    rx_bytes: int
    tx_bytes: int
    requests: int
    silent_s: float
    proof_age_s: float | None  # None: the kernel is too old to tell, and keeps the bound by its own timers
    detect_within_s: float | None  # longer than asked for where the path is too slow
    rtt_ms: float | None
    rto_ms: float | None
    retransmits: int | None
    unacked_bytes: int | None
    keepalive: Keepalive | None


class DatagramsStatus(TypedDict):
    """Of a link that speaks UDP: those that were not asked, or not answered, and why."""

    malformed: int  # no request, or not exactly one
    repeated: int  # in work, or written and answered already
    dropped: int  # too many of one source wait, or the kernel did not take the answer


class BufferStatus(TypedDict):
    records: int
    bytes: int
    oldest_age_s: float | None
    age_s: float  # what is older is dropped
    dropped: int
    capacity_bytes: int
    fills_in_s: int | None  # at the present rate, with the far end away; None while nothing comes
    drain_eta_s: int | None  # None: it does not grow less
    durability: str
    trouble: str | None  # why records stay in memory that should not


class KeptStatus(BufferStatus):
    """A buffer, and whose it is: `gatewayctl --json buffer`."""

    link: str
    kind: str  # of the link; "refused": what its far end would not take
    configured: bool  # or it is kept until it is cleared
    written_today_bytes: int | None  # to the disk, since midnight UTC; None where the kernel does not count


class Death(TypedDict):
    at: str
    reason: str
    detected_after_s: float | None  # since the last proof of life; None when the far end said goodbye
    unacked_bytes: int | None  # written and not acknowledged by then


class WayStatus(TypedDict):
    """What one of two joined lines said."""

    bytes: int  # that the other line has taken
    dropped_bytes: int  # because the other line was away
    waiting_bytes: int  # for the other line, which is slower


class TapStatus(TypedDict):
    """Of clients that look on."""

    missed_bytes: int  # because they were behind
    ignored_bytes: int  # that they sent


class CommandStatus(TypedDict):
    """What came down for devices."""

    done: int
    refused: int  # or not done as a whole
    repeated: int  # by their id; told the outcome of the first once more


class LifeStatus(TypedDict):
    """What supervision knows of every part."""

    state: str
    since: str
    reason: str
    next_try_s: float | None
    attempts: int
    reconnects: int
    deaths: int
    last_death: Death | None


class PartStatus(TypedDict, total=False):
    """What a part adds to its life's record. A port, a link and a device each fill their own half of it."""

    # ports
    reason: str  # what the counters mean, told while supervision has nothing to say
    mode: str
    role: str | None  # None where a mode has no roles
    tty: str
    line: str
    configured: str  # the line, while a client has set it otherwise
    flow: str  # then
    real_baudrate: int | None  # of the driver; None while it is not open, or where the driver does not tell
    rs485: Rs485Status | None  # None while it is not open, or the driver has no such mode on
    rx_bytes: int
    tx_bytes: int
    rx_frames: int
    tx_frames: int
    dropped_bytes: int
    queue: int  # requests; of a raw port, bytes that its line has not taken yet
    busy_pct: float | None
    errors: "Errors | int"  # a device's are counted in one number
    units: dict[str, UnitStatus]
    # links
    kind: str
    direction: Literal["listen", "connect"]
    port: str
    ports: list[str]
    devices: list[str]
    endpoint: str
    detect_within_s: float | None  # None: it has no connections
    peers: list[PeerStatus]
    refused: int  # clients for whom there was no place; of a link that connects, what it could not deliver
    readers: int  # clients that look on
    not_allowed: int  # connections from addresses that are not in `allow`
    denied: int  # requests that `access` or `clients` does not permit
    datagrams: DatagramsStatus
    buffer: BufferStatus
    sent: int
    confirmed: int
    commands: CommandStatus
    alive: int  # as it stands in its register
    tap: TapStatus
    ways: dict[str, WayStatus]  # of joined lines, by the port that said it
    # devices
    unit_id: int
    polls: int
    # devices, and ports with values
    present: str
    last_good: str | None
    values: dict[str, object]


class GatewayStatus(TypedDict):
    name: str
    version: str
    pid: int
    uptime_s: float
    config: str
    config_loaded_at: str
    config_problems: list[str]
    state: Literal["ok", "degraded"]


class Record(TypedDict):
    """The whole answer to `gatewayctl --json status`."""

    gateway: GatewayStatus
    ports: dict[str, dict[str, object]]
    links: dict[str, dict[str, object]]
    devices: dict[str, dict[str, object]]


def timestamp(wall: float) -> str:
    """`wall` (seconds since the epoch) as RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_AWAY = frozenset({"waiting", "connecting"})  # one state to whoever asks since when
_TOLD_EVERY = 60.0  # seconds between two lines of the log about one absence
_BLINK = 1.0  # seconds: who was up for less was not back, or a flapping line would fill the log
log = logging.getLogger(__name__)


class Life:
    """The diary of one supervised part: `supervise()` and the session write it, status and the log tell it.

    The log has a line for each loss and each return, and one a minute in between. `trying` is the word for a
    session that is not up yet. `now` is the loop's clock, `wall` the time of day; both in seconds.
    """

    def __init__(self, name: str, trying: str, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.name, self.trying, self._now, self._wall = name, trying, now, wall
        self.state, self.reason = "closed", ""
        self._since = wall()
        self._next_try: float | None = None
        self.up_since: float | None = None  # loop time; None while it is not up
        self.attempts = self.reconnects = self.deaths = 0
        self._last_death: Death | None = None
        self._away_since = now()  # loop time
        self._told: float | None = None  # loop time of the last line about this absence; None: none yet
        self._told_up = False  # the last line says that it is up

    def begin(self) -> None:
        """Supervision starts, perhaps after one that was cancelled while the part was up."""
        self.up_since = self._told = None
        self._told_up = False
        self._away_since = self._now()
        self.label(self.trying)

    def up(self, reason: str = "", state: str = "up") -> None:
        """Said by the session once the far end really answers: CONNACK, accepted, bound, opened."""
        self.reconnects += self.deaths > 0
        self.up_since = self._now()
        self.label(state, reason)
        if not self._told_up and state != self.trying:
            self._tell_up()

    def _tell_up(self) -> None:
        self._told_up = True
        if self._told is None:
            log.info("%s: %s", self.name, self.state)
        else:
            again = " again" if self.deaths else ""
            log.info("%s: %s%s after %.1f s", self.name, self.state, again, self._now() - self._away_since)

    def waits(self, reason: str, delay: float) -> None:
        """A try has failed, or a session was lost; the next begins in `delay` seconds."""
        now = self._now()
        self.label("waiting", reason, now + delay)
        if self._told is None:
            log.warning("%s: %s; next try in %.1f s", self.name, reason, delay)
        elif now - self._told >= _TOLD_EVERY:
            away = now - self._away_since
            again = "%s: %s; away for %.0f s; next try in %.1f s"
            log.warning(again, self.name, reason, away, delay, extra={"repeats": self.name})
        else:
            return
        self._told, self._told_up = now, False

    def label(self, state: str, reason: str = "", next_try: float | None = None) -> None:
        if state != self.state and not {state, self.state} <= _AWAY:
            self._since = self._wall()
        self.state, self.reason, self._next_try = state, reason, next_try

    def died(self, down: Down) -> float:
        """It was up and is not any more. Returns for how long it was, in seconds."""
        assert self.up_since is not None
        now = self._now()
        lived = now - self.up_since
        if lived >= _BLINK or self._told is None:
            self._away_since, self._told = now, None
        self.up_since = None
        self.deaths += 1
        self.attempts = 0
        self._last_death = {
            "at": timestamp(self._wall()),
            "reason": str(down),
            "detected_after_s": None if down.detected_after is None else round(down.detected_after, 3),
            "unacked_bytes": down.unacked,
        }
        return lived

    def rests(self) -> None:
        """It was up, and its far end is not needed for now: nothing was lost."""
        self.up_since = None
        self.attempts = 0
        self.label(self.trying)

    def status(self) -> LifeStatus:
        wait = None if self._next_try is None else round(max(0.0, self._next_try - self._now()), 1)
        return {
            "state": self.state,
            "since": timestamp(self._since),
            "reason": self.reason,
            "next_try_s": wait,
            "attempts": self.attempts,
            "reconnects": self.reconnects,
            "deaths": self.deaths,
            "last_death": self._last_death,
        }
