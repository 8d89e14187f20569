"""The traffic of one connection of a link that pushes: values into the far end's registers, `alive` behind.

Promises: a value is done with when the answer to its write has come; until then it is written again, which
does no harm, because it is a value and no command. What the server refuses holds up nothing else. `alive`
counts a push only when nothing was refused and every value of the link could be read.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Never

from ..buffer import Buffer, Record
from ..contracts import Frame, Reading, Sampled
from ..errors import LinkDown
from ..policy.episodes import Episodes
from ..status import Life
from ..wire.points import Unfit, Value
from ..wire.reads import ILLEGAL_FUNCTION, exception_text
from ..wire.writes import refusal
from ._asking import NO_WAY_THERE, Conversation
from ._push import Layout, Slot, Words, Write, plan

_BATCH = 64  # records
_LATER = (6, *NO_WAY_THERE)  # busy, or away behind its gateway: says nothing of the value
_OF_ALL = (ILLEGAL_FUNCTION, *_LATER)  # codes that each register by itself would get as well
_TRIES = 3  # connections on which one record is refused for now, before it holds up the others no more
_QUIET, _SLOTS = 60.0, 256  # seconds, and registers that are told apart, in the log
log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    code: int  # of the exception; 0: the registers cannot hold such a value
    text: str


@dataclass
class Past:
    """What one connection leaves to the next."""

    counts: Counter[str] = field(default_factory=Counter)  # of pushes: "sent", "confirmed", "refused"
    alive: int = 0  # as it stands in its register
    written: dict[Slot, Reading] = field(default_factory=dict)
    refused: dict[Slot, Refusal] = field(default_factory=dict)  # when it was tried last
    short: dict[str, str] = field(default_factory=dict)  # device -> which of its values is missing, or ""
    told: Episodes = field(default_factory=lambda: Episodes(_QUIET, _SLOTS))  # in the log, of the refused
    again: Counter[int] = field(default_factory=Counter)  # record -> how often it was refused for now


@dataclass(kw_only=True, eq=False)
class Pushing:
    """One open connection in use."""

    life: Life
    far: Conversation
    layout: Layout
    past: Past
    _apart: set[Slot] = field(default_factory=set)  # what spoils a write for its neighbours

    def __post_init__(self) -> None:
        past, ours = self.past, set(self.layout.slots)
        past.refused = {slot: why for slot, why in past.refused.items() if slot in ours}
        for device, slots in self.layout.points.items():
            past.short.setdefault(device, _missing(slots, (), {}))

    async def newest(self, devices: Mapping[str, Sampled]) -> Never:
        """Of each point the value that was read last.

        It begins with all that the last polls brought: this far end may be another one, or have lost them.
        """
        written = self.past.written
        lost = [slot for slot in written if slot.point not in devices[slot.device].unread]
        for slot in lost:
            del written[slot]
        sampled = asyncio.Event()

        def wake(sample: Frame) -> bool:
            sampled.set()
            return True

        with ExitStack() as taps:
            for device in devices.values():
                taps.enter_context(device.samples.tap(offer=wake))
            while True:
                sampled.clear()
                await self._push_newest(devices)
                await sampled.wait()

    async def _push_newest(self, devices: Mapping[str, Sampled]) -> None:
        due: dict[Slot, Reading] = {}
        written = self.past.written
        for name, slots in self.layout.points.items():
            newest, unread = devices[name].newest, devices[name].unread
            self.past.short[name] = _missing(slots, newest, unread)
            known = {slot: newest[slot.point] for slot in slots if slot.point in newest}
            due |= {slot: reading for slot, reading in known.items() if written.get(slot) != reading}
        if due:
            refused = await self._push({slot: reading.value for slot, reading in due.items()})
            written |= {slot: reading for slot, reading in due.items() if slot not in refused}
            self._count(refused)
        await self._settle(due)

    async def all(self, buffer: Buffer) -> Never:
        """Every sample, in its order, with its time."""
        position = 0
        while True:
            for record in await buffer.read(position, _BATCH):
                await self._push_record(record, buffer)
                position = record.number

    async def _push_record(self, record: Record, buffer: Buffer) -> None:
        device, sample = record.stream.removeprefix("device/"), json.loads(record.payload)
        values, slots = sample["values"], self.layout.points.get(device, ())
        self.past.short[device] = _missing(slots, values, sample.get("errors", {}))
        due = {slot: values[slot.point] for slot in slots if slot.point in values}
        if due:
            refused = await self._push(due | self._time(record))
            self._hold(record, refused)
            self._count(refused)
            if refused:
                buffer.set_aside(record)
        buffer.confirm(record.number)
        await self._settle(due)

    def _time(self, record: Record) -> dict[Slot, Value]:
        """All bits 0 when nobody knew what time it was."""
        slot = self.layout.timestamp
        return {} if slot is None else {slot: record.at if record.clock_set else slot.codec.offset}

    def _hold(self, record: Record, refused: Mapping[Slot, Refusal]) -> None:
        """LinkDown if it was refused for now only, and it is to be tried again on another connection."""
        again = self.past.again
        if refused and all(why.code in _LATER for why in refused.values()):
            again[record.number] += 1
            if again[record.number] < _TRIES:
                raise LinkDown(_words(refused))
        again.clear()

    def _count(self, refused: Collection[Slot]) -> None:
        self.past.counts["refused" if refused else "confirmed"] += 1

    async def _push(self, values: Mapping[Slot, Value]) -> Mapping[Slot, Refusal]:
        """Writes all of them, and says which of them were not taken."""
        self.past.counts["sent"] += 1
        return await self._put(values)

    async def _put(self, values: Mapping[Slot, Value]) -> Mapping[Slot, Refusal]:
        content: dict[Slot, Words] = {}
        refused: dict[Slot, Refusal] = {}
        for slot, value in values.items():
            try:
                content[slot] = slot.codec.encode(value)
            except Unfit as unfit:
                refused[slot] = Refusal(0, str(unfit))
        for write in plan(content, self._apart, self.layout.timestamp):
            refused |= await self._write(write)
        self._note(values, refused)
        return refused

    async def _write(self, write: Write) -> Mapping[Slot, Refusal]:
        code = refusal(await self.far.ask(write.pdu))
        if code and code not in _OF_ALL and len(write.content) > 1:
            return await self._write_apart(write)
        return dict.fromkeys(write.content, Refusal(code, exception_text(code))) if code else {}

    async def _write_apart(self, write: Write) -> Mapping[Slot, Refusal]:
        refused: dict[Slot, Refusal] = {}
        for one in write.alone:
            refused |= await self._write(one)
        if len(refused) < len(write.content):
            self._apart |= refused.keys()
        return refused

    async def _settle(self, pushed: Collection[Slot]) -> None:
        alive, past = self.layout.alive, self.past
        if pushed and alive is not None and self._well(alive):
            number = (past.alive + 1) & 0xFFFF
            if not await self._put({alive: number}):
                past.alive = number
        self.life.label("up", self._trouble())

    def _well(self, alive: Slot) -> bool:
        missing = any(self.past.short[device] for device in self.layout.points)
        return not missing and not self.past.refused.keys() - {alive}

    def _note(self, tried: Collection[Slot], refused: Mapping[Slot, Refusal]) -> None:
        """The log has a line when a refusal begins; the status has it as long as it goes on."""
        past = self.past
        new = {slot: why for slot, why in refused.items() if slot not in past.refused}
        now = asyncio.get_running_loop().time()
        if new := {slot: why for slot, why in new.items() if past.told.begins(str(slot), now)}:
            log.warning("%s: %s", self.life.name, _words(new))
        past.refused = {slot: why for slot, why in past.refused.items() if slot not in tried} | dict(refused)

    def _trouble(self) -> str:
        if self.past.refused:
            return _words(self.past.refused)
        missing = (self.past.short[device] for device in self.layout.points)
        return next((f"not read: {text}" for text in missing if text), "")


def _missing(slots: Sequence[Slot], there: Collection[str], why: Mapping[str, str]) -> str:
    """The first of these points that was not read this time; "" when all were."""
    for slot in slots:
        if slot.point in why:
            return f"{slot.name}: {why[slot.point]}"
        if slot.point not in there:
            return f"{slot.name}: no value yet"
    return ""


def _words(refused: Mapping[Slot, Refusal]) -> str:
    slot, why = next(iter(refused.items()))
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"not written: {slot}: {why.text}{more}"
