"""Which unit ids answer on a line, and with which settings: {"verb":"scan","name":"meters"}.

    {"ok":true,"name":"meters","unit_ids":247,"lines":["9600 8E1","19200 8E1"]}
    {"line":"9600 8E1","unit_id":1,"state":"found","text":"answers","took_ms":24.1}
    {"line":"9600 8E1","unit_id":2,"state":"silent","text":"unit 2 did not ...","took_ms":1003.0}
    {"line":"19200 8E1","state":"skipped","text":"/dev/ttyUSB0 does not accept 19200 8E1"}
    {"asked":247,"found":1}

Each unit id is asked once, for holding register 0: reading it changes nothing, and an exception is an answer,
too. With the port's own settings that goes through its arbiter beside the normal work; then the port is taken
off that work for the other ones. Promises: it is back when the scan has ended, however it ended; whoever
hangs up, or sends anything, ends it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import product
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ..contracts import Request, Settings, Transactor
from ..errors import Busy, Garbled, GatewayError, LineDown, TooLate
from ..scope import Scope
from ..settings import PortConfig
from ..values import unit_range
from ..wire.points import Table
from ..wire.reads import exception_text, read_request
from ..wire.writes import refusal
from .client import Client
from .contract import Gateway
from .transactions import asker

_PROBE = read_request(Table.HOLDING, 0, 1)


async def scan(
    client: Client,
    gateway: Gateway,
    name: str,
    unit_ids: str = "1-247",
    baudrates: Sequence[int] = (),
    formats: Sequence[str] = (),
) -> None:
    """Without `baudrates` or `formats`: the port's own."""
    port = gateway.line(name)
    walk = _Walk(client, _units(unit_ids))
    lines = _lines(baudrates or (port.settings.baudrate,), formats or (port.settings.format,))
    own, others = port.settings in lines, [line for line in lines if line != port.settings]
    shown = [str(line) for line in (*[port.settings] * own, *others)]
    await client.say({"ok": True, "name": name, "unit_ids": len(walk.units), "lines": shown})
    async with Scope() as scope:
        scope.start(client.left())
        if own:
            with port.unnoticed():
                await walk.along(port.settings, nullcontext(port))
        if others:
            async with gateway.lent(name) as port:
                for line in others:
                    await walk.along(line, port.elsewhere(line))
    await client.say({"asked": walk.asked, "found": walk.found})


class _Outcome(NamedTuple):
    state: str
    text: str


class _Walk:
    """Over the unit ids, once for each line."""

    def __init__(self, client: Client, units: Sequence[int]) -> None:
        self.units = units
        self.asked = self.found = 0
        self._client = client

    async def along(self, line: Settings, opened: AbstractAsyncContextManager[Transactor]) -> None:
        try:
            async with opened as transactor:
                for unit in self.units:
                    await self._ask(line, transactor, unit)
        except LineDown as down:
            await self._client.say({"line": str(line), "state": "skipped", "text": str(down)})

    async def _ask(self, line: Settings, transactor: Transactor, unit: int) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        outcome = await _probed(transactor, Request(unit, _PROBE, asker(self._client)))
        took = round(1000 * (now() - began), 1)
        self.asked += 1
        self.found += outcome.state == "found"
        told = {"line": str(line), "unit_id": unit, **outcome._asdict(), "took_ms": took}
        await self._client.say(told)


async def _probed(line: Transactor, request: Request) -> _Outcome:
    """LineDown when there is no line any more."""
    try:
        answer = await line.ask(request)
    except LineDown:
        raise
    except Garbled as garbled:
        return _Outcome("garbled", str(garbled))
    except (Busy, TooLate) as busy:
        return _Outcome("not asked", str(busy))
    except GatewayError as error:
        return _Outcome("silent", str(error))
    code = refusal(answer)
    return _Outcome("found", exception_text(code) if code else "answers")


def _lines(baudrates: Sequence[int], formats: Sequence[str]) -> list[Settings]:
    for baudrate in baudrates:
        _check("baudrate", baudrate)
    for form in formats:
        _check("format", form)
    return list(dict.fromkeys(Settings(*settings) for settings in product(baudrates, formats)))


def _check(key: str, value: object) -> None:
    """As in the config file."""
    field = PortConfig.model_fields[key]
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(value, strict=True)
    except ValidationError:
        raise GatewayError(f'"{value}" is no {key}: {field.description}') from None


def _units(text: str) -> list[int]:
    """ "1-10,17"."""
    try:
        units = {unit for part in text.split(",") for unit in unit_range(part.strip())}
    except ValueError:
        units = {0}
    if 0 in units:
        raise GatewayError(f'"{text[:60]}" are no unit ids: "1-10,17", each 1 to 255')
    return sorted(units)
