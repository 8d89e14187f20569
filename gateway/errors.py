"""The error tree. A leaf says what `supervise()` or a Modbus asker is to make of it.

Errors of the operating system and of libraries are translated at the seam (`host/`, and `_paho` for MQTT):
above it there is no OSError.
"""


class GatewayError(Exception):
    """Ours, expected, told in one plain sentence. Anything else that escapes is a bug."""

    modbus = 0x04  # the exception code that tells a Modbus asker (MODBUS Application Protocol V1.1b3, 7)


class Down(GatewayError):
    """A line or a link is away: `supervise()` waits and tries again."""

    modbus = 0x0A

    def __init__(
        self,
        reason: str,
        *,
        wait_at_least: float = 0.0,
        detected_after: float | None = None,
        unacked: int | None = None,
        at_once: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait_at_least = wait_at_least  # seconds; 60 for "not authorized", where hammering does not help
        self.detected_after = detected_after  # seconds from the last proof of life to this error
        self.unacked = unacked  # bytes written that were not acknowledged by then
        self.at_once = at_once  # there is another far end: try that without a wait


class LineDown(Down):
    """The tty is not there."""


class LinkDown(Down):
    """The far end is not there."""


class Rest(GatewayError):
    """A link has nothing to do for now and has left its far end in order: no loss, and no wait."""


class PeerError(LinkDown):
    """The far end broke the protocol: this connection ends, the link goes on."""


class NoRoute(GatewayError):
    """No line is configured for this unit id."""

    modbus = 0x0A


class NoAnswer(GatewayError):
    """The request got no valid answer in time."""

    modbus = 0x0B


class Garbled(NoAnswer):
    """Something came, but no good frame."""


class TooLate(NoAnswer):
    """It waited so long for its turn that nobody wants it any more: says nothing about the unit."""


class Busy(GatewayError):
    """This asker, or the line, has as many requests waiting as it may."""

    modbus = 0x06


class Refused(GatewayError):
    """The request itself is not allowed: an illegal function code, or one that this asker may not use."""

    modbus = 0x01


class Forbidden(GatewayError):
    """Whoever asks may not touch this unit, or these registers."""

    modbus = 0x02


class BadRequest(GatewayError):
    """The request contradicts its own function code: wrong length or quantity."""

    modbus = 0x03


class StoreError(GatewayError):
    """What keeps records cannot, in plain words: the daemon goes on from memory."""

    def __init__(self, reason: str, *, full: bool = False) -> None:
        super().__init__(reason)
        self.full = full  # there is no room: deleting helps, opening anew does not
