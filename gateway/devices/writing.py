"""What a device is told to do: commands, each some of its points with values, as writes on its port.

Promises: all of a command is checked before any of it reaches the wire; commands are carried out one after
the other, and the points of each in their order up to the first that fails. A write goes out once; a device
that does not know its function code has done nothing, and is asked by the other one. What waits is bounded,
in number and in time.
Must not decide when the device is polled: it says what was written since, and when it rests.
"""

import asyncio
from asyncio import Event, Future, Queue
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, Never
from zlib import crc32

from ..contracts import Asker, Outcome, Rank, Request, Transactor
from ..errors import GatewayError, NoAnswer
from ..wire.points import Gives, NoReading, Unfit, Value
from ..wire.reads import ILLEGAL_FUNCTION
from ..wire.writes import mask_request, outcome_text, refusal, write_requests
from .model import DeviceConfig, Point

QUEUE = 16  # commands that may wait for those before them
PATIENCE = 10.0  # seconds for which they do: nobody expects anything to move any more
_NOT_TRIED = "not tried"
_INTERRUPTED = "interrupted: it may have been written or not"


class Write(NamedTuple):
    """One point of a command. `requests` do the same by different function codes, see `write_requests`."""

    point: str
    value: Value  # as the registers will hold it
    requests: Sequence[bytes]


def planned(points: Mapping[str, Point], values: Mapping[str, object]) -> Sequence[Write] | Outcome:
    """The writes of a command to a device with these points, or why nothing of it may be written."""
    writes: list[Write] = []
    faults: dict[str, str] = {}
    for name, value in values.items():
        try:
            writes.append(_write(name, points.get(name), value))
        except (Unfit, NoReading) as unfit:
            faults[name] = str(unfit)
    if not faults:
        return writes
    name, fault = next(iter(faults.items()))
    return Outcome(error=f"{name}: {fault}", errors=dict.fromkeys(values, _NOT_TRIED) | faults)


def _write(name: str, point: Point | None, value: object) -> Write:
    """Unfit, or NoReading, when this must not be written."""
    if point is None:
        raise Unfit("the device has no such point")
    if not point.writable:
        raise Unfit("it can only be read")
    if not isinstance(value, bool | int | float | str):
        raise Unfit("a value is true, false, a number or a text")
    codec = replace(point.codec, decimals=None)
    if codec.gives is Gives.NUMBER and isinstance(value, bool | str):
        raise Unfit(f"it takes a number, not {'a text' if isinstance(value, str) else 'true or false'}")
    if codec.bit is not None:
        masks = codec.mask(value)
        return Write(name, codec.value(masks[1:]), (mask_request(point.address, *masks),))
    words = codec.encode(value)
    held = codec.value(words)
    for number in (value, held):  # what it was rounded to must not be beyond the limits either
        _check(point, number)
    return Write(name, held, write_requests(point.table, point.address, words))


def _check(point: Point, number: Value) -> None:
    if isinstance(number, str):
        return
    if point.min is not None and number < point.min:
        raise Unfit(f"{number} is less than {point.min} (min)")
    if point.max is not None and number > point.max:
        raise Unfit(f"{number} is more than {point.max} (max)")


@dataclass(frozen=True, eq=False)
class _Command:
    """It waits for its turn; times are those of the loop."""

    writes: Sequence[Write]
    outcome: Future[Outcome]
    expires: float
    waits_until: float


class Writing:
    """The commands of one device: an asker of its own on the port's bus."""

    def __init__(self, name: str, port: Transactor) -> None:
        self.written: set[str] = set()  # points, by us, since whoever reads them has cleared this
        self.rested = Event()  # something was written, and nothing waits to be
        self._port, self._asker = port, Asker("command", crc32(name.encode()))
        self._config: DeviceConfig | None = None  # while a session serves
        self._waiting: Queue[_Command] = Queue(QUEUE)

    def take(self, values: Mapping[str, object], expires: float) -> Future[Outcome]:
        """See `Settable.write`."""
        loop = asyncio.get_running_loop()
        outcome: Future[Outcome] = loop.create_future()
        plan: Sequence[Write] | Outcome = Outcome(error="the device is not in service")
        if self._config is not None:
            plan = planned(self._config.points, values)
        if isinstance(plan, Outcome):
            outcome.set_result(plan)
        elif self._waiting.full():
            outcome.set_result(Outcome(error=f"busy: {QUEUE} commands wait for this device"))
        else:
            self._waiting.put_nowait(_Command(plan, outcome, expires, loop.time() + PATIENCE))
        return outcome

    async def serve(self, config: DeviceConfig) -> Never:
        """Carries them out, as long as the device is in service with this config."""
        self._config = config
        try:
            while True:
                await self._carry_out(await self._waiting.get(), config.unit_id)
                if self._waiting.empty() and self.written:
                    self.rested.set()
        finally:
            self._config = None
            with suppress(asyncio.QueueEmpty):
                while True:
                    command = self._waiting.get_nowait()
                    command.outcome.set_result(Outcome(error="the device was taken out of service"))

    async def _carry_out(self, command: _Command, unit: int) -> None:
        values: dict[str, Value] = {}
        errors = {write.point: _NOT_TRIED for write in command.writes}
        error = _too_late(command)
        try:
            for write in command.writes if not error else ():
                errors[write.point] = error = _INTERRUPTED  # unless we come to the next line
                fault = await self._write(write, unit)
                if fault:
                    errors[write.point], error = fault, f"{write.point}: {fault}"
                    break
                values[write.point], error = write.value, ""
                del errors[write.point]
        finally:
            command.outcome.set_result(Outcome(error=error, values=values, errors=errors))

    async def _write(self, write: Write, unit: int) -> str:
        """Why not; "" when the device has done it."""
        code = ILLEGAL_FUNCTION
        for pdu in write.requests:
            try:
                answer = await self._port.ask(Request(unit, pdu, self._asker, Rank.WRITE))
            except GatewayError as error:
                if isinstance(error, NoAnswer):  # perhaps it has done it
                    self.written.add(write.point)
                return str(error)
            if (code := refusal(answer)) != ILLEGAL_FUNCTION:
                break
        if code:
            return outcome_text(code)
        self.written.add(write.point)
        return ""


def _too_late(command: _Command) -> str:
    now = asyncio.get_running_loop().time()
    if now >= command.expires:
        return "it has expired"
    return f"waited {PATIENCE:g} s for the commands before it" if now >= command.waits_until else ""
