"""One number, `detect_within`, becomes every keep-alive setting of a socket.

Keep-alive alone covers only an idle link: one unacknowledged byte switches it off and the kernel then retries
for 938 s (measured). TCP_USER_TIMEOUT bounds that case, but replaces TCP_KEEPCNT, so both are derived from
the same bound.
"""

from typing import NamedTuple

NAMED = {"lan": 5.0, "default": 20.0, "cellular": 60.0, "satellite": 120.0, "metered": 300.0}  # seconds


class Profile(NamedTuple):
    """Socket options for one bound. Seconds where tcp(7) wants seconds, milliseconds where it wants those."""

    idle_s: int  # TCP_KEEPIDLE: first probe when nothing was received for so long
    interval_s: int  # TCP_KEEPINTVL: between unanswered probes; a healthy link never sees them
    probes: int  # TCP_KEEPCNT: decides only where the user timeout is not supported
    user_timeout_ms: int  # TCP_USER_TIMEOUT: unacknowledged data, and a peer that does not read
    rto_max_ms: (
        int  # TCP_RTO_MAX_MS (Linux 6.15): caps the back-off, so that a link that is back is used at once
    )
    connect_timeout: float  # a black-holed connect would take 135 s


def profile(detect_within: float) -> Profile:
    """The options that find a dead peer within `detect_within` seconds (3..3600)."""
    idle = max(1, int(0.3 * detect_within))
    interval = max(1, int((detect_within - idle) / 7))
    probes = int((0.94 * detect_within - idle) / interval)  # 6 %: the kernel's timer wheel is late by so much
    return Profile(
        idle_s=idle,
        interval_s=interval,
        probes=_clamp(probes, 2, 10),
        user_timeout_ms=int(1000 * detect_within),
        rto_max_ms=_clamp(1000 * interval, 1000, 120_000),
        connect_timeout=min(detect_within, 10.0),
    )


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
