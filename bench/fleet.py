"""Rows: 10,000 gateways lose their broker for 10 minutes and come back, in simulated time.

The waits are those of `gateway.policy.backoff`. Fixed and doubling waits, which others have, are the same
class with a die that always shows its highest face. A broker that is back accepts by a token bucket and
refuses the rest at once. While it is away the gateways do not meet, so each is played alone until then.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from math import ceil
from random import Random

from gateway.policy.backoff import EARLY_TRY_WITHIN, Backoff
from gateway.policy.liveness import NAMED, Bounds, profile
from gateway.settings import Reconnect

from .table import Effort, Row

FLEET = 10_000
AWAY = 600.0  # seconds
RATE, BURST = 500.0, 50  # connects/s that the broker accepts, and how many at once after a rest
SEED = 1
RECONNECT = Reconnect()
_DETECT_WITHIN = NAMED["default"]
_LIVENESS = profile(Bounds(_DETECT_WITHIN))
_A_DAY = 86_400.0

Policy = Callable[[Random], Backoff]


class Unjittered(Random):
    """Always the longest wait that is allowed."""

    def uniform(self, _a: float, b: float) -> float:
        return b


def ours(random: Random) -> Backoff:
    return Backoff(RECONNECT.first, RECONNECT.max, RECONNECT.stable, random)


def fixed(_random: Random) -> Backoff:
    return Backoff(5.0, 5.0, 0.0, Unjittered())


def doubling(_random: Random) -> Backoff:
    """From 1 s to 60 s; paho's goes to 120 s, pymodbus's to 300 s."""
    return Backoff(1.0, 60.0, 30.0, Unjittered())


POLICIES: dict[str, Policy] = {"ours": ours, "fixed 5 s": fixed, "doubling": doubling}


@dataclass(frozen=True, kw_only=True)
class Outage:
    """How the broker is lost, and what becomes of a try while it is away. Seconds."""

    name: str
    noticed: tuple[float, float]  # after the loss, each gateway at its own moment between these
    knocks: tuple[float, ...] = (0.0,)  # since the start of a try: when its SYNs are sent
    lasts: float = 0.0  # a try that nobody answers; 0 is refused at once
    early: float = 0.0  # the network says that it is back: who waits then tries within this; 0 is no word


_NOTICED_SILENCE = (_DETECT_WITHIN - _LIVENESS.heartbeat, _DETECT_WITHIN)
SILENT = Outage(name="silent loss", noticed=_NOTICED_SILENCE)
# Here nothing answers a try either, and its SYNs are repeated: a quarter of our fleet, which spends 10 of
# every 40 s on a try, is knocking when the broker returns, and whoever knocks is there within two seconds.
BLACK_HOLE = Outage(
    name="black hole",
    noticed=_NOTICED_SILENCE,
    knocks=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0),  # Linux 6.18 with our socket options, measured
    lasts=_LIVENESS.connect_timeout,
)
RESTART = Outage(name="broker restart", noticed=(0.0, 0.05))
CARRIER = Outage(
    name="carrier lost",  # no route: a try fails at once
    noticed=(3.3, 3.95),  # the kernel says so after 0.3 to 0.95 s (measured), a link then has 3 s
    early=EARLY_TRY_WITHIN,
)
OUTAGES = (SILENT, RESTART, BLACK_HOLE, CARRIER)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Times are seconds after the broker's return."""

    tries: float  # of one gateway while the broker was away
    peak: int  # connects in any one second
    refused: int
    back: Sequence[tuple[float, int]]  # when, who; in order

    def until(self, share: float) -> float:
        """When this share of the fleet was back."""
        return self.back[ceil(share * len(self.back)) - 1][0]


class Broker:
    """Back since second 0, its bucket full."""

    def __init__(self) -> None:
        self._tokens, self._filled = float(BURST), 0.0
        self._second = deque[float]()  # the connects of the last one
        self.peak = self.refused = 0

    def accepts(self, now: float) -> bool:
        """Times never go back."""
        self._second.append(now)
        while self._second[0] <= now - 1.0:
            self._second.popleft()
        self.peak = max(self.peak, len(self._second))
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        return True


def simulate(outage: Outage, policy: Policy, fleet: int = FLEET, seed: int = SEED) -> Outcome:
    """The same for the same seed."""
    random = Random(seed)
    waits = [policy(random) for _ in range(fleet)]
    alone = [_alone(outage, backoff, random) for backoff in waits]
    knocks = [(knock, gateway) for gateway, (_, knock) in enumerate(alone)]
    heapify(knocks)
    broker, back = Broker(), list[tuple[float, int]]()
    while knocks:
        now, gateway = knocks[0]
        if broker.accepts(now):
            back.append(heappop(knocks))
        else:
            heapreplace(knocks, (now + waits[gateway].next(), gateway))
    tries = sum(tried for tried, _ in alone) / fleet
    return Outcome(tries=tries, peak=broker.peak, refused=broker.refused, back=back)


def _alone(outage: Outage, backoff: Backoff, random: Random) -> tuple[int, float]:
    """How often one gateway tries while the broker is away, and when it first reaches it after that."""
    backoff.ended(_A_DAY)
    tries = 0
    at = random.uniform(*outage.noticed) - AWAY + backoff.next()
    while at < 0.0:
        tries += 1
        if at + outage.knocks[-1] >= 0.0:  # still knocking when the broker returns
            return tries, min(at + knock for knock in outage.knocks if at + knock >= 0.0)
        at += outage.lasts + backoff.next()
    return tries, min(at, random.uniform(0.0, outage.early)) if outage.early else at


def comeback(_effort: Effort, fleet: int = FLEET) -> Iterator[Row]:
    """Required of ours where a try ends by itself: else many knock already, and no wait can spread those."""
    for outage in OUTAGES:
        for name, policy in POLICIES.items():
            required = policy is ours and outage in (SILENT, RESTART)
            yield from rows(f"{outage.name}, {name}", simulate(outage, policy, fleet), required=required)


def rows(figure: str, outcome: Outcome, *, required: bool) -> Iterator[Row]:
    yield Row(
        figure=f"fleet, {figure}",
        required="0 refused" if required else "",
        measured=f"{outcome.peak} connects/s at most, {outcome.refused} refused",
        ok=outcome.refused == 0 if required else None,
    )
    half, most, everybody = (outcome.until(share) for share in (0.5, 0.99, 1.0))
    yield Row(
        figure="  50 % / 99 % / all back",
        required=f"99 % <= {RECONNECT.max:g} s" if required else "",
        measured=f"{half:.1f} / {most:.1f} / {everybody:.1f} s, {outcome.tries:.0f} tries before",
        ok=most <= RECONNECT.max if required else None,
    )
