"""Who sends datagrams to a raw link, and so is told what its line says.

Promises: at most so many at a time, and one that was not heard lately is told nothing any more. Nobody tells
us that one has left: the one that was silent for longest makes room.
"""

import logging
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Collection
from time import time

from ..host.datagrams import Datagrams, Origin, peer_status
from ..host.gate import Gate
from ..policy.access import Network
from ..policy.episodes import Episodes
from ..scope import whose
from ..status import PeerStatus
from ..values import Endpoint

_QUIET = 600.0  # seconds without a sender for whom there is no place, after which one is worth a line again
_HOSTS = 64  # that are told apart in the log
log = logging.getLogger(__name__)


class Sender:
    """One address and port. `origin` is that of its last datagram."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.heard = self.told = self.datagrams = 0
        self._since, self._now = time(), get_running_loop().time
        self._at = self._now()

    @property
    def silent(self) -> float:
        """Seconds."""
        return self._now() - self._at

    def says(self, size: int, origin: Origin) -> None:
        self.origin, self._at = origin, self._now()
        self.heard += size
        self.datagrams += 1

    def status(self) -> PeerStatus:
        address = self.origin.address
        return peer_status(address, self._since, self.heard, self.told, self.silent, self.datagrams)


class Senders:
    """Of one link; what is counted is counted over its sessions."""

    def __init__(self) -> None:
        self.refused = self.dropped = self._not_allowed = 0
        self._most, self._patience, self._lately = 0, 0.0, 0.0
        self._gate: Gate | None = None
        self._senders: OrderedDict[object, Sender] = OrderedDict()  # by peer; silent for longest first

    def begin(
        self, where: Endpoint, most: int, patience: float, lately: float, allow: Collection[Network]
    ) -> None:
        """A session: `most` senders at once; whoever was silent for `patience` seconds makes room, and who
        was for `lately` seconds is not told anything.
        """
        self._not_allowed = self.not_allowed
        self._most, self._patience, self._lately = most, patience, lately
        self._gate = Gate(f"udp {where}", allow)
        self._name, self._episodes = whose(), Episodes(_QUIET, _HOSTS)
        self._senders.clear()

    @property
    def not_allowed(self) -> int:
        return self._not_allowed + (self._gate.not_allowed if self._gate is not None else 0)

    def admits(self, size: int, origin: Origin) -> bool:
        """A datagram of `size` bytes came: may it pass?"""
        assert self._gate is not None
        sender = self._senders.get(origin.peer)
        if sender is None:
            if not self._gate.admits(origin.address.rpartition(":")[0]) or not self._has_place(origin):
                return False
            sender = self._senders[origin.peer] = Sender(origin)
        self._senders.move_to_end(origin.peer)
        sender.says(size, origin)
        return True

    def _has_place(self, origin: Origin) -> bool:
        if len(self._senders) < self._most:
            return True
        oldest = next(iter(self._senders))
        if self._senders[oldest].silent >= self._patience:
            del self._senders[oldest]
            return True
        self.refused += 1
        host = origin.address.rpartition(":")[0]
        if self._episodes.begins(host, get_running_loop().time()):
            log.warning("%s: %s refused: max_clients = %d", self._name, origin.address, self._most)
        return False

    def _heard_lately(self) -> list[Sender]:
        return [sender for sender in self._senders.values() if sender.silent < self._lately]

    def tell(self, data: bytes, socket: Datagrams) -> None:
        """All that were heard lately."""
        for sender in self._heard_lately():
            if socket.send(data, sender.origin):
                sender.told += len(data)
            else:
                self.dropped += 1

    def status(self) -> list[PeerStatus]:
        return [sender.status() for sender in self._heard_lately()]
