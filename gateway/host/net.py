"""Dials and listens. The only file with stream sockets; each one that it hands out is tuned from one number.

    async with net.dial(endpoint, detect_within) as sock:                 # for paho, which wants a socket
    async with net.connect(endpoint, detect_within, trace) as connection: # for everybody else who dials
    async with net.listen(endpoint, detect_within, clients, trace) as listener:
        await listener.serve(peer)

Inside such a block a dead far end arrives as LinkDown out of whatever is awaited. Leaving the block by an
error resets the connection. One peer of a listener ends alone, even by a bug of ours.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Never

from ..contracts import Traced
from ..errors import Down, LinkDown, PeerError
from ..flow import Fan
from ..policy.liveness import Profile, profile
from ..scope import Scope
from ..settings import Endpoint
from . import tuning
from .connection import Connection, address_of, reason
from .threads import in_thread

_ACCEPT_PAUSE = 1.0  # seconds, when the process has no descriptor left
log = logging.getLogger(__name__)


@asynccontextmanager
async def dial(endpoint: Endpoint, detect_within: float) -> AsyncIterator[socket.socket]:
    """A connected, tuned, non-blocking socket.

    Whoever gets it may close it earlier. LinkDown when nobody answers.
    """
    sock = await _connected(endpoint, profile(detect_within))
    keeper = sock.dup()  # asyncio or paho will own and close `sock`; this one can still be reset
    try:
        yield sock
    except Exception:
        tuning.reset_on_close(keeper)
        raise
    finally:
        keeper.close()
        sock.close()


@asynccontextmanager
async def connect(endpoint: Endpoint, detect_within: float, trace: Fan[Traced]) -> AsyncIterator[Connection]:
    """A Connection to the first address of `endpoint` that accepts."""
    connection = Connection(await _connected(endpoint, profile(detect_within)), trace)
    try:
        yield connection
    except Exception:
        connection.abort()
        raise
    finally:
        connection.close()


async def _connected(endpoint: Endpoint, settings: Profile) -> socket.socket:
    down = LinkDown(f"{endpoint}: the name has no address")
    for family, address in await _lookup(endpoint, settings.connect_timeout):
        try:
            return await _connect(family, address, settings)
        except TimeoutError:
            down = LinkDown(f"no answer from {endpoint} within {settings.connect_timeout:g} s")
        except OSError as error:
            down = LinkDown(f"{endpoint}: {reason(error)}")
    raise down


async def _lookup(endpoint: Endpoint, within: float) -> list[tuple[int, Any]]:
    """A numeric address is known at once; a name is looked up in a thread, because that may take minutes."""
    ask = partial(socket.getaddrinfo, endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    with suppress(socket.gaierror, UnicodeError):
        return [(family, address) for family, _, _, _, address in ask(flags=socket.AI_NUMERICHOST)]
    try:
        async with asyncio.timeout(within):
            found = await in_thread(ask, f"lookup {endpoint.host}")
    except TimeoutError:
        raise LinkDown(f"the name lookup of {endpoint.host} gave no answer within {within:g} s") from None
    except OSError as error:
        raise LinkDown(f"cannot resolve {endpoint.host}: {error.strerror}") from error
    except UnicodeError:  # an empty label, or one of more than 63 characters
        raise LinkDown(f'"{endpoint.host}" is no host name') from None
    return [(family, address) for family, _, _, _, address in found]


async def _connect(family: int, address: Any, settings: Profile) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tuning.tune(sock, settings)
        async with asyncio.timeout(settings.connect_timeout):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """A bound address. Accepts, limits and tunes; what a peer does is the link's business."""

    def __init__(self, server: socket.socket, settings: Profile, clients: int, trace: Fan[Traced]) -> None:
        self._server, self._settings, self._clients, self._trace = server, settings, clients, trace
        self.peers: dict[int, Connection] = {}
        self.refused = 0

    async def serve(self, peer: Callable[[Connection], Awaitable[object]]) -> Never:
        """Runs `peer(connection)` for each client, until cancelled."""
        async with Scope() as scope:
            while True:
                sock, address = await self._accept()
                if len(self.peers) >= self._clients:
                    self.refused += 1
                    log.warning("%s refused: max_clients = %d", address_of(address), self._clients)
                    sock.close()
                    continue
                tuning.tune(sock, self._settings)
                connection = Connection(sock, self._trace)
                self.peers[connection.number] = connection
                scope.start(self._serve_one(connection, peer))

    async def _accept(self) -> tuple[socket.socket, object]:
        while True:
            try:
                return await asyncio.get_running_loop().sock_accept(self._server)
            except OSError as error:
                log.warning("cannot accept: %s", reason(error))
                await asyncio.sleep(_ACCEPT_PAUSE)

    async def _serve_one(
        self, connection: Connection, peer: Callable[[Connection], Awaitable[object]]
    ) -> None:
        log.info("%s connected", connection.address)
        try:
            await peer(connection)
        except PeerError as error:
            log.warning("%s: %s", connection.address, error)
        except Down as down:
            log.info("%s left: %s", connection.address, down)
        except Exception:
            log.exception("%s: internal error, this connection ends", connection.address)
            connection.abort()
        finally:
            connection.close()
            del self.peers[connection.number]


@asynccontextmanager
async def listen(
    endpoint: Endpoint, detect_within: float, clients: int, trace: Fan[Traced]
) -> AsyncIterator[Listener]:
    """Bound to `endpoint`, for at most `clients` peers at once. LinkDown when the address cannot be had."""
    settings = profile(detect_within)
    try:
        server = await _bound(endpoint, settings.connect_timeout)
    except OSError as error:
        raise LinkDown(f"cannot listen on {endpoint}: {reason(error)}") from error
    with server:
        server.setblocking(False)
        yield Listener(server, settings, clients, trace)


async def _bound(endpoint: Endpoint, within: float) -> socket.socket:
    if not endpoint.host and socket.has_dualstack_ipv6():
        return socket.create_server(("", endpoint.port), family=socket.AF_INET6, dualstack_ipv6=True)
    if not endpoint.host:
        return socket.create_server(("", endpoint.port))
    found = await _lookup(endpoint, within)
    family, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # "localhost" is both
    return socket.create_server(address, family=family)
