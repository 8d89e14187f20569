"""Who is at both ends of the gateway in the lab: serial lines, scripted peers whose sockets live in the far
hosts, and mosquitto.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, repeat
from pathlib import Path

from deaths_kit import PERIOD, Case, Kind, Traffic
from peers_kit import adu
from system_kit import PATIENCE, eventually
from wires_kit import Host

from gateway.demo.bus import Bus
from gateway.demo.line import Line, Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale

_READ = adu(1, 1, bytes.fromhex("03 0000 0001"))
_READ_DEAF = adu(1, 9, bytes.fromhex("03 0000 0001"))
_ENDLESS = adu(1, 1, bytes([16]) + bytes(252))  # one request, so long that its answer need not be waited for
_INSIDE = 1883  # TCP port of a broker for those beside it


class Talk(asyncio.Protocol):
    """One connection of a scripted peer: takes everything, says something each period, if anything."""

    def __init__(self, says: Iterator[bytes]) -> None:
        self._says = says
        self.over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._say()

    def _say(self) -> None:
        if not self.over and (word := next(self._says, None)):
            self.transport.write(word)
            asyncio.get_running_loop().call_later(PERIOD, self._say)

    def connection_lost(self, error: Exception | None) -> None:
        self.over = True


class Peer:
    """The far end of one link: a server that takes every caller, or a client."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.address = ""  # of the client, as the gateway sees it
        self._server: asyncio.Server | None = None
        self._talks: list[Talk] = []

    async def begin(self, host: Host) -> None:
        """Also again, after `end`."""
        loop = asyncio.get_running_loop()
        if self.case.kind.dials:
            listener = host.listener(self.case.far, self.case.port)
            self._server = await loop.create_server(self._talk, sock=listener)
            return
        sock = host.tcp()
        sock.setblocking(False)
        sock.bind((self.case.far, 0))
        async with asyncio.timeout(PATIENCE):
            await loop.sock_connect(sock, (self.case.gateway, self.case.port))
        self.address = "{}:{}".format(*sock.getsockname())
        await loop.create_connection(self._talk, sock=sock)

    def _talk(self) -> Talk:
        self._talks.append(Talk(_words(self.case)))
        return self._talks[-1]

    @property
    def over(self) -> bool:
        return self._talks[-1].over

    def say_last(self) -> None:
        """One word out of turn. A modbus-server answers it at once, or on a deaf line after a second."""
        words = {"bus": _READ, "deaf": _READ_DEAF}
        self._talks[-1].transport.write(words.get(self.case.line, b"x"))

    def end(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.transport.abort()


def _words(case: Case) -> Iterator[bytes]:
    match case.kind, case.traffic:
        case Kind.MODBUS_LISTEN, Traffic.STEADY:
            return repeat(_READ)
        case Kind.MODBUS_LISTEN, Traffic.PEER:
            return (bytes([byte]) for byte in cycle(_ENDLESS))
        case _, Traffic.PEER:
            return repeat(b"x")
    return iter(())


class Broker:
    """mosquitto in a far host, with a listener for each link, and somebody who publishes commands."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._file = Path(self._folder.name) / "mosquitto.conf"
        lines = [f"listener {port} 0.0.0.0" for port in (_INSIDE, *ports)]
        self._file.write_text("\n".join(["user root", "allow_anonymous true", *lines, ""]))
        self._programs: list[subprocess.Popen[bytes]] = []

    def begin(self, host: Host) -> None:
        self._run(host, "mosquitto", "-c", str(self._file))
        eventually(lambda: _INSIDE in host.listening())
        self._run(
            host, "mosquitto_pub", "-h", "127.0.0.1", "-p", str(_INSIDE), "-t", "lab/port/quiet/tx", "-l"
        )

    def _run(self, host: Host, *command: str) -> None:
        quiet = subprocess.DEVNULL
        self._programs.append(
            subprocess.Popen([*host.before, *command], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        )

    def publish(self) -> None:
        """A command for every link that takes some."""
        if self._programs:
            command = self._programs[-1].stdin
            assert command is not None
            command.write(b"x\n")
            command.flush()

    def kill(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait()
            assert program.stdin is not None
            program.stdin.close()
        self._programs.clear()

    def end(self) -> None:
        self.kill()
        self._folder.cleanup()


class Plant:
    """The serial lines: those that cases share, and one of its own for each that writes late, or for all."""

    def __init__(self, cases: Iterable[Case], *, apart: bool) -> None:
        unpaced = Wire(baudrate=0)
        self._lines: dict[str, Line] = {
            "bus": Bus({1: Registers(holding={0: 1})}, unpaced),
            "deaf": Bus({}, unpaced),
            "quiet": Line(unpaced),
            "steady": Scale(0.1, unpaced),
        }
        self._of: dict[Case, Line] = {}
        for case in cases:
            if apart:
                self._of[case] = Scale(0.1, unpaced) if case.traffic is Traffic.STEADY else Line(unpaced)
            elif case.traffic is Traffic.LATE:
                self._of[case] = self._lines.setdefault(case.line, Line(unpaced))
        self.lines = Lines(*{*self._lines.values(), *self._of.values()})

    @property
    def ttys(self) -> dict[str, str]:
        """By the name of the port."""
        return {name: line.tty for name, line in self._lines.items()}

    def tty(self, case: Case) -> str:
        """Its own."""
        return self._of[case].tty

    def say(self, case: Case) -> None:
        """Its late write."""
        line = self._of[case]
        self.lines.call(lambda: line.say(b"late\r\n", time.monotonic()))
