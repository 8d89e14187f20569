"""transport = "udp" on a raw link: one frame of the port per datagram, and what a datagram brings is written
to the line in one piece.

Promises: whoever sent something lately is told what the line says (listen), or the one far end is (connect).
Nothing is kept and nothing is sent twice: UDP loses, and nobody learns of it. A far end that is not there
stops nothing: each frame is tried. No task for a datagram.
"""

from asyncio import get_running_loop
from collections.abc import Collection
from contextlib import nullcontext
from time import time
from typing import Never, Protocol

from ..contracts import Frame, Stream, Traced
from ..flow import Fan
from ..host import datagrams
from ..host.datagrams import Datagrams, Origin
from ..policy.access import Network
from ..policy.liveness import profile
from ..scope import Scope
from ..settings import Identity
from ..status import DatagramsStatus, Life, PartStatus, PeerStatus
from ._boxes import Box, common
from ._hello import Heart, filled
from ._senders import Senders
from ._to_line import ToLine

_LONGEST = 65507  # bytes: what fits into a datagram of IPv4
_LATELY = 60.0  # seconds


class Config(Box, Protocol):
    """As far as this file wants to know it."""

    @property
    def max_clients(self) -> int: ...

    @property
    def when_full_clients(self) -> str: ...

    @property
    def allow(self) -> Collection[Network]: ...


class UdpServer:
    """Hears everybody who may; each of those heard lately is told what the line says."""

    def __init__(self, config: Config, port: Stream) -> None:
        self.config, self._port = config, port
        self.trace: Fan[Traced] = Fan()
        self._to_line = ToLine(port)
        self._senders = Senders()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.listen is not None
        async with datagrams.bound(config.listen, _within(config), self.trace) as socket:
            lately = config.idle_timeout or _LATELY
            patience = 0.0 if config.when_full_clients == "drop-idle" else lately
            self._senders.begin(config.listen, config.max_clients, patience, lately, config.allow)

            def received(data: bytes, origin: Origin) -> None:
                if self._senders.admits(len(data), origin):
                    self._to_line.put(data)

            def said(frame: Frame) -> bool:
                for piece in _pieces(frame.data):
                    self._senders.tell(piece, socket)
                return True

            life.up(state="listening")
            with self._port.frames.tap(offer=said):
                async with Scope() as scope:
                    scope.start(self._to_line.write())
                    await socket.serve(received)
        raise AssertionError("a scope ends by an error")

    def status(self) -> PartStatus:
        senders = self._senders
        return {
            **_common(self.config, f"udp {self.config.listen}", senders.dropped + self._to_line.dropped),
            "direction": "listen",
            "peers": senders.status(),
            "refused": senders.refused,
            "not_allowed": senders.not_allowed,
        }


class _Voice:
    """What goes to the one far end; to a Heart it is a delivery in which nothing ever waits."""

    waits, room = False, 1

    def __init__(self, socket: Datagrams) -> None:
        self._socket = socket
        self.told = self.dropped = 0

    def tell(self, data: bytes) -> None:
        for piece in _pieces(data):
            self.word(piece)

    def word(self, data: bytes) -> None:
        if self._socket.send(data):
            self.told += len(data)
        else:
            self.dropped += 1


class UdpDialler:
    """Tells one far end, and hears nobody else."""

    def __init__(self, config: Config, port: Stream, identity: Identity) -> None:
        self.config, self._port, self._identity = config, port, identity
        self.trace: Fan[Traced] = Fan()
        self._to_line = ToLine(port)
        self._dropped = self._heard = 0
        self._heard_at = self._since = 0.0
        self._voice: _Voice | None = None
        self._socket: Datagrams | None = None

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.connect is not None
        async with datagrams.connected(
            config.connect[0], _within(config), self.trace, patient=True
        ) as socket:
            voice = self._voice = _Voice(socket)
            self._socket, self._heard = socket, 0
            self._since, self._heard_at = time(), get_running_loop().time()
            if config.registration is not None:
                voice.word(filled(config.registration, self._identity))
            life.up()
            try:
                await self._talk(socket, voice)
            finally:
                self._dropped += voice.dropped
                self._voice = self._socket = None
        raise AssertionError("a scope ends by an error")

    async def _talk(self, socket: Datagrams, voice: _Voice) -> Never:
        rule, heart = self.config.heartbeat, None
        if rule is not None:
            heart = Heart(rule, filled(rule, self._identity), voice, self._port, frames=True)
        tell = voice.tell if heart is None else heart.tell

        def said(frame: Frame) -> bool:
            tell(frame.data)
            return True

        with self._port.frames.tap(offer=said), heart.beating() if heart else nullcontext():
            async with Scope() as scope:
                scope.start(self._to_line.write())
                await socket.serve(self._received)
        raise AssertionError("a scope ends by an error")

    def _received(self, data: bytes, origin: Origin) -> None:
        self._heard += len(data)
        self._heard_at = get_running_loop().time()
        self._to_line.put(data)

    def status(self) -> PartStatus:
        assert self.config.connect is not None
        voice, far_end = self._voice, str(self.config.connect[0])
        dropped = self._dropped + self._to_line.dropped + (voice.dropped if voice is not None else 0)
        status: PartStatus = {
            **_common(self.config, f"udp {far_end}", dropped),
            "direction": "connect",
            "peers": [self._peer(voice, far_end)] if voice is not None else [],
        }
        if self._socket is not None and self._socket.refused:
            status["reason"] = f"nothing listens on {far_end}: its host said so to the last datagram"
        return status

    def _peer(self, voice: _Voice, address: str) -> PeerStatus:
        silent = get_running_loop().time() - self._heard_at
        return datagrams.peer_status(address, self._since, self._heard, voice.told, silent)


def _within(config: Config) -> float:
    return profile(config.liveness.bounds()).connect_timeout


def _pieces(data: bytes) -> list[bytes]:
    """A frame is one datagram, if one is long enough."""
    return [data[start : start + _LONGEST] for start in range(0, len(data), _LONGEST)]


def _common(config: Config, endpoint: str, dropped: int) -> PartStatus:
    datagrams: DatagramsStatus = {"malformed": 0, "repeated": 0, "dropped": dropped}
    return {**common(config, endpoint), "detect_within_s": None, "datagrams": datagrams}
