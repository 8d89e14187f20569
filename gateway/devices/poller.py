"""A polled device: asks its port on a steady schedule with the lowest rank, and pushes one sample per round.

Promises: rounds neither drift nor bunch, and one more follows commands; a value that could not be read is
named in the sample's `errors` and never invented, and none is older than a command that was carried out; a
line that is down is a reason in a sample, not the end of the session. One merged read that the device refuses
never loses the points that it does have: it is asked in parts from then on.
"""

import asyncio
import json
import logging
from asyncio import Future
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from time import time
from typing import Never
from zlib import crc32

from ..contracts import Asker, Frame, Outcome, Rank, Reading, Request, Traced, Transactor
from ..errors import Down, GatewayError, NoAnswer, TooLate
from ..flow import Brake, Fan
from ..policy.episodes import Ration
from ..policy.publishing import Publishing
from ..policy.schedule import next_due
from ..scope import Scope
from ..status import Life, PartStatus, timestamp
from ..wire.points import NoReading, Value
from ..wire.reads import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Malformed, Rejected, read_answer
from .model import DeviceConfig
from .plan import Read, plan, split
from .writing import Writing

SPREAD = 10.0  # seconds over which the devices of a gateway begin, however long their interval
SOON = 0.2  # seconds from the last of some commands to the round that shows what they did
_ONCE_MORE = 3  # times that a round reads what was written meanwhile
PLANNED_AFRESH = 1000  # rounds; a refusal may have been that of a device that was starting up
TOO_MUCH_AT_ONCE = (ILLEGAL_ADDRESS, ILLEGAL_VALUE)  # said to reads that would be taken in parts
_LEVELS = {"ok": logging.INFO, "silent": logging.WARNING, "unknown": logging.WARNING}
_LINES = 4  # of the log, a minute, of a device that comes and goes
log = logging.getLogger(__name__)


def first_wait(name: str, interval: float) -> float:
    """Seconds until the first round: by the name, so that the devices of a bus do not all ask at once."""
    return min(interval, SPREAD) * crc32(name.encode()) / 2**32


@dataclass
class _Round:
    """What one poll has brought so far."""

    values: dict[str, Value] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    at: float | None = None  # wall time of the first answer, be it a refusal
    good: int = 0  # reads that brought registers
    unanswered: str = ""  # why a read got no answer
    silent: bool = False  # it was asked, or there is no line to ask it on

    def fail(self, read: Read, reason: str) -> None:
        for slot in read.points:
            self.values.pop(slot.name, None)
            self.errors[slot.name] = reason

    def take(self, read: Read, registers: Sequence[int]) -> None:
        self.good += 1
        for slot in read.points:
            self.values.pop(slot.name, None)
            self.errors.pop(slot.name, None)
            try:
                at = slot.address - read.address
                self.values[slot.name] = slot.codec.value(registers[at : at + slot.codec.registers])
            except NoReading as none:
                self.errors[slot.name] = str(none)

    def payload(self) -> bytes:
        sample = {"values": self.values} | ({"errors": self.errors} if self.errors else {})
        return json.dumps(sample, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    def summary(self) -> str:
        """The first error and how many more there are; empty without any."""
        name, reason = next(iter(self.errors.items()), ("", ""))
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        return name and f"{name}: {reason}{more}"


class Device:
    """One asker on the port's bus, known by its name."""

    def __init__(
        self, name: str, config: DeviceConfig, port: Transactor, wall: Callable[[], float] = time
    ) -> None:
        self.config = config
        self._brake = Brake()
        self.samples: Fan[Frame] = Fan(self._brake)
        self.frames: Fan[Frame] = Fan(self._brake)
        self.presence: Fan[bytes] = Fan()
        self.trace: Fan[Traced] = Fan()
        self.newest: Mapping[str, Reading] = {}
        self.unread: Mapping[str, str] = {}
        self.present = b""
        self._name, self._port, self._wall = name, port, wall
        self._asker = Asker("device", crc32(name.encode()))
        self._writing = Writing(name, port)
        self._state = self._told = "unknown"
        self._lines = Ration(_LINES, 60.0)
        self._polls = self._failed = 0
        self._last_good: float | None = None
        self._values: Mapping[str, object] = {}

    @property
    def writable(self) -> Collection[str]:
        return self.config.writable.keys()

    def write(self, values: Mapping[str, object], expires: float = inf, /) -> Future[Outcome]:
        """One command; see `contracts.Settable`."""
        return self._writing.take(values, expires)

    async def session(self, life: Life, /) -> Never:
        async with Scope() as scope:
            scope.start(self._writing.serve(self.config))
            await self._poll(life)
        raise AssertionError("a scope ends by an error")

    async def _poll(self, life: Life) -> Never:
        now, interval = asyncio.get_running_loop().time, self.config.poll_interval
        reads: Sequence[Read] = plan(self.config)
        publishing = _publishing(self.config)
        self.newest, self.unread = {}, {}  # of points that may have been others
        life.up(state=self._state)
        due = now() + first_wait(self._name, interval)
        while True:
            extra = await self._wait(due)
            await self._released(life)
            began, poll = now(), _Round()
            reads = await self._round(reads, poll)
            frame = self._settle(poll, life)
            if publishing.wants(poll.values, poll.errors, began if extra else due):
                self.frames.push(frame)
            if self._polls % PLANNED_AFRESH == 0:
                reads = plan(self.config)
            if not extra or now() >= due:
                due = next_due(due, now(), interval)

    async def _wait(self, due: float) -> bool:
        """Until a round is due; True: there is to be one more before, because something was written."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._writing.rested.wait()
                await asyncio.sleep(SOON)
                return True
        return False

    async def _round(self, reads: Sequence[Read], poll: _Round) -> Sequence[Read]:
        """All `reads`, and once more those of points that were written meanwhile.

        Returns what to ask in place of `reads` from now on.
        """
        written = self._writing.written
        self._writing.rested.clear()
        written.clear()
        reads = [kept for read in reads for kept in await self._read(read, poll)]
        for _ in range(_ONCE_MORE):
            stale = [read for read in reads if any(slot.name in written for slot in read.points)]
            written.clear()
            for read in stale:
                await self._read(read, poll)
        return reads

    def status(self) -> PartStatus:
        return {
            "port": self.config.port,
            "unit_id": self.config.unit_id,
            "present": self.present.decode(),
            "last_good": None if self._last_good is None else timestamp(self._last_good),
            "polls": self._polls,
            "errors": self._failed,
            "values": dict(self._values),
        }

    async def _read(self, read: Read, poll: _Round) -> Sequence[Read]:
        """Asks for `read` and returns what to ask in its place from now on."""
        if poll.unanswered and self.present != b"online":
            poll.fail(read, poll.unanswered)  # one unanswered read per round is enough of a silent device
            return (read,)
        try:
            answer = await self._port.ask(Request(self.config.unit_id, read.request, self._asker, Rank.POLL))
        except GatewayError as error:
            poll.unanswered = str(error)
            poll.silent |= isinstance(error, Down | NoAnswer) and not isinstance(error, TooLate)
            poll.fail(read, poll.unanswered)
            return (read,)
        poll.at = self._wall() if poll.at is None else poll.at
        try:
            poll.take(read, read_answer(read.table, read.count, answer))
        except Rejected as refusal:
            parts = split(read) if refusal.code in TOO_MUCH_AT_ONCE else (read,)
            if len(parts) > 1:
                return await self._read_apart(read, parts, poll)
            poll.fail(read, str(refusal))
        except Malformed as error:
            poll.fail(read, str(error))
        return (read,)

    async def _read_apart(self, read: Read, parts: Sequence[Read], poll: _Round) -> Sequence[Read]:
        good = poll.good
        kept = [part for asked in parts for part in await self._read(asked, poll)]
        if poll.good == good:
            return (replace(read, whole=not poll.unanswered),)
        log.info("%s: refuses %s, asked as %s from now on", self._name, read, " and ".join(map(str, kept)))
        return kept

    async def _released(self, life: Life) -> None:
        """Until nobody wants us to wait who keeps the samples."""
        if self._brake.on:
            life.label(self._state, 'not asked: a buffer with when_full = "block" is full')
            await self._brake.released()

    def _settle(self, poll: _Round, life: Life) -> Frame:
        self._polls += 1
        self._failed += bool(poll.errors)
        fresh = {name: Reading(value, self._polls) for name, value in poll.values.items()}
        self.newest, self.unread = {**self.newest, **fresh}, poll.errors
        if poll.good:
            self._last_good, self._values = poll.at, poll.values
            self._is("ok", poll.summary(), b"online", life)
        elif poll.at is not None:
            self._is("unknown", f"answers, but gives no value: {poll.summary()}", self.present, life)
        elif poll.silent:
            self._is("silent", poll.unanswered, b"offline", life)
        else:
            life.label(self._state, poll.summary())  # the question did not get as far as the device
        frame = Frame(self._wall() if poll.at is None else poll.at, poll.payload())
        self.samples.push(frame)
        if self.trace.taps:
            self.trace.push(
                Traced(frame.at, "rx", frame.data, poll.summary() or f"{len(poll.values)} values")
            )
        return frame

    def _is(self, state: str, reason: str, presence: bytes, life: Life) -> None:
        self._state = state
        if state != self._told and self._lines.allows(asyncio.get_running_loop().time()):
            log.log(_LEVELS[state], "%s: %s%s", self._name, state, reason and f": {reason}")
            self._told = state
        life.label(state, reason)
        if presence != self.present:
            self.present = presence
            self.presence.push(presence)


def _publishing(config: DeviceConfig) -> Publishing:
    rule = config.publish
    if rule is None:
        return Publishing(interval=config.poll_interval)
    deadbands = {name: point.deadband for name, point in config.points.items() if point.deadband is not None}
    return Publishing(
        every=rule.every, on_change=rule.on_change, deadbands=deadbands, interval=config.poll_interval
    )
