"""Values picked from the frames of a raw port, and published as those of a device are.

Promises: a value is what a whole frame said: where the beginning or the end of one may be missing, nothing is
picked from it. What was read since the last publication and was not worth one goes up with the next, and with
`publish.every` not later than that. Must not wait, nor fail: it works in the reader's callback.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from time import time
from typing import Annotated, Literal, NamedTuple
from warnings import catch_warnings, simplefilter

from pydantic import AfterValidator, Field

from ..contracts import Frame, Reading
from ..flow import Brake, Fan
from ..policy.publishing import Publishing
from ..registers import Deadband, Offset, Scale
from ..settings import Publish
from ..status import PartStatus, timestamp
from ..values import Fault, Model
from ..wire.picked import Pick, pattern, picked
from ..wire.points import Value

BEGINNING = 0.1  # seconds of silence on a line just opened, after which it cannot be inside a frame
_TICK = 0.01  # seconds between two samples at least, as far as `publish` knows: alarms are not exact
_OF_NUMBERS = ("scale", "offset", "decimals", "deadband")


def _regex(text: str) -> str:
    with catch_warnings():
        simplefilter("error")  # of what another Python may read in another way
        try:
            pattern(text)
        except FutureWarning as doubt:
            raise ValueError(f"not sure what is meant: {doubt}") from None
    return text


class ValueRule(Model):
    """One value that stands in frames: where, and what it is."""

    regex: Annotated[
        str, AfterValidator(_regex), Field(description="one group in it is the value: '([-+]?[0-9.]+) kg'")
    ]
    type: Literal["float", "int", "text"] = "float"
    scale: Scale = 1
    offset: Offset = 0
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    deadband: Deadband | None = None
    unit: str | None = None

    def faults(self) -> Iterator[Fault]:
        for key in _OF_NUMBERS if self.type == "text" else ():
            if key in self.model_fields_set:
                yield Fault((key,), f'{key} goes with numbers, not with type = "text"')

    @property
    def pick(self) -> Pick:
        return Pick(
            regex=pattern(self.regex),
            type=self.type,
            scale=self.scale,
            offset=self.offset,
            decimals=self.decimals,
        )


class Rules(NamedTuple):
    """What one session picks, and from what."""

    picks: Mapping[str, Pick]
    publishing: Publishing
    longest: float  # bytes: a frame that is so long has been cut there
    marked: bool  # the beginning of a frame can be seen


def publishing(rule: Publish | None, values: Mapping[str, ValueRule]) -> Publishing:
    if rule is None:
        return Publishing(interval=_TICK)
    deadbands = {name: value.deadband for name, value in values.items() if value.deadband is not None}
    return Publishing(every=rule.every, on_change=rule.on_change, deadbands=deadbands, interval=_TICK)


@dataclass
class _Sample:
    """What was read, the newest of each."""

    at: float = 0.0  # wall time of the last frame
    values: dict[str, Value] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, at: float, values: Mapping[str, Value], errors: Mapping[str, str]) -> None:
        self.at = at
        self.values = {name: value for name, value in self.values.items() if name not in errors} | dict(
            values
        )
        self.errors = {name: why for name, why in self.errors.items() if name not in values} | dict(errors)

    @property
    def frame(self) -> Frame:
        sample = {"values": self.values} | ({"errors": self.errors} if self.errors else {})
        text = json.dumps(sample, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return Frame(self.at, text.encode())


class Values:
    """Sampled: of one port, over all its sessions. A sample is what one frame says."""

    def __init__(self, brake: Brake, wall: Callable[[], float] = time) -> None:
        self.samples: Fan[Frame] = Fan(brake)
        self.frames: Fan[Frame] = Fan(brake)
        self.presence: Fan[bytes] = Fan()
        self.newest: Mapping[str, Reading] = {}
        self.unread: Mapping[str, str] = {}
        self.present = b""
        self._wall = wall
        self._rules = Rules({}, Publishing(interval=_TICK), inf, marked=True)
        self._count = 0  # of samples
        self._last_good: float | None = None
        self._held = _Sample()  # since the last one that was published
        self._published = 0.0  # loop time
        self._alarm: asyncio.TimerHandle | None = None
        self._whole_from, self._ended = inf, True

    @contextmanager
    def picking(self, frames: Fan[Frame], rules: Rules) -> Iterator[None]:
        """For as long as the line is open, which it is from now on."""
        if rules.picks != self._rules.picks:
            self.newest, self.unread = {}, {}  # of values that may have been others
        self._rules, self._held = rules, _Sample()
        self._whole_from, self._ended = self._wall() + BEGINNING, rules.marked
        try:
            with frames.tap(offer=self._take):
                yield
        finally:
            if self._alarm is not None:
                self._publish()
            self.absent()

    def missed(self, reason: str) -> None:
        """There should have been a frame."""
        if self._rules.picks:
            self._add(self._wall(), {}, dict.fromkeys(self._rules.picks, reason))
            self._look()

    def lost(self, reason: str) -> None:
        """The line went away under `picking`, which has ended."""
        if self._rules.picks:
            self._add(self._wall(), {}, dict.fromkeys(self._rules.picks, reason))
            self._publish()

    def absent(self) -> None:
        """Nobody answers any more."""
        if self.present:
            self._is(b"offline")

    def status(self) -> PartStatus:
        return {
            "present": self.present.decode(),
            "last_good": None if self._last_good is None else timestamp(self._last_good),
            "values": {name: reading.value for name, reading in self.newest.items()},
        }

    def _take(self, frame: Frame) -> bool:
        if self._is_whole(frame):
            values, errors = picked(self._rules.picks, frame.data)
            if values or errors:
                self._add(frame.at, values, errors)
                self._look()
        return True

    def _is_whole(self, frame: Frame) -> bool:
        begun = self._ended or frame.at >= self._whole_from
        self._whole_from, self._ended = inf, len(frame) < self._rules.longest
        return begun and self._ended

    def _add(self, at: float, values: Mapping[str, Value], errors: Mapping[str, str]) -> None:
        self._count += 1
        self.newest = {**self.newest, **{name: Reading(value, self._count) for name, value in values.items()}}
        self.unread = {name: why for name, why in self.unread.items() if name not in values} | dict(errors)
        self._held.add(at, values, errors)
        if self.samples.taps:
            sample = _Sample()
            sample.add(at, values, errors)
            self.samples.push(sample.frame)
        if values:
            self._last_good = at
            self._is(b"online")

    def _look(self) -> None:
        """Is what was read worth publishing? What is not waits for its time."""
        rule, now = self._rules.publishing, asyncio.get_running_loop().time()
        newest = {name: reading.value for name, reading in self.newest.items()}
        if rule.wants(newest, self.unread, now):
            self._published = now
            self._publish()
        elif rule.every is not None and self._alarm is None:
            at = self._published + rule.every
            self._alarm = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._look()

    def _publish(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.frames.push(self._held.frame)
        self._held = _Sample()

    def _is(self, presence: bytes) -> None:
        if presence != self.present:
            self.present = presence
            self.presence.push(presence)
