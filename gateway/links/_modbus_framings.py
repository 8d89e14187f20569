"""How requests stand in the bytes of a connection, or in datagrams, and answers in those that go back: a
class for each value of `framing`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ..wire import mbap, rtu, rtu_requests
from ..wire.mbap import Adu
from ..wire.rtu_requests import Requests


class Framing(Protocol):
    """Of one connection, or of all datagrams."""

    one_by_one: bool  # nothing in an answer tells which request it belongs to

    @property
    def unfinished(self) -> bool:
        """Bytes came that may be the beginning of a request."""

    def feed(self, data: bytes, /) -> Iterator[Adu]:
        """The requests that are whole now. PeerError when no byte behind these means anything."""

    def drop(self) -> None:
        """The rest of what is unfinished does not come any more."""

    def whole(self, datagram: bytes, /) -> Adu | None:
        """The request that this is; None when it is anything else."""

    def answer(self, request: Adu, pdu: bytes, /) -> bytes:
        """The bytes that go back, possibly none."""


class Mbap:
    """Modbus TCP. A request is unfinished for as long as it likes: its header tells where it ends."""

    one_by_one = unfinished = False

    def __init__(self, ignore: Sequence[bytes]) -> None:
        self.feed = mbap.Decoder(ignore).feed

    def drop(self) -> None:
        raise AssertionError("never unfinished")

    def whole(self, datagram: bytes, /) -> Adu | None:
        return mbap.whole(datagram)

    def answer(self, request: Adu, pdu: bytes, /) -> bytes:
        return mbap.encode(request.tid, request.unit, pdu) if pdu else b""


class Rtu:
    """RTU over TCP. Unit 0 is a broadcast, which nobody answers."""

    one_by_one = True

    def __init__(self, ignore: Sequence[bytes]) -> None:
        self._requests = Requests(ignore)

    @property
    def unfinished(self) -> bool:
        return self._requests.unfinished

    def feed(self, data: bytes, /) -> Iterator[Adu]:
        return (Adu(0, unit, pdu) for unit, pdu in self._requests.feed(data))

    def drop(self) -> None:
        self._requests.drop()

    def whole(self, datagram: bytes, /) -> Adu | None:
        asked = rtu_requests.whole(datagram)
        return None if asked is None else Adu(0, *asked)

    def answer(self, request: Adu, pdu: bytes, /) -> bytes:
        return rtu.frame(request.unit, pdu) if pdu and request.unit else b""


FRAMINGS: Mapping[str, type[Mbap] | type[Rtu]] = {"mbap": Mbap, "rtu": Rtu}
