"""A bound address: accepts, limits, tunes and watches; what a peer does is the link's business.

Promises: one peer ends alone, even by a bug of ours. Whoever comes when every place is taken gets one of a
peer that is not there any more, if its link allows it, and is refused otherwise, with a line in the log.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Never

from ..contracts import Traced
from ..errors import Down, LinkDown, PeerError
from ..flow import Fan
from ..policy.liveness import Bounds, profile
from ..scope import Scope
from . import tuning
from .connection import Connection, address_of, reason
from .watch import Watch

_ACCEPT_PAUSE = 1.0  # seconds, when the process has no descriptor left
_PROOF = 2.0  # seconds in which an old client must show that it is still there
log = logging.getLogger(__name__)

Peer = Callable[[Connection], Awaitable[object]]


class Places(NamedTuple):
    """How many peers at once, and who makes room for one more."""

    most: int
    drop_idle: float | None = None  # seconds without a byte either way: the one that was idle for longest
    kick_old: bool = False  # one of the newcomer's own address that does not answer


class Listener:
    """Serves until cancelled. `peers` by their number; `refused` counts."""

    def __init__(self, server: socket.socket, bounds: Bounds, places: Places, trace: Fan[Traced]) -> None:
        self._server, self._bounds, self._places, self._trace = server, bounds, places, trace
        self.peers: dict[int, Connection] = {}
        self.refused = 0
        self._asking: set[str] = set()  # hosts whose old connections are being asked

    async def serve(self, peer: Peer) -> Never:
        """Runs `peer(connection)` for each client."""
        async with Scope() as scope:
            while True:
                sock, address = await self._accept()
                newcomer = address_of(address)
                if len(self.peers) < self._places.most or self._dropped_idle(newcomer):
                    scope.start(self._serve_one(self._seat(sock), peer))
                elif self._places.kick_old and self._same_host(newcomer):
                    scope.start(self._contest(sock, newcomer, peer))
                else:
                    self._refuse(sock, newcomer)

    async def _accept(self) -> tuple[socket.socket, object]:
        while True:
            try:
                return await asyncio.get_running_loop().sock_accept(self._server)
            except OSError as error:
                log.warning("cannot accept: %s", reason(error))
                await asyncio.sleep(_ACCEPT_PAUSE)

    def _refuse(self, sock: socket.socket, newcomer: str) -> None:
        self.refused += 1
        log.warning("%s refused: max_clients = %d", newcomer, self._places.most)
        sock.close()

    def _dropped_idle(self, newcomer: str) -> bool:
        if self._places.drop_idle is None:
            return False
        idle, longest = max((peer.idle, number) for number, peer in self.peers.items())
        if idle >= self._places.drop_idle:
            self._end(self.peers[longest], f"idle for {idle:.0f} s, makes room for {newcomer}")
            return True
        return False

    def _same_host(self, newcomer: str) -> list[Connection]:
        host = newcomer.rpartition(":")[0]
        return [] if host in self._asking else [peer for peer in self.peers.values() if peer.host == host]

    async def _contest(self, sock: socket.socket, newcomer: str, peer: Peer) -> None:
        """For the place of an old connection of the same host."""
        old, host = self._same_host(newcomer), newcomer.rpartition(":")[0]
        self._asking.add(host)
        try:
            async with Scope() as scope:
                asked = [(one, scope.start(one.watch.proves(_PROOF))) for one in old]
                gone = [one for one, answer in asked if not await answer]
        except BaseException:
            sock.close()
            raise
        finally:
            self._asking.discard(host)
        for one in gone:
            self._end(one, f"no round trip within {_PROOF:g} s, replaced by {newcomer}")
        if len(self.peers) < self._places.most:
            await self._serve_one(self._seat(sock), peer)
        else:
            self._refuse(sock, newcomer)

    def _end(self, peer: Connection, why: str) -> None:
        """Its place is free at once."""
        self.peers.pop(peer.number, None)
        peer.end(LinkDown(why))

    def _seat(self, sock: socket.socket) -> Connection:
        tuning.tune(sock, profile(self._bounds))
        connection = Connection(sock, Watch(sock, self._bounds), self._trace)
        self.peers[connection.number] = connection
        return connection

    async def _serve_one(self, connection: Connection, peer: Peer) -> None:
        log.info("%s connected", connection.address)
        try:
            await peer(connection)
        except PeerError as error:
            log.warning("%s: %s", connection.address, error)
        except Down as down:
            unacked = f", {down.unacked} bytes unacknowledged" if down.unacked else ""
            log.info("%s left: %s%s", connection.address, down, unacked)
        except Exception:
            log.exception("%s: internal error, this connection ends", connection.address)
            connection.abort()
        finally:
            connection.close()
            self.peers.pop(connection.number, None)
