"""The control socket: RUN_DIR/control.sock, one JSON object per line each way. A verb is a function in a
table.

    {"verb":"status"}                 -> {"ok":true,"gateway":{...},"ports":{...},...}
    {"verb":"status","name":"nosuch"} -> {"ok":false,"error":"no port, link or device is called ..."}
    {"verb":"trace","name":"meters"}  -> {"ok":true,...} and then a line per frame, until the client hangs up
                                         or sends anything

Promises: one daemon per socket; whatever a client sends, or does not read, costs a bounded amount of memory
and time, never a traceback, and ends that client alone. The socket file goes when the daemon goes. It knows
nothing of ports and links: the daemon hands in a Gateway.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Never, Protocol

from . import __version__
from .contracts import Traced
from .errors import GatewayError
from .flow import Fan, Tap
from .host.threads import in_thread
from .host.unixsocket import listening
from .scope import Scope
from .status import Record, timestamp

GROUP = "gateway"  # whose members may ask, where the system has this group
log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """What a client may cost us. Seconds and bytes."""

    clients: int = 16
    request: int = 64 * 1024
    idle: float = 30.0  # from one whole request to the next
    unread: float = 10.0  # until an answer was taken
    farewell: float = 1.0  # for what was on its way when we hung up
    waiting: int = 64 * 1024  # of a trace that is not read as fast as it grows


class Reloaded(NamedTuple):
    """What a reload did. With problems it changed nothing."""

    problems: list[str]
    warnings: list[str]
    changed: list[str]  # "ports.meters", "links.cloud"


class Gateway(Protocol):
    """The running daemon as this socket sees it."""

    def status(self) -> Record: ...

    async def reload(self) -> Reloaded: ...

    def trace(self, name: str, /) -> Fan[Traced]:
        """Of a port, link or device; GatewayError when there is none (say it with `no_such`)."""


def no_such(what: str, name: str, names: Iterable[str]) -> GatewayError:
    """ "no port, link or device is called "meter"; did you mean "meters"?"."""
    name, known = name[:60], sorted(names)
    near = get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known) or 'none'}"
    return GatewayError(f'no {what} is called "{name}"; {hint}')


@asynccontextmanager
async def serve(path: Path, gateway: Gateway, limits: Limits | None = None) -> AsyncIterator[None]:
    """Answers on `path` while the block lasts. AlreadyRunning, or GatewayError when it cannot be opened."""
    with listening(path, GROUP) as listener:
        async with Scope() as scope:
            scope.start(_accept(listener, scope, gateway, limits or Limits()), "control")
            yield


async def _accept(listener: socket.socket, scope: Scope, gateway: Gateway, limits: Limits) -> Never:
    loop = asyncio.get_running_loop()
    clients: set[asyncio.Task[None]] = set()
    while True:
        try:
            line, _ = await loop.sock_accept(listener)
        except OSError as error:  # out of file descriptors: others will be closed
            log.warning("control socket: %s", error)
            await asyncio.sleep(1.0)
            continue
        if len(clients) >= limits.clients:
            _turn_away(line, limits.clients)
        else:
            client = scope.start(_Client(line, gateway, limits).serve(), "control client")
            clients.add(client)
            client.add_done_callback(partial(_over, clients, line))
        await asyncio.sleep(0)  # sock_accept does not yield while more are waiting


def _over(clients: set[asyncio.Task[None]], line: socket.socket, client: asyncio.Task[None]) -> None:
    clients.discard(client)
    line.close()


def _turn_away(line: socket.socket, most: int) -> None:
    with line, suppress(OSError):
        line.send(_encoded({"ok": False, "error": f"{most} clients are connected already"}))


def _encoded(answer: object) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


class _BadRequest(GatewayError):
    """Not our language: said once, then the client is sent away."""


class _Gone(GatewayError):
    """It hung up, or one of the limits ran out."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # TimeoutError is one
        raise _Gone(str(error)) from None


class _Client:
    """One connection: requests in, answers out, one after the other."""

    def __init__(self, line: socket.socket, gateway: Gateway, limits: Limits) -> None:
        self.gateway, self.limits = gateway, limits
        self._line, self._held = line, b""
        self._loop = asyncio.get_running_loop()

    async def serve(self) -> None:
        """Until it leaves, breaks the rules, or is idle for too long."""
        with suppress(_Gone):
            try:
                while request := await self._request():
                    await self._answer(request)
                    await asyncio.sleep(0)  # a flood of requests must not hold the loop
            except _BadRequest as error:
                await self.say({"ok": False, "error": str(error)})
        with suppress(OSError):
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Hears the client out for a moment: closing on unread bytes would take our last line from it."""
        self._line.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(self.limits.farewell):
            while True:
                if not await self._loop.sock_recv(self._line, 65536):
                    return
                await asyncio.sleep(0)  # sock_recv does not yield while there is more

    async def _request(self) -> bytes:
        """The next line, b"" at the end. What is unfinished at the end is a line too."""
        most = self.limits.request
        with _translated():
            async with asyncio.timeout(self.limits.idle):
                while b"\n" not in self._held:
                    if len(self._held) > most:
                        raise _BadRequest(f"a request is one line of at most {most} bytes")
                    more = await self._loop.sock_recv(self._line, most + 1 - len(self._held))
                    if not more:
                        rest, self._held = self._held, b""
                        return rest
                    self._held += more
        line, end, self._held = self._held.partition(b"\n")
        return line + end

    async def _answer(self, line: bytes) -> None:
        try:
            verb, arguments = _understood(line)
            await VERBS[verb].run(self, **arguments)
        except (_BadRequest, _Gone):
            raise
        except GatewayError as error:
            await self.say({"ok": False, "error": str(error)})
        except Exception as bug:
            log.exception("control socket: internal error")
            await self.say({"ok": False, "error": f"internal error: {bug!r}"})

    async def say(self, answer: object) -> None:
        """One line, to a client that takes it in time."""
        with _translated():
            async with asyncio.timeout(self.limits.unread):
                await self._loop.sock_sendall(self._line, _encoded(answer))

    async def left(self) -> Never:
        """What ends a stream: the client hangs up, or sends something."""
        with _translated():
            await self._loop.sock_recv(self._line, 1)
        raise _Gone("the stream was ended")


def _understood(line: bytes) -> tuple[str, dict[str, str]]:
    """The verb and its arguments, both known to exist and to fit."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    verb = request.pop("verb", None) if isinstance(request, dict) else None
    if not isinstance(verb, str):
        raise _BadRequest('not a JSON object with a verb, for example {"verb":"status"}')
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


async def _status(client: _Client, name: str | None = None) -> None:
    record = client.gateway.status()
    await client.say({"ok": True, **(record if name is None else _only(record, name))})


def _only(record: Record, name: str) -> Record:
    groups = record["ports"], record["links"], record["devices"]
    if not any(name in group for group in groups):
        raise no_such("port, link or device", name, {known for group in groups for known in group})
    ports, links, devices = ({name: group[name]} if name in group else {} for group in groups)
    return {"gateway": record["gateway"], "ports": ports, "links": links, "devices": devices}


async def _reload(client: _Client) -> None:
    done = await client.gateway.reload()
    answer = {"ok": not done.problems, **done._asdict()}
    if done.problems:
        answer["error"] = "the config file has problems; nothing was changed"
    await client.say(answer)


async def _trace(client: _Client, name: str) -> None:
    # The words for what is seen load pymodbus, 30 ms that no line shall wait for.
    await in_thread(partial(import_module, f"{__package__}.wire.pdus"), "trace vocabulary")
    with client.gateway.trace(name).tap(limit=client.limits.waiting) as tap:
        record = client.gateway.status()
        part = {**record["ports"], **record["devices"], **record["links"]}.get(name, {})
        await client.say({"ok": True, "name": name, "mode": part.get("mode") or part.get("kind")})
        async with Scope() as scope:
            scope.start(client.left())
            await _stream(client, tap)


async def _stream(client: _Client, tap: Tap[Traced]) -> Never:
    missed = 0
    while True:
        for seen in await tap.take():
            await client.say(
                {"at": timestamp(seen.at), "way": seen.way, "hex": seen.data.hex(" "), "text": seen.text}
            )
        if tap.missed > missed:
            await client.say({"missed": tap.missed - missed})
            missed = tap.missed


async def _version(client: _Client) -> None:
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
    "version": Verb(_version),
}
