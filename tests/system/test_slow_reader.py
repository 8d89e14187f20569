"""One of four TCP readers of a line stops reading."""

import os
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from parts_kit import Instrument
from system_kit import Daemon, eventually, raw_port, table

from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines

SAID = 16 << 20  # bytes: far more than what all buffers between the gateway and a client hold


class Reader(threading.Thread):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(daemon=True)
        self.got = bytearray()
        self._sock = sock

    def run(self) -> None:
        with suppress(ConnectionError):  # the gateway ends before its clients do
            while data := self._sock.recv(65536):
                self.got += data


def connected(stack: ExitStack, tcp_port: int, room: int | None = None) -> socket.socket:
    """`room`: its receive buffer, in bytes."""
    sock = stack.enter_context(socket.socket())
    if room is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect(("127.0.0.1", tcp_port))
    return sock


@pytest.mark.timeout(180)
def test_the_others_get_every_byte_the_line_never_waits_and_the_one_is_dropped_by_its_bound(
    tmp_path: Path,
) -> None:
    line, tcp_port, said = Instrument(tmp_path / "scale"), free_port(), os.urandom(SAID)
    config = raw_port("scale", line.tty) + table(
        "links.console",
        kind="tcp",
        listen=f"127.0.0.1:{tcp_port}",
        port="scale",
        max_clients=4,
        liveness={"detect_within": "20s", "read_stall": "20s"},
    )
    with ExitStack() as stack, Lines(line) as lines, Daemon(config) as daemon:

        def peers() -> list[dict[str, object]]:
            found: list[dict[str, object]] = daemon.part("links.console")["peers"]
            return found

        daemon.comes_to("ports.scale", "open")
        readers = [Reader(connected(stack, tcp_port)) for _ in range(3)]
        stopped = connected(stack, tcp_port, room=4096)
        address = f"127.0.0.1:{stopped.getsockname()[1]}"
        eventually(lambda: len(peers()) == 4 and line.opened)
        for reader in readers:
            reader.start()
        lines.call(lambda: line.say(said[: SAID // 2], 0.0))
        eventually(lambda: all(len(reader.got) == SAID // 2 for reader in readers))
        assert address in [peer["address"] for peer in peers()]  # it costs them nothing while it is there

        eventually(lambda: len(peers()) == 3)
        assert address not in [peer["address"] for peer in peers()]
        stack.callback(connected(stack, tcp_port).close)  # its place is free
        lines.call(lambda: line.say(said[SAID // 2 :], 0.0))
        eventually(lambda: all(len(reader.got) == SAID for reader in readers))
        assert [bytes(reader.got) for reader in readers] == [said] * 3
        assert daemon.part("ports.scale")["rx_bytes"] == SAID
    for reader in readers:
        reader.join(10)
