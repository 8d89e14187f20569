"""How a link can die: the cases, the config that has a link for each of them, what came out, as a table.

Every case has a TCP port of its own, and by that its link, its peer and its wire.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, product
from typing import NamedTuple

from system_kit import modbus_port, raw_port, table
from wires_kit import FAR, FAR_TOO, GATEWAY, GATEWAY_TOO, VICTIM

RECONNECT = {"first": "200ms", "max": "2s", "stable": "1s"}
LONGEST_WAIT = 2.0  # seconds: its `max`
PERIOD = 0.5  # seconds between two words of a peer that talks
AT_ONCE = 1.0  # seconds for what the kernel tells in milliseconds, on a busy machine
ON_THE_CLOCK = 0.1  # seconds that a report may be earlier than the moment when the cut was known
ON_THE_WAY = 1.0  # seconds that a SYN may be late by: the kernel repeats a lost one so often


class Kind(StrEnum):
    TCP_CONNECT = "tcp connect"
    TCP_HEARTBEAT = "tcp, heartbeat"
    TCP_LISTEN = "tcp listen"
    MODBUS_LISTEN = "modbus-server listen"
    MQTT_CONNECT = "mqtt connect"

    @property
    def dials(self) -> bool:
        return self in (Kind.TCP_CONNECT, Kind.TCP_HEARTBEAT, Kind.MQTT_CONNECT)

    @property
    def asks(self) -> bool:
        """It says something by itself, often enough to know in time that the peer does not hear it."""
        return self in (Kind.TCP_HEARTBEAT, Kind.MQTT_CONNECT)


class Traffic(StrEnum):
    """Around the cut. A late write of ours comes after it, shortly before the bound if it can be chosen."""

    IDLE = "idle"
    LATE = "one late write"
    STEADY = "steady"
    PEER = "peer sends only"


class Death(StrEnum):
    BOTH = "cut both ways"
    OURS = "ours lost"
    THEIRS = "theirs lost"
    POWER = "peer power-cycled"
    MAPPING = "NAT mapping gone"
    ADDRESS = "address removed"
    CONNECT = "black-holed connect"


@dataclass(frozen=True)
class Case:
    kind: Kind
    bound: int  # detect_within, seconds
    traffic: Traffic
    death: Death | None  # None: its wire stays as it is
    port: int

    @property
    def name(self) -> str:
        """Of its link."""
        return f"case{self.port}"

    @property
    def gateway(self) -> str:
        return GATEWAY_TOO if self.death is Death.ADDRESS else GATEWAY

    @property
    def far(self) -> str:
        match self.death:
            case Death.ADDRESS:
                return FAR_TOO
            case Death.POWER:
                return VICTIM
        return FAR

    @property
    def line(self) -> str:
        """The serial port of its link. A late write has a line of its own, to come when it will."""
        if self.kind is Kind.MODBUS_LISTEN:
            return "deaf" if self.traffic is Traffic.LATE else "bus"
        if self.traffic is Traffic.LATE:
            return f"late{self.port}"
        return "steady" if self.traffic is Traffic.STEADY else "quiet"

    @property
    def may_take(self) -> float:
        """Seconds from the cut to the report."""
        if self.death is Death.CONNECT:
            return self.bound + 1.5  # the first try comes at any moment of the first second
        if self.death is Death.ADDRESS:
            return AT_ONCE
        if self.hears_a_deaf_peer:
            return self.bound + 2 * PERIOD
        return self.bound

    @property
    def hears_a_deaf_peer(self) -> bool:
        """The documented exception: what we send is lost, what the peer says comes, and we may not ask."""
        return not self.kind.asks and (self.traffic, self.death) == (Traffic.PEER, Death.OURS)


def every_case(bounds: Iterable[int]) -> list[Case]:
    ports = count(10_000)
    dying = (death for death in Death if death is not Death.CONNECT)
    cases = [
        Case(kind, bound, traffic, death, next(ports))
        for kind, death, bound, traffic in product(Kind, list(dying), bounds, Traffic)
    ]
    refused = [
        Case(kind, bound, Traffic.IDLE, Death.CONNECT, next(ports))
        for kind, bound in product(Kind, bounds)
        if kind.dials
    ]
    return cases + refused


def config(cases: Iterable[Case], ttys: dict[str, str]) -> str:
    """`ttys` by the name of the port."""
    buses = {"bus": {}, "deaf": {"response_timeout": "1s"}}
    return (
        table("defaults.links", reconnect=RECONNECT)
        + "".join(modbus_port(name, ttys[name], **keys) for name, keys in buses.items())
        + "".join(raw_port(name, tty) for name, tty in ttys.items() if name not in buses)
        + "".join(_link(case) for case in cases)
    )


def _link(case: Case) -> str:
    path, liveness = f"links.{case.name}", {"detect_within": f"{case.bound}s"}
    listen, connect = f"0.0.0.0:{case.port}", f"{case.far}:{case.port}"
    match case.kind:
        case Kind.TCP_CONNECT:
            return table(path, kind="tcp", connect=connect, port=case.line, liveness=liveness)
        case Kind.TCP_HEARTBEAT:
            beat = {"heartbeat": {"text": "PING", "every": f"{case.bound / 4:g}s"}}
            return table(path, kind="tcp", connect=connect, port=case.line, liveness=liveness, **beat)
        case Kind.TCP_LISTEN:
            return table(path, kind="tcp", listen=listen, port=case.line, liveness=liveness)
        case Kind.MODBUS_LISTEN:
            return table(path, kind="modbus-server", listen=listen, port=case.line, liveness=liveness)
        case Kind.MQTT_CONNECT:
            tx = ["quiet"] if case.traffic is Traffic.PEER else []
            keys = {"connect": f"mqtt://{connect}", "ports": [case.line], "allow_tx": tx}
            return table(path, kind="mqtt", prefix="lab", liveness=liveness, **keys)


class Found(NamedTuple):
    """A death, as the status reported it."""

    after: float  # seconds from the cut
    reason: str
    silence: float | None  # seconds that it says were without a proof of life


class Outcome(NamedTuple):
    """None: it did not happen while somebody looked."""

    case: Case
    found: Found | None
    back: float | None  # seconds until it was up again, from the wire's return or, if later, from the report

    def faults(self, reasons: str) -> Iterator[str]:
        """`reasons`: a regular expression for the right kind."""
        case, found, back = self
        if found is None:
            yield "never found"
            return
        if found.after < -ON_THE_CLOCK:
            yield "it died before"
        if found.after > case.may_take:
            yield f"found too late, {case.may_take:g} s are allowed"
        if not re.search(reasons, found.reason):
            yield f"the reason is not /{reasons}/"
        if found.silence is None and case.kind.dials and "no round trip" in found.reason:
            yield "it does not say how long it had been silent"
        if back is None:
            yield "never up again"
        elif back > LONGEST_WAIT + ON_THE_WAY:
            yield f"up again too late, {LONGEST_WAIT + ON_THE_WAY:g} s are allowed"


def as_table(outcomes: Iterable[Outcome], reasons: str = "") -> str:
    rows = [f"{'link':21}{'T':>3}  {'traffic':16}{'death':20}{'found':>6}{'back':>6}  reason"]
    for outcome in outcomes:
        case, found = outcome.case, outcome.found
        row = f"{case.kind:21}{case.bound:3}  {case.traffic:16}{case.death or '':20}"
        row += f"{'-' if found is None else format(found.after, '.2f'):>6}"
        row += f"{'-' if outcome.back is None else format(outcome.back, '.2f'):>6}"
        row += f"  {'' if found is None else found.reason}"
        faults = list(outcome.faults(reasons))
        rows.append(row + (f"   <-- {'; '.join(faults)}" if faults else ""))
    return "\n".join(rows)
