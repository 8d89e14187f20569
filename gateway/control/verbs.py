"""What the control socket answers: a verb is a function in a table."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from time import time
from typing import Any, NamedTuple, Never

from .. import __version__
from ..contracts import Traced
from ..errors import GatewayError
from ..flow import Tap
from ..host.survey import survey
from ..host.threads import in_thread
from ..scope import Scope
from ..status import Record, timestamp
from ..values import duration
from .client import BadRequest, Client, Gone
from .contract import Gateway, Kept, no_such
from .export import export
from .scanning import scan
from .transactions import Unanswered, read, write

_LOOK = 0.02  # seconds
_LOOKS = 100  # then the disk is in trouble, and what was cleared there goes later
_LONGEST_PAUSE = 86400.0  # seconds: a line that somebody has forgotten is not lost for ever
log = logging.getLogger(__name__)


async def answer(gateway: Gateway, client: Client, request: bytes) -> None:
    try:
        verb, arguments = _understood(request)
        await VERBS[verb].run(client, gateway, **arguments)
    except (BadRequest, Gone):
        raise
    except Unanswered as error:
        await client.say({"ok": False, "error": str(error), "exception": error.modbus})
    except GatewayError as error:
        await client.say({"ok": False, "error": str(error)})
    except Exception as bug:
        log.exception("control socket: internal error")
        await client.say({"ok": False, "error": f"internal error: {bug!r}"})


def _understood(line: bytes) -> tuple[str, dict[str, Any]]:
    """The verb and its arguments, both known to exist and to fit."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    verb = request.pop("verb", None) if isinstance(request, dict) else None
    if not isinstance(verb, str):
        raise BadRequest('not a JSON object with a verb, for example {"verb":"status"}')
    if verb not in VERBS:
        raise no_such("verb", verb, VERBS)
    need, may = VERBS[verb].need, VERBS[verb].may
    if missing := [key for key in need if key not in request]:
        raise GatewayError(f'"{verb}" needs "{missing[0]}"')
    for key, value in request.items():
        if key not in need + may:
            raise GatewayError(f'"{verb}" has no "{key[:60]}"')
        kind = _KINDS.get(key, _TEXT)
        if not kind.holds(value):
            raise GatewayError(f'"{key}" is {kind.text}')
    return verb, request


class _Kind(NamedTuple):
    """What the value of a key may be."""

    holds: Callable[[object], bool]
    text: str


def _is_number(value: object, most: int = 0xFFFF) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_list(value: object, holds: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(holds, value))


_TEXT = _Kind(lambda value: isinstance(value, str), "a string")
_KINDS = {  # of the keys that are no strings
    "unit_id": _Kind(partial(_is_number, most=255), "a number, 0 to 255"),
    "address": _Kind(_is_number, "a number, 0 to 65535"),
    "count": _Kind(_is_number, "a number"),
    "values": _Kind(partial(_is_list, holds=_is_number), "a list of numbers, each 0 to 65535"),
    "baudrates": _Kind(partial(_is_list, holds=partial(_is_number, most=10**9)), "a list of numbers"),
    "formats": _Kind(partial(_is_list, holds=_TEXT.holds), "a list of strings"),
}


async def _status(client: Client, gateway: Gateway, name: str | None = None) -> None:
    record = gateway.status()
    await client.say({"ok": True, **(record if name is None else _only(record, name))})


def _only(record: Record, name: str) -> Record:
    groups = record["ports"], record["links"], record["devices"]
    if not any(name in group for group in groups):
        raise no_such("port, link or device", name, {known for group in groups for known in group})
    ports, links, devices = ({name: group[name]} if name in group else {} for group in groups)
    return {"gateway": record["gateway"], "ports": ports, "links": links, "devices": devices}


async def _reload(client: Client, gateway: Gateway) -> None:
    done = await gateway.reload()
    told = {"ok": not done.problems, **done._asdict()}
    if done.problems:
        told["error"] = "the config file has problems; nothing was changed"
    await client.say(told)


async def _trace(client: Client, gateway: Gateway, name: str) -> None:
    # The words for what is seen load pymodbus, 30 ms that no line shall wait for.
    await in_thread(partial(import_module, "gateway.wire.pdus"), "trace vocabulary")
    with gateway.trace(name).tap(limit=client.limits.waiting) as tap:
        record = gateway.status()
        part = {**record["ports"], **record["devices"], **record["links"]}.get(name, {})
        await client.say({"ok": True, "name": name, "mode": part.get("mode") or part.get("kind")})
        async with Scope() as scope:
            scope.start(client.left())
            await _stream(client, tap)


async def _stream(client: Client, tap: Tap[Traced]) -> Never:
    missed = 0
    while True:
        for seen in await tap.take():
            await client.say(
                {"at": timestamp(seen.at), "way": seen.way, "hex": seen.data.hex(" "), "text": seen.text}
            )
        if tap.missed > missed:
            await client.say({"missed": tap.missed - missed})
            missed = tap.missed


async def _buffer(client: Client, gateway: Gateway, name: str | None = None) -> None:
    kept, wall = gateway.buffers(), time()
    shown = kept if name is None else {name: _named(name, kept)}
    await client.say({"ok": True, "buffers": {label: one.status(wall) for label, one in shown.items()}})


async def _export(client: Client, gateway: Gateway, name: str) -> None:
    buffer = _named(name, gateway.buffers()).buffer
    await client.say({"ok": True, "name": name, "records": buffer.records})
    await client.say({"exported": await export(buffer, client.send)})


async def _clear(client: Client, gateway: Gateway, name: str) -> None:
    buffer = _named(name, gateway.buffers()).buffer
    records = buffer.clear()
    log.warning("%s: its buffer was cleared: %d records", name, records)
    for _ in range(_LOOKS):
        if buffer.records == buffer.held_records:  # the disk has let go of it, too
            break
        await asyncio.sleep(_LOOK)
    await client.say({"ok": True, "records": records})


def _named(name: str, kept: Mapping[str, Kept]) -> Kept:
    if name not in kept:
        raise no_such("buffer", name, kept)
    return kept[name]


async def _ports(client: Client, gateway: Gateway) -> None:
    look = partial(survey, gateway.status()["ports"])
    await client.say({"ok": True, "ttys": await in_thread(look, "look at the ttys")})


async def _pause(client: Client, gateway: Gateway, name: str, duration: str) -> None:
    seconds = _seconds(duration)
    await gateway.pause(name, seconds)
    await client.say({"ok": True, "name": name, "until": timestamp(time() + seconds), "seconds": seconds})


def _seconds(text: str) -> float:
    try:
        seconds = duration(text)
    except ValueError as error:
        raise GatewayError(str(error)) from None
    if not 0 < seconds <= _LONGEST_PAUSE:
        raise GatewayError("a pause has an end: after 24h at most")
    return seconds


async def _resume(client: Client, gateway: Gateway, name: str) -> None:
    gateway.resume(name)
    await client.say({"ok": True, "name": name})


async def _events(client: Client, gateway: Gateway) -> None:
    await client.say({"ok": True, "events": gateway.events()})


async def _version(client: Client, gateway: Gateway) -> None:
    await client.say({"ok": True, "version": __version__})


class Verb(NamedTuple):
    """What answers a request, and the keys that it takes beside "verb"."""

    run: Callable[..., Awaitable[None]]
    need: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


VERBS = {
    "status": Verb(_status, may=("name",)),
    "reload": Verb(_reload),
    "trace": Verb(_trace, need=("name",)),
    "buffer": Verb(_buffer, may=("name",)),
    "export": Verb(_export, need=("name",)),
    "clear": Verb(_clear, need=("name",)),
    "read": Verb(read, need=("name", "unit_id", "table", "address"), may=("count",)),
    "write": Verb(write, need=("name", "unit_id", "table", "address", "values")),
    "scan": Verb(scan, need=("name",), may=("unit_ids", "baudrates", "formats")),
    "ports": Verb(_ports),
    "pause": Verb(_pause, need=("name", "duration")),
    "resume": Verb(_resume, need=("name",)),
    "events": Verb(_events),
    "version": Verb(_version),
}
