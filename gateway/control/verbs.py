"""What the control socket answers: a verb is a function in a table."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from time import time
from typing import NamedTuple, Never, Protocol

from .. import __version__
from ..buffer import Buffer
from ..contracts import Traced
from ..errors import GatewayError
from ..flow import Fan, Tap
from ..host.threads import in_thread
from ..scope import Scope
from ..status import KeptStatus, Record, timestamp
from .client import BadRequest, Client, Gone
from .export import export

_LOOK = 0.02  # seconds
_LOOKS = 100  # then the disk is in trouble, and what was cleared there goes later
log = logging.getLogger(__name__)


class Reloaded(NamedTuple):
    """What a reload did. With problems it changed nothing."""

    problems: list[str]
    warnings: list[str]
    changed: list[str]  # "ports.meters", "links.cloud"


class Kept(NamedTuple):
    """One buffer, and whose it is."""

    buffer: Buffer
    link: str
    kind: str
    configured: bool
    written_today: int | None  # bytes, to the disk

    def status(self, wall: float) -> KeptStatus:
        return {
            "link": self.link,
            "kind": self.kind,
            "configured": self.configured,
            **self.buffer.status(wall),
            "written_today_bytes": self.written_today,
        }


class Gateway(Protocol):
    """The running daemon as this socket sees it."""

    def status(self) -> Record: ...

    async def reload(self) -> Reloaded: ...

    def trace(self, name: str, /) -> Fan[Traced]:
        """Of a port, link or device; GatewayError when there is none (say it with `no_such`)."""

    def buffers(self) -> Mapping[str, Kept]:
        """By the link's name, or as "LINK.KIND" where no such link is configured any more."""


def no_such(what: str, name: str, names: Iterable[str]) -> GatewayError:
    """ "no port, link or device is called "meter"; did you mean "meters"?"."""
    name, known = name[:60], sorted(names)
    near = get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known) or 'none'}"
    return GatewayError(f'no {what} is called "{name}"; {hint}')


async def answer(gateway: Gateway, client: Client, request: bytes) -> None:
    try:
        verb, arguments = _understood(request)
        await VERBS[verb].run(client, gateway, **arguments)
    except (BadRequest, Gone):
        raise
    except GatewayError as error:
        await client.say({"ok": False, "error": str(error)})
    except Exception as bug:
        log.exception("control socket: internal error")
        await client.say({"ok": False, "error": f"internal error: {bug!r}"})


def _understood(line: bytes) -> tuple[str, dict[str, str]]:
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
        if not isinstance(value, str):
            raise GatewayError(f'"{key}" is a string')
    return verb, request


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


async def _version(client: Client, gateway: Gateway) -> None:
    await client.say({"ok": True, "version": __version__})


class Verb(NamedTuple):
    """What answers a request, and the keys (all strings) that it takes beside "verb"."""

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
    "version": Verb(_version),
}
