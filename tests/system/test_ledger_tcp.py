"""What a line says reaches a raw TCP peer byte for byte, however the peer goes away and gatewayd dies.

As in test_ledger_mqtt.py; here it is the far end's TCP that says what has arrived. The sink reads all of
that, whatever becomes of the connection. Bytes may come twice only where a new connection goes on.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Self

import pytest
from accounts_kit import Bytes, line
from ledger_kit import Stage, stage
from system_kit import eventually, raw_port, table
from wires_kit import FAR, TOOLS, Wires, wires

from gateway.demo.gatewayd import free_port

EVERY = 0.001  # seconds
BAUDRATE = 115200
LINK = "links.far"
A_FEW = 200  # lines
TWICE = 2 * BAUDRATE // 10  # bytes: a second of the line in the kernel, another since that was asked last
LITTLE = 4096  # bytes: a receive buffer that is soon full
pytest_plugins = ["show_kit"]


class Sink:
    """Takes every caller, and keeps what comes on each connection, in the order in which they came."""

    def __init__(self, listener: Callable[[], socket.socket]) -> None:
        self._listener_of, self._listener = listener, listener()
        self.streams: list[bytearray] = []
        self._ears = threading.Event()
        self._ears.set()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._door = threading.Thread(target=self._welcome)
        self._door.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hear()
        self.go(socket.SHUT_RDWR)

    def come(self) -> None:
        """Back, at the same address."""
        self._listener = self._listener_of()
        self._door = threading.Thread(target=self._welcome)
        self._door.start()

    def go(self, how: int = socket.SHUT_WR) -> None:
        """Nobody listens any more. The other end is told, and what it had sent has been read then."""
        with suppress(OSError):  # it has gone already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._door.join()
        self._listener.close()
        for connection, reader in self._connections.items():
            with suppress(OSError):  # the other end was first
                connection.shutdown(how)
            reader.join()
            connection.close()
        self._connections.clear()

    def freeze(self) -> None:
        self._ears.clear()

    def hear(self) -> None:
        self._ears.set()

    def _welcome(self) -> None:
        with suppress(OSError):  # the door was shut
            while True:
                connection, _ = self._listener.accept()
                self.streams.append(bytearray())
                reader = threading.Thread(target=self._read, args=(connection, self.streams[-1]))
                self._connections[connection] = reader
                reader.start()

    def _read(self, connection: socket.socket, stream: bytearray) -> None:
        with suppress(ConnectionError):  # what had come before was read
            while self._ears.wait() and (data := connection.recv(4096)):
                stream += data


# ---------------------------------------------------------------- how the peer is lost


@dataclass(frozen=True)
class Play:
    """All who take part."""

    stage: Stage
    sink: Sink
    wires: Wires | None
    port: int


@dataclass(frozen=True)
class Outage:
    name: str
    begin: Callable[[Play], None]
    end: Callable[[Play], None]
    far: bool = False  # the peer is on another host

    def __str__(self) -> str:
        return self.name


def _lose_acks(play: Play) -> None:
    assert play.wires is not None
    play.wires.cut([play.port], ours=False)


def _mend(play: Play) -> None:
    assert play.wires is not None
    play.wires.mend([play.port])


OUTAGES = (
    Outage("peer away", lambda play: play.sink.go(), lambda play: play.sink.come()),
    Outage("peer frozen", lambda play: play.sink.freeze(), lambda play: play.sink.hear()),
    Outage("acknowledgements lost", _lose_acks, _mend, far=True),
)


@contextmanager
def playing(*, far: bool = False) -> Iterator[Play]:
    place: AbstractContextManager[Wires | None] = wires() if far else nullcontext()
    with place as made:
        address, port = (FAR, 10_000) if made else ("127.0.0.1", free_port())

        def listener() -> socket.socket:
            if made:
                return made.far.listener(address, port)
            sock = socket.create_server((address, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
            return sock

        link = table(
            "links.far",
            kind="tcp",
            connect=f"{address}:{port}",
            port="source",
            liveness={"detect_within": "3s"},
            reconnect={"first": "200ms", "max": "500ms"},
            buffer={"size": "4MB", "spill_after": "1s"},
        )
        before = made.gateway.before if made else []
        config = raw_port("source", "{tty}", baudrate=BAUDRATE) + link
        with Sink(listener) as sink, stage(EVERY, config, LINK, before) as started:
            eventually(lambda: sum(map(len, sink.streams)) > 1000)
            yield Play(started, sink, made, port)


def closed(play: Play, outages: int, caught_up: bytearray) -> Bytes:
    """When everything has arrived that will.

    On the connection `caught_up` bytes came as fast as the network is, and how many were acknowledged was
    perhaps not written down yet: all of them may come twice.
    """
    play.stage.end()
    source, deaths = play.stage.source, play.stage.deaths + outages
    last = len(source.said_at)
    eventually(lambda: any(stream.endswith(line(last)) for stream in play.sink.streams))
    return Bytes(last, source.excused, play.sink.streams, deaths, TWICE + len(caught_up))


@pytest.mark.needs(*TOOLS)
@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_not_a_byte_is_lost_however_the_peer_and_gatewayd_end(
    outage: Outage, show: Callable[[str], None]
) -> None:
    with playing(far=outage.far) as play:
        outage.begin(play)
        eventually(lambda: play.stage.daemon.part(LINK)["deaths"])
        for _ in range(3):
            play.stage.says(A_FEW)
            play.stage.crash()
        play.stage.says(A_FEW)
        outage.end(play)
        before = sum(map(len, play.sink.streams))
        eventually(lambda: sum(map(len, play.sink.streams)) > before)
        caught_up = play.sink.streams[-1]
        play.stage.crash()
        play.stage.says(A_FEW)
        play.stage.restart()
        play.stage.says(A_FEW)
        ledger = closed(play, 1, caught_up)
        assert play.stage.dropped == 0
    show(f"{outage}: {ledger}")
    assert not list(ledger.faults()), ledger
