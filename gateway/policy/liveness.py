"""One number, `detect_within`, becomes every setting of a socket, and the rule by which its peer is found
dead.

Keep-alive alone covers only an idle link: one unacknowledged byte switches it off and the kernel then retries
for 938 s (measured). TCP_USER_TIMEOUT bounds that case, but a write just before the first probe starts its
clock anew: the real bound is twice as long. So a Pulse looks at the kernel's counters, tick by tick, for
proof that something of ours has arrived over there. The kernel's own timers are the backstop.
"""

from math import floor
from typing import NamedTuple

NAMED = {"lan": 5.0, "default": 20.0, "cellular": 60.0, "satellite": 120.0, "metered": 300.0}  # seconds
_RETRANSMISSIONS = 7  # times the RTO: the first three (r + 2r + 4r) fit, so that loss is not taken for death
_DOUBT = 0.4  # of the bound; a link at rest is proven more often, also at 3 s, where that is each second
_CLOSER = 5  # looks instead of one, in doubt: what they are late by is time that a lost segment does not have
_ROUNDING = 1e-6  # of a step, or a look might follow itself
_HURRY = 3.0  # seconds without a carrier
_HELD_BACK = 0.3  # seconds: the last acknowledgement may be late by 0.2, and a busy machine is, too


class Bounds(NamedTuple):
    """What a link may leave unseen, and for how long; seconds."""

    detect_within: float  # a dead far end
    read_stall: float | None = None  # a living one that takes nothing of what we send; as long by default
    expect_data_within: float | None = None  # one that sends nothing; for ever by default
    speaks: bool = False  # the protocol has a heartbeat of its own, so something of ours is always under way


class Profile(NamedTuple):
    """What follows from one bound. Seconds where tcp(7) wants seconds, milliseconds where it wants those."""

    idle_s: int  # TCP_KEEPIDLE: first probe when nothing was received for so long
    interval_s: int  # TCP_KEEPINTVL: between unanswered probes; a healthy link never sees them
    probes: int  # TCP_KEEPCNT: decides only where the user timeout is not supported
    user_timeout_ms: int  # TCP_USER_TIMEOUT: unacknowledged data, and a peer that does not read
    rto_max_ms: (
        int  # TCP_RTO_MAX_MS (Linux 6.15): caps the back-off, so that a link that is back is used at once
    )
    connect_timeout: float  # a black-holed connect would take 135 s
    tick: float  # between two looks at the counters
    heartbeat: float  # something of ours at least so often, where the protocol has a word for it


def profile(bounds: Bounds) -> Profile:
    """The settings that find a dead peer within `bounds.detect_within` seconds (3..3600)."""
    detect_within = bounds.detect_within
    idle = max(1, int(0.3 * detect_within))
    interval = max(1, int((detect_within - idle) / 7))
    probes = int((0.94 * detect_within - idle) / interval)  # 6 %: the kernel's timer wheel is late by so much
    return Profile(
        idle_s=idle,
        interval_s=interval,
        probes=_clamp(probes, 2, 10),
        user_timeout_ms=int(1000 * max(detect_within, bounds.read_stall or 0.0)),
        rto_max_ms=_clamp(1000 * interval, 1000, 120_000),
        connect_timeout=min(detect_within, 10.0),
        tick=min(max(detect_within / 40, 0.1), 1.0),
        heartbeat=detect_within / 4,
    )


def kernel_only(bounds: Bounds) -> Profile:
    """Where the kernel does not tell enough for a Pulse (before Linux 4.18): its own timers, tightened so
    that they keep the bound by themselves, but for one case: only what we send is lost, and the peer talks
    on. A peer must not pause reading for longer than this user timeout: `read_stall` counts for nothing.
    """
    detect_within = bounds.detect_within
    interval = max(1, int(0.05 * detect_within))
    return profile(bounds)._replace(
        idle_s=max(1, int(0.2 * detect_within)),
        interval_s=interval,
        user_timeout_ms=max(1000, int(1000 * (detect_within - 0.7 - 1.05 * interval) / 2.05)),
    )


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Reading(NamedTuple):
    """What the kernel has counted on one connection so far, and how it is now (struct tcp_info)."""

    acked: int  # bytes of ours that the peer's kernel has, without a gap
    delivered: int  # segments of ours that it has, also behind a gap
    answers: int  # segments without data that came: acknowledgements, also of probes
    received: int  # bytes that came
    in_flight: int  # segments of ours that are not acknowledged
    unsent: int  # bytes that the peer has no room for
    rto: float  # seconds
    retrying: bool  # something is sent again, so `rto` is not the path's


class Pulse:
    """Of one connection: when something of ours was last proven to have arrived, and is that too long ago.

    While bytes of ours are unacknowledged, only that some of them have arrived is proof: all else may come
    from a peer that hears nothing of us. At rest an answer to a probe is. Received bytes count only on a link
    that may send no heartbeat (`speaks` is false): it has nothing better, and finds the loss of its own
    direction late.
    """

    def __init__(self, bounds: Bounds, now: float) -> None:
        self.detect_within = bounds.detect_within  # seconds; longer than asked for on a path that is too slow
        self._bounds = bounds
        self._tick = profile(bounds).tick
        # What the last proof is late by, what a look is, and what the proof itself was.
        self._slack = self._tick + self._tick / _CLOSER + _HELD_BACK
        self._last: Reading | None = None
        self.proven = self._taken = self._heard = now
        self._hurried: float | None = None

    def see(self, reading: Reading, now: float) -> None:
        last, self._last = self._last or reading, reading
        at_rest = not reading.in_flight
        answered = reading.answers != last.answers
        heard = reading.received != last.received
        taken = (reading.acked, reading.delivered) != (last.acked, last.delivered)
        if taken or (at_rest and (answered or (heard and not self._bounds.speaks))):
            self.proven, self._hurried = now, None
        if taken or not (at_rest and reading.unsent):
            self._taken = now
        if heard:
            self._heard = now
        if not reading.retrying:
            self.detect_within = max(self._bounds.detect_within, _RETRANSMISSIONS * reading.rto)

    def doubtful(self, now: float) -> bool:
        """Nothing was proven for so long that it is worth asking now."""
        return now - self.proven >= _DOUBT * self.detect_within

    def next_look(self, now: float) -> float:
        """On the common grid of all connections that are watched as closely."""
        step = self._tick / _CLOSER if self.doubtful(now) else self._tick
        return (floor(now / step + _ROUNDING) + 1) * step

    def hurry(self, now: float) -> None:
        """The carrier is lost: what is not proven after this within 3 s will not be."""
        self._hurried = now

    def calm(self) -> None:
        """The carrier is back."""
        self._hurried = None

    def death(self, now: float) -> str:
        """Why this connection is over, in plain words; "" while it lives."""
        asked, read_stall, expected, _ = self._bounds
        silence = now - self.proven
        if self._hurried is not None and now - self._hurried >= min(_HURRY, asked - self._slack):
            return f"the carrier is lost, no round trip for {silence:.1f} s"
        if silence >= self.detect_within - self._slack:
            return f"no round trip for {silence:.1f} s"
        if (full := now - self._taken) >= (read_stall or asked) - self._slack:
            return f"the peer does not read: it took nothing for {full:.1f} s"
        if expected is not None and (quiet := now - self._heard) >= expected:
            return f"nothing came for {quiet:.1f} s (expect_data_within)"
        return ""


class Echo:
    """Of one connection: does the far program still answer? Its kernel acknowledges for a frozen one, too.

    For protocols with a question that everybody must answer. Times are seconds on the caller's clock.
    """

    def __init__(self, bounds: Bounds, now: float) -> None:
        settings = profile(bounds)
        self._every = settings.heartbeat
        self._bound = bounds.detect_within - 3 * settings.tick
        self._answered = self._asked = now

    def heard(self, now: float) -> None:
        """An answer came, to whatever question."""
        self._answered = now

    def ask(self, now: float) -> bool:
        """It is time for a question."""
        due = now - max(self._answered, self._asked) >= self._every
        if due:
            self._asked = now
        return due

    def silence(self, now: float) -> float:
        """Seconds without an answer, once they are too many; else 0."""
        silence = now - self._answered
        return silence if silence >= self._bound else 0.0
