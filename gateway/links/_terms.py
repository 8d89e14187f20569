"""What passes between the mqtt link and its connection, and what its end means: in terms of MQTT and of
technicians, not of paho.

Must not import paho: the link is configured, and says what is wrong with its files, without that.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..buffer import Record
from ..errors import LinkDown
from ..host import tls
from ..policy.liveness import Bounds, profile

Pairs = tuple[tuple[str, str], ...]


class Publication(NamedTuple):
    """`properties` are MQTT 5 user properties, `correlation` says whose answer it is (b"": nobody's); 3.1.1
    has no room for them.
    """

    topic: str
    payload: bytes
    retain: bool = False
    properties: Pairs = ()
    correlation: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """How to begin. `path` makes it a websocket, `tls` encrypts it. Seconds."""

    host: str
    port: int
    path: str
    tls: tls.Context | None
    version: Literal["5", "3.1.1"]
    client_id: str
    username: str | None
    password: str | None = field(repr=False)
    will: Publication
    bounds: Bounds

    @property
    def keepalive(self) -> int:
        """Seconds after which the broker may hold us for dead, times 1.5; we ask more often."""
        return max(5, int(self.bounds.detect_within / 2))

    @property
    def timeout(self) -> float:
        """Seconds for the handshakes, and again for CONNACK."""
        return profile(self.bounds).connect_timeout


class Limits(NamedTuple):
    """What the broker takes, as it said in CONNACK (MQTT 5.0, 3.2.2.3)."""

    in_flight: int = 65535
    packet: int = 268_435_460  # bytes
    qos: int = 1
    retain: bool = True


class Ack(NamedTuple):
    """The broker's answer to PUBLISH or SUBSCRIBE. `words` says why not."""

    code: int
    words: str = ""

    @property
    def refused(self) -> bool:
        return self.code >= 0x80


NOT_AUTHORIZED, TOO_LARGE, QUOTA_EXCEEDED = 0x87, 0x95, 0x97
OBJECTIONS = frozenset({0x80, 0x81, 0x82, 0x83, NOT_AUTHORIZED, 0x90, TOO_LARGE, 0x99})  # to what was sent
TAKEN = Ack(0)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What came down. `expires` is loop time; `repeated` is the DUP flag.

    `answer_to` is MQTT 5's response topic, `correlation` its correlation data; both are empty where there is
    none.
    """

    topic: str
    payload: bytes
    retained: bool
    repeated: bool
    expires: float
    qos: int
    mid: int
    answer_to: str
    correlation: bytes


class Reply(NamedTuple):
    """To whom the outcome of a command goes, and what of the command it repeats.

    `topic` is "" for the one that is always there. `repeated`: the command has been known before.
    """

    device: str
    id: str | int | None
    topic: str
    correlation: bytes
    repeated: bool = False


_SLOW = 60.0  # seconds
_NEEDS_SOMEBODY = (  # trying again soon makes it only worse
    {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}  # version, client id, password, not authorized, banned, method
    | {0x98, 0x9A, 0x9B, 0x9C, 0x9D}  # administrative, no retain, no QoS 1, go elsewhere
)
_TAKEN_OVER = 0x8E
_PLAIN = {  # MQTT 5.0, 2.4; the names of the others are plain enough
    0x80: "no reason given",
    0x84: 'it does not speak this version of MQTT: try version = "3.1.1"',
    0x85: "client id not allowed",
    _TAKEN_OVER: "another client with the same client_id has connected",
    0x9A: "it keeps no retained messages",
    0x9B: "it does not offer QoS 1",
}


def words(code: int, name: str, *said: str) -> str:
    """`name` is the standard's, `said` what the broker adds in text of its own."""
    return _PLAIN.get(code, name.lower()) + "".join(f" ({text[:100]})" for text in said if text)


class TakenOver(LinkDown):
    """Another client came with our client_id, and the broker serves only one (MQTT 5.0, 3.1.4-3)."""


def down(what: str, code: int, reason: str) -> LinkDown:
    if code == _TAKEN_OVER:
        return TakenOver(f"{what}: {reason}")
    return LinkDown(f"{what}: {reason}", wait_at_least=_SLOW if code in _NEEDS_SOMEBODY else 0.0)


def no_mqtt(version: str) -> LinkDown:
    """A CONNACK that nobody understands; paho keeps that of 3.1.1 brokers which want another version, too."""
    return LinkDown(f"what answers there does not accept MQTT {version}", wait_at_least=_SLOW)


_SOON = 30.0  # seconds


class Rivalry:
    """Two clients with one client_id throw each other out of the broker, for as long as both come back.

    Once is a handover and tried again as ever; twice within 30 s needs somebody who gives each its own.
    """

    def __init__(self) -> None:
        self._lost = 0  # sessions, since there was one that lasted 30 s

    def judged(self, down: LinkDown, lived: float, hung_up: bool, client_id: str) -> LinkDown:
        """What a session ended with that was up for `lived` seconds, or what must be behind it.

        A broker may name the other client, but under 3.1.1 it can only hang up on us, and mosquitto before
        2.0.15 does nothing else under 5. It may have other reasons for that: so only short sessions count,
        and we ask.
        """
        if lived >= _SOON:
            self._lost = 0
        told = isinstance(down, TakenOver)
        self._lost += told or (hung_up and lived < _SOON)
        if self._lost < 2 or not (told or hung_up):
            return down
        named = f'another client uses our client_id "{client_id}": give each its own'
        asked = f'{down} again and again: does another client use our client_id "{client_id}"?'
        return LinkDown(
            named if told else asked,
            wait_at_least=_SLOW,
            detected_after=down.detected_after,
            unacked=down.unacked,
        )


_RIGHT_AFTER = 5.0  # seconds
_CUTS = 3  # in a row, at one record


class Suspects:
    """A broker that has no word for a record that it does not want hangs up on it: on which one?

    Much is under way when it does so; the next time that goes one by one.
    """

    def __init__(self) -> None:
        self.one_by_one = 0  # so many of the next records to be confirmed
        self._suspect = "", 0  # stream and seq: numbers may change
        self._cuts = 0

    def blamed(self, down: LinkDown, under_way: Sequence[Record | None], since: float) -> LinkDown | None:
        """The broker ended a session `since` seconds after the first of what was not acknowledged had left.

        None is what is no record. Returns what to say once it is likely that the first of them did it: it was
        sent alone for that reason, or it is the second time in a row.
        """
        records = [record for record in under_way if record]
        if len(under_way) > 1:
            self.one_by_one = len(records)
        first = under_way[0] if under_way else None
        if first is None or since > _RIGHT_AFTER:  # so it may have had other reasons before, too
            self._cuts = self._cuts if self._cuts >= _CUTS else 0
            return None
        suspect = first.stream, first.seq
        self._cuts = self._cuts + 1 if suspect == self._suspect else 1
        self._suspect = suspect
        if self._cuts < 2 and (len(under_way) > 1 or not self.one_by_one):
            return None
        return LinkDown(
            f"{down} right after {_told(first)}", detected_after=down.detected_after, unacked=down.unacked
        )

    def condemned(self, record: Record) -> str:
        """Why this one is not to be sent again; empty when it may."""
        if self._cuts < _CUTS or (record.stream, record.seq) != self._suspect:
            return ""
        return f"{self._cuts} connections ended right after {_told(record)}; set aside"


@dataclass(eq=False)
class Memory:
    """What outlives the sessions of a link."""

    counts: Counter[str] = field(default_factory=Counter)  # "sent", "confirmed", "refused"
    refused: set[str] = field(default_factory=set)  # streams
    suspects: Suspects = field(default_factory=Suspects)


def _told(record: Record) -> str:
    return f"record {record.seq} of {record.stream} ({len(record.payload)} bytes)"
