"""The control socket: RUN_DIR/control.sock, one JSON object per line each way.

    {"verb":"status"}                 -> {"ok":true,"gateway":{...},"ports":{...},...}
    {"verb":"status","name":"nosuch"} -> {"ok":false,"error":"no port, link or device is called ..."}
    {"verb":"trace","name":"meters"}  -> {"ok":true,...} and then a line per frame, until the client hangs up
                                         or sends anything; "scan" does likewise
    {"verb":"export","name":"cloud"}  -> {"ok":true,...}, a line per record, and {"exported":N}

Promises: one daemon per socket; whatever a client sends, or does not read, costs a bounded amount of memory
and time, never a traceback, and ends that client alone. The socket file goes when the daemon goes. It knows
nothing of ports and links: the daemon hands in a Gateway. `client` is a connection, `verbs` what is said.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Never

from ..host.unixsocket import listening
from ..policy.episodes import Episodes
from ..scope import Scope
from .client import Client, Limits, turn_away
from .contract import Gateway, Kept, Reloaded, no_such
from .events import Event, Events
from .verbs import answer

__all__ = ["Event", "Events", "Gateway", "Kept", "Limits", "Reloaded", "no_such", "serve"]

GROUP = "gateway"  # whose members may ask, where the system has this group
_QUIET = 600.0  # seconds
log = logging.getLogger(__name__)


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
    told = Episodes(_QUIET, 1)
    while True:
        try:
            line, _ = await loop.sock_accept(listener)
        except OSError as error:  # out of file descriptors: others will be closed
            if told.begins("", loop.time()):
                log.warning("control socket: %s", error)
            await asyncio.sleep(1.0)
            continue
        if len(clients) >= limits.clients:
            turn_away(line, limits.clients)
        else:
            client = scope.start(Client(line, limits).serve(partial(answer, gateway)), "control client")
            clients.add(client)
            client.add_done_callback(partial(_over, clients, line))
        await asyncio.sleep(0)  # sock_accept does not yield while more are waiting


def _over(clients: set[asyncio.Task[None]], line: socket.socket, client: asyncio.Task[None]) -> None:
    clients.discard(client)
    line.close()
