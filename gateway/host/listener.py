"""A bound address: accepts, limits, tunes and watches; what a peer does is the link's business.

Promises: one peer ends alone, even by a bug of ours. Whoever comes when every place is taken gets one of a
peer that is not there any more, if its link allows it, and is refused otherwise, with a line in the log.
With TLS nobody gets a place, or costs another one his, before the handshake is done: until then he stands in
the porch, where there is room for a few, for a few seconds.
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
from .tls import Context
from .tunnel import Tunnel
from .watch import Watch

_ACCEPT_PAUSE = 1.0  # seconds, when the process has no descriptor left
_PROOF = 2.0  # seconds in which an old client must show that it is still there
_PORCH = 8  # clients
log = logging.getLogger(__name__)

Peer = Callable[[Connection], Awaitable[object]]


class Places(NamedTuple):
    """How many peers at once, and who makes room for one more."""

    most: int
    drop_idle: float | None = None  # seconds without a byte either way: the one that was idle for longest
    kick_old: bool = False  # one of the newcomer's own address that does not answer


class Newcomer(NamedTuple):
    """Accepted by the kernel, not by us."""

    sock: socket.socket
    address: str
    tunnel: Tunnel | None = None

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]


class Listener:
    """Serves until cancelled. `peers` by their number; `refused` counts."""

    def __init__(
        self,
        server: socket.socket,
        bounds: Bounds,
        places: Places,
        trace: Fan[Traced],
        tls: Context | None = None,
    ) -> None:
        self._server, self._bounds, self._places, self._trace = server, bounds, places, trace
        self._tls, self._in_porch = tls, 0
        self.peers: dict[int, Connection] = {}
        self.refused = 0
        self._asking: set[str] = set()  # hosts whose old connections are being asked

    async def serve(self, peer: Peer) -> Never:
        """Runs `peer(connection)` for each client."""
        async with Scope() as scope:
            while True:
                sock, address = await self._accept()
                tuning.tune(sock, profile(self._bounds))
                newcomer = Newcomer(sock, address_of(address))
                if self._tls is None:
                    self._admit(newcomer, scope, peer)
                elif self._in_porch < _PORCH:
                    self._in_porch += 1
                    scope.start(self._shake_hands(newcomer, Tunnel(self._tls, None), scope, peer))
                else:
                    self._refuse(newcomer, f"{_PORCH} others are still shaking hands")

    async def _shake_hands(self, newcomer: Newcomer, tunnel: Tunnel, scope: Scope, peer: Peer) -> None:
        within = profile(self._bounds).connect_timeout
        done = False
        try:
            async with asyncio.timeout(within):
                await tunnel.shake_hands(newcomer.sock)
            done = True
        except TimeoutError:
            log.warning("%s: no TLS handshake within %g s", newcomer.address, within)
        except LinkDown as down:
            log.warning("%s: %s", newcomer.address, down)
        except Exception:
            log.exception("%s: internal error, this connection ends", newcomer.address)
        finally:
            self._in_porch -= 1
            if not done:
                newcomer.sock.close()
        if done:
            self._admit(newcomer._replace(tunnel=tunnel), scope, peer)

    def _admit(self, newcomer: Newcomer, scope: Scope, peer: Peer) -> None:
        if len(self.peers) < self._places.most or self._dropped_idle(newcomer):
            scope.start(self._serve_one(self._seat(newcomer), peer))
        elif self._places.kick_old and self._same_host(newcomer):
            scope.start(self._contest(newcomer, peer))
        else:
            self._refuse(newcomer, f"max_clients = {self._places.most}")

    async def _accept(self) -> tuple[socket.socket, object]:
        while True:
            try:
                return await asyncio.get_running_loop().sock_accept(self._server)
            except OSError as error:
                log.warning("cannot accept: %s", reason(error))
                await asyncio.sleep(_ACCEPT_PAUSE)

    def _refuse(self, newcomer: Newcomer, why: str) -> None:
        self.refused += 1
        log.warning("%s refused: %s", newcomer.address, why)
        newcomer.sock.close()

    def _dropped_idle(self, newcomer: Newcomer) -> bool:
        if self._places.drop_idle is None:
            return False
        idle, longest = max((peer.idle, number) for number, peer in self.peers.items())
        if idle >= self._places.drop_idle:
            self._end(self.peers[longest], f"idle for {idle:.0f} s, makes room for {newcomer.address}")
            return True
        return False

    def _same_host(self, newcomer: Newcomer) -> list[Connection]:
        if newcomer.host in self._asking:
            return []
        return [peer for peer in self.peers.values() if peer.host == newcomer.host]

    async def _contest(self, newcomer: Newcomer, peer: Peer) -> None:
        """For the place of an old connection of the same host."""
        old = self._same_host(newcomer)
        self._asking.add(newcomer.host)
        try:
            async with Scope() as scope:
                asked = [(one, scope.start(one.watch.proves(_PROOF))) for one in old]
                gone = [one for one, answer in asked if not await answer]
        except BaseException:
            newcomer.sock.close()
            raise
        finally:
            self._asking.discard(newcomer.host)
        for one in gone:
            self._end(one, f"no round trip within {_PROOF:g} s, replaced by {newcomer.address}")
        if len(self.peers) < self._places.most:
            await self._serve_one(self._seat(newcomer), peer)
        else:
            self._refuse(newcomer, f"max_clients = {self._places.most}")

    def _end(self, peer: Connection, why: str) -> None:
        """Its place is free at once."""
        self.peers.pop(peer.number, None)
        peer.end(LinkDown(why))

    def _seat(self, newcomer: Newcomer) -> Connection:
        watch = Watch(newcomer.sock, self._bounds)
        connection = Connection(newcomer.sock, watch, self._trace, newcomer.tunnel)
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
