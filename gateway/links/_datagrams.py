"""Modbus over UDP: a request in a datagram, its answer in another. Whoever asks is a source: an address and
port of his.

Promises: garbage is never answered, nor is an answer, or two servers would talk for ever. A datagram that
comes again is not asked again while its request is in work, and a write not even shortly after (see
policy.repeats). A source has its place while it is owed an answer, or was heard lately; nobody tells us that
one has left.
"""

import logging
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Iterator
from time import time

from ..contracts import Asker, Transactor
from ..host.connection import numbers
from ..host.datagrams import Datagrams, Origin, peer_status
from ..host.gate import Gate
from ..policy.episodes import Episodes
from ..policy.repeats import Repeats
from ..scope import whose
from ..settings import Listening
from ..status import DatagramsStatus, PartStatus, PeerStatus
from ..values import Endpoint
from ..wire.mbap import Adu
from ..wire.modbus import EXCEPTION, reads
from ._answering import Dialogue
from ._modbus_framings import Framing

_LATELY = 60.0  # seconds
_WAITING = 16  # requests of one source, where each waits for the answer to the one before
_QUIET = 600.0  # seconds without a source for which there is no place, after which one is worth a line again
_HOSTS = 64  # that are told apart in the log
log = logging.getLogger(__name__)


class Counts:
    """Of one link, over all its sessions."""

    def __init__(self) -> None:
        self.malformed = self.repeated = self.dropped = self.refused = self.not_allowed = 0

    def status(self) -> PartStatus:
        datagrams: DatagramsStatus = {
            "malformed": self.malformed,
            "repeated": self.repeated,
            "dropped": self.dropped,
        }
        return {"refused": self.refused, "not_allowed": self.not_allowed, "datagrams": datagrams}


class Source:
    """One address and port that asks."""

    def __init__(
        self, address: str, route: Transactor, framing: Framing, socket: Datagrams, counts: Counts
    ) -> None:
        self._address, self._socket, self._counts = address, socket, counts
        asker = Asker(address.rpartition(":")[0], next(numbers))
        self._dialogue = Dialogue(asker, route, framing, self._answered, socket)
        self._in_work: dict[Adu, Origin] = {}
        self._repeats = None if framing.one_by_one else Repeats()  # there are no transaction ids to go by
        self._now = get_running_loop().time
        self._heard, self._since = self._now(), time()
        self._rx_bytes = self._tx_bytes = self._requests = 0

    @property
    def owed(self) -> bool:
        """Answers to it are still to come."""
        return bool(self._in_work)

    @property
    def silent(self) -> float:
        """Seconds since a request of it came."""
        return self._now() - self._heard

    def asks(self, request: Adu, size: int, origin: Origin) -> None:
        """By a datagram of `size` bytes."""
        self._heard = self._now()
        self._rx_bytes += size
        self._requests += 1
        if request in self._in_work:
            self._counts.repeated += 1
        elif (answer := self._told_already(request)) is not None:
            self._counts.repeated += 1
            self._send(answer, origin)
        elif len(self._dialogue.waiting) >= _WAITING:
            self._counts.dropped += 1
        else:
            self._in_work[request] = origin
            self._dialogue.ask(request)

    def _told_already(self, request: Adu) -> bytes | None:
        return None if self._repeats is None else self._repeats.answer(request.tid, request, self._now())

    def _answered(self, request: Adu, data: bytes) -> None:
        if self._repeats is not None and not reads(request.pdu):
            self._repeats.keep(request.tid, request, data, self._now())
        self._send(data, self._in_work.pop(request))

    def _send(self, data: bytes, origin: Origin) -> None:
        if not data:
            return
        if self._socket.send(data, origin):
            self._tx_bytes += len(data)
        else:
            self._counts.dropped += 1

    def end(self) -> None:
        self._dialogue.end()

    def status(self) -> PeerStatus:
        counted = self._rx_bytes, self._tx_bytes, self.silent, self._requests
        return peer_status(self._address, self._since, *counted)


class Sources:
    """Whoever asks through `socket`: at most `max_clients` are remembered."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: Listening,
        route: Transactor,
        framing: Framing,
        socket: Datagrams,
        counts: Counts,
    ) -> None:
        self._most = config.max_clients
        self._patience = 0.0 if config.when_full_clients == "drop-idle" else _LATELY
        self._route, self._framing, self._socket, self._counts = route, framing, socket, counts
        self._gate = Gate(f"udp {endpoint}", config.allow)
        self._name, self._episodes = whose(), Episodes(_QUIET, _HOSTS)
        self._sources: OrderedDict[object, Source] = OrderedDict()  # by peer; silent for longest first

    def received(self, data: bytes, origin: Origin) -> None:
        """A datagram. It takes a place only if a request is in it."""
        source = self._sources.get(origin.peer)
        if source is None and not self._gate.admits(origin.address.rpartition(":")[0]):
            self._counts.not_allowed += 1
            return
        request = self._framing.whole(data)
        if request is None or not 0 < request.pdu[0] < EXCEPTION:
            self._counts.malformed += 1
        elif source is not None or self._has_place(origin):
            self._source(origin).asks(request, len(data), origin)

    def _has_place(self, origin: Origin) -> bool:
        """For one more; whoever was silent for longest makes room for it, if he is owed nothing."""
        if len(self._sources) < self._most:
            return True
        idle = next((peer for peer, source in self._sources.items() if not source.owed), None)
        if idle is not None and self._sources[idle].silent >= self._patience:
            del self._sources[idle]
            return True
        self._counts.refused += 1
        host = origin.address.rpartition(":")[0]
        if self._episodes.begins(host, get_running_loop().time()):
            log.warning("%s: %s refused: max_clients = %d", self._name, origin.address, self._most)
        return False

    def _source(self, origin: Origin) -> Source:
        """The one that asks; it was silent for shortest now."""
        source = self._sources.get(origin.peer)
        if source is None:
            source = Source(origin.address, self._route, self._framing, self._socket, self._counts)
            self._sources[origin.peer] = source
        self._sources.move_to_end(origin.peer)
        return source

    def end(self) -> None:
        """What was asked and has not reached the wire by now never will."""
        for source in self._sources.values():
            source.end()

    def peers(self) -> Iterator[PeerStatus]:
        """Those heard lately."""
        return (source.status() for source in self._sources.values() if source.silent < _LATELY)
