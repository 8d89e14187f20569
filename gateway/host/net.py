"""Dials and listens. Each socket that is handed out is tuned and watched from one number.

    async with net.dial(endpoint, bounds) as (sock, watch):               # for paho, which wants a socket
    async with net.connect(endpoint, bounds, trace) as connection:        # for everybody else who dials
    async with net.listen(endpoint, bounds, places, trace) as listener:
        await listener.serve(peer)

Inside such a block a dead far end arrives as LinkDown out of whatever is awaited (with a bare socket: where
its watch tells). Leaving the block by an error resets the connection.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from ..contracts import Traced
from ..errors import LinkDown
from ..flow import Fan
from ..policy.liveness import Bounds, Profile, profile
from ..values import Endpoint
from . import tuning
from .connection import Connection, reason
from .listener import Listener, Places
from .threads import in_thread
from .tls import Context
from .tunnel import Tunnel
from .watch import Watch


@asynccontextmanager
async def dial(endpoint: Endpoint, bounds: Bounds) -> AsyncIterator[tuple[socket.socket, Watch]]:
    """A connected, tuned, non-blocking socket, and its watchdog to be started.

    Whoever gets it may close it earlier. LinkDown when nobody answers.
    """
    sock = await _connected(endpoint, profile(bounds))
    with sock, sock.dup() as keeper:  # paho or ssl will own and close `sock`; this one can still be watched
        watch = Watch(keeper, bounds)
        try:
            yield sock, watch
        except Exception:
            tuning.reset_on_close(keeper)
            raise
        finally:
            watch.stop()


@asynccontextmanager
async def connect(
    endpoint: Endpoint, bounds: Bounds, trace: Fan[Traced], tls: Context | None = None
) -> AsyncIterator[Connection]:
    """A Connection to the first address of `endpoint` that accepts.

    With `tls` its certificate must name it.
    """
    settings = profile(bounds)
    sock = await _connected(endpoint, settings)
    tunnel = None if tls is None else await _secured(sock, tls, endpoint.host, settings.connect_timeout)
    connection = Connection(sock, Watch(sock, bounds), trace, tunnel)
    try:
        yield connection
    except Exception:
        connection.abort()
        raise
    finally:
        connection.close()


async def _secured(sock: socket.socket, tls: Context, host: str, within: float) -> Tunnel:
    tunnel = Tunnel(tls, host)
    try:
        async with asyncio.timeout(within):
            await tunnel.shake_hands(sock)
    except TimeoutError:
        sock.close()
        raise LinkDown(f"no answer to the TLS handshake within {within:g} s") from None
    except BaseException:
        sock.close()
        raise
    return tunnel


async def _connected(endpoint: Endpoint, settings: Profile) -> socket.socket:
    down = LinkDown(f"{endpoint}: the name has no address")
    for family, address in await lookup(endpoint, settings.connect_timeout):
        try:
            return await _connect(family, address, settings)
        except TimeoutError:
            down = LinkDown(f"no answer from {endpoint} within {settings.connect_timeout:g} s")
        except OSError as error:
            down = LinkDown(f"{endpoint}: {reason(error)}")
    raise down


async def lookup(endpoint: Endpoint, within: float) -> list[tuple[int, Any]]:
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


@asynccontextmanager
async def listen(
    endpoint: Endpoint, bounds: Bounds, places: Places, trace: Fan[Traced], tls: Context | None = None
) -> AsyncIterator[Listener]:
    """Bound to `endpoint`. With `tls` peers have to speak that. LinkDown when the address cannot be had."""
    try:
        server = await _bound(endpoint, profile(bounds).connect_timeout)
    except OSError as error:
        raise LinkDown(f"cannot listen on {endpoint}: {reason(error)}") from error
    with server:
        server.setblocking(False)
        yield Listener(server, bounds, places, trace, tls)


async def _bound(endpoint: Endpoint, within: float) -> socket.socket:
    family, address = await to_bind(endpoint, within)
    both = family == socket.AF_INET6 and not endpoint.host
    return socket.create_server(address, family=family, dualstack_ipv6=both)


async def to_bind(endpoint: Endpoint, within: float) -> tuple[int, Any]:
    """Family and address of whoever listens there.

    An empty host is every address, those of IPv4 as well where there is IPv6.
    """
    if not endpoint.host:
        return socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, ("", endpoint.port)
    found = await lookup(endpoint, within)
    return min(found, key=lambda one: one[0] != socket.AF_INET)  # "localhost" is both
