"""What a bus needs of a framing, of a line and of its config.

The seam between `_bus` and RTU, ASCII, ttys and tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Answer(Protocol):
    """Collects bytes until they hold the answer to one request (`wire.rtu.Answer`, `wire.ascii.Answer`)."""

    foreign: int
    echoed: bool

    def feed(self, data: bytes, /) -> bytes | None: ...
    def silence(self) -> bytes | None: ...
    @property
    def ends_by_silence(self) -> bool: ...
    @property
    def heard(self) -> int: ...
    @property
    def missing(self) -> int: ...
    @property
    def broken(self) -> bool: ...
    @property
    def begun(self) -> bool:
        """What came may be the beginning of the answer; what else came is noise."""


class Framing(Protocol):
    """What a bus speaks: `wire.rtu` or `wire.ascii`."""

    def encode(self, unit: int, pdu: bytes, /) -> bytes: ...
    def answer_to(self, unit: int, pdu: bytes, /) -> Answer: ...
    def answer_size(self, pdu: bytes, /) -> int:
        """Characters that a good answer takes at most."""


class Wire(Protocol):
    """What a bus needs of a line (`host.tty.Line`)."""

    def offer(self, data: bytes, /) -> bool: ...
    def poll(self) -> None: ...
    def rest(self, seconds: float, /) -> None: ...
    def discard_output(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Seconds, and how many."""

    character: float
    lead: float = 0.0  # between a request that is offered to the line and its first byte
    gap: float
    quiet: float = 0.05  # of silence that end an answer of unknown length, or break one off
    response_timeout: float
    request_timeout: float
    turnaround_delay: float
    late_answer_guard: float
    retries: int
    queue: int
    broadcast: bool
    skip_silent: bool
    coalesce: bool
    cache: float  # 0: nothing is kept
    echo: bool
    response_timeouts: Mapping[int, float] = field(default_factory=dict)  # of units that have their own

    def timeout(self, unit: int) -> float:
        """To the first byte of its answer."""
        return self.response_timeouts.get(unit, self.response_timeout)
