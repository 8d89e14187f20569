"""A bound address: accepts, limits, tunes and watches; what a peer does is the link's business.

Promises: one peer ends alone, even by a bug of ours. Whoever may not come in is sent away at once and costs
nobody his place. Whoever comes when every place is taken gets one of a peer that is not there any more, if
its link allows it, and is refused otherwise, with a line in the log.
With TLS nobody gets a place, or costs another one his, before the handshake is done: until then he stands in
the porch, where there is room for a few, for a few seconds.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple, Never

from ..contracts import Traced
from ..errors import Down, LinkDown, PeerError
from ..flow import Fan
from ..policy.access import Network
from ..policy.episodes import Episodes
from ..policy.liveness import Bounds, profile
from ..scope import Scope, whose
from . import tuning
from .connection import Connection, address_of, reason
from .gate import Gate
from .tls import Context
from .tunnel import Tunnel
from .watch import Watch

_ACCEPT_PAUSE = 1.0  # seconds, when the process has no descriptor left
_PROOF = 2.0  # seconds in which an old client must show that it is still there
_PORCH = 8  # clients
_BRIEF = 60.0  # seconds: visits that follow one another faster, and are shorter, are told once
_QUIET = 600.0  # seconds without a fault of a host after which one is worth a line again
_HOSTS = 64  # that are told apart in the log
log = logging.getLogger(__name__)

Peer = Callable[[Connection], Awaitable[object]]


class Places(NamedTuple):
    """How many peers at once, who makes room for one more, and who may have one."""

    most: int
    drop_idle: float | None = None  # seconds without a byte either way: the one that was idle for longest
    kick_old: bool = False  # one of the newcomer's own address that does not answer
    allow: Collection[Network] = ()  # who may come in at all; empty: everybody


class Newcomer(NamedTuple):
    """Accepted by the kernel, not by us."""

    sock: socket.socket
    address: str
    tunnel: Tunnel | None = None

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]


class Listener:
    """Serves until cancelled. `peers` by their number; `refused` counts whom there was no place for."""

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
        self.gate = Gate(address_of(server.getsockname()), places.allow)
        self.peers: dict[int, Connection] = {}
        self.refused = 0
        self._asking: set[str] = set()  # hosts whose old connections are being asked
        self._name, self._now = whose(), asyncio.get_running_loop().time
        self._visits, self._faults = Episodes(_BRIEF, _HOSTS), Episodes(_QUIET, _HOSTS)

    async def serve(self, peer: Peer) -> Never:
        """Runs `peer(connection)` for each client."""
        async with Scope() as scope:
            while True:
                newcomer = await self._accept()
                tuning.tune(newcomer.sock, profile(self._bounds))
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
            self._warn(newcomer.address, f": no TLS handshake within {within:g} s")
        except LinkDown as down:
            self._warn(newcomer.address, f": {down}")
        except Exception as bug:
            self._admits(newcomer.address, bug)
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

    async def _accept(self) -> Newcomer:
        while True:
            try:
                sock, address = await asyncio.get_running_loop().sock_accept(self._server)
            except OSError as error:
                if self._faults.begins("accept", self._now()):
                    log.warning("%s: cannot accept: %s", self._name, reason(error))
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            newcomer = Newcomer(sock, address_of(address))
            if self.gate.admits(newcomer.host):
                return newcomer
            sock.close()
            await asyncio.sleep(0)  # however many of them come at once

    def _refuse(self, newcomer: Newcomer, why: str) -> None:
        self.refused += 1
        self._warn(newcomer.address, f" refused: {why}")
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
        began = self._now()
        told = self._visits.begins(connection.host, began)
        if told:
            log.info("%s: %s connected", self._name, connection.address)
        try:
            await peer(connection)
        except PeerError as error:
            self._warn(connection.address, f": {error}")
        except Down as down:
            if told or self._now() - began >= _BRIEF:
                unacked = f", {down.unacked} bytes unacknowledged" if down.unacked else ""
                log.info("%s: %s left: %s%s", self._name, connection.address, down, unacked)
        except Exception as bug:
            self._admits(connection.address, bug)
            connection.abort()
        finally:
            connection.close()
            self.peers.pop(connection.number, None)

    def _warn(self, address: str, what: str) -> None:
        """Of each host the first like that, and again after it was quiet for long."""
        if self._faults.begins(address.rpartition(":")[0] + what, self._now()):
            log.warning("%s: %s%s", self._name, address, what)

    def _admits(self, address: str, bug: Exception) -> None:
        """Ours; each kind of it is told like that."""
        if self._faults.begins(repr(type(bug)), self._now()):
            log.error("%s: %s: internal error, this connection ends", self._name, address, exc_info=bug)
