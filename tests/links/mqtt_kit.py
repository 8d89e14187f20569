"""For the tests of the mqtt link: a broker that does as it is told, a real mosquitto, and stand-ins for the
ports and devices on the other side.
"""

import asyncio
import os
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from buffer_kit import Buffers

from gateway.buffer import Buffer, Record
from gateway.contracts import Frame
from gateway.errors import LineDown
from gateway.flow import Fan
from gateway.links import mqtt
from gateway.policy.backoff import Backoff
from gateway.settings import Identity
from gateway.status import Life
from gateway.supervise import supervise

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
CLOCK_SET = 1_800_000_000.0  # some wall time after 2025


async def until(condition: Callable[[], object], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# ---------------------------------------------------------------- the inner side


class Port:
    """A raw port without a line."""

    def __init__(self) -> None:
        self.chunks: Fan[bytes] = Fan()
        self.frames: Fan[Frame] = Fan()
        self.written: list[bytes] = []
        self.away = False
        self.at = CLOCK_SET

    def offer(self, data: bytes, /) -> bool:
        return False

    async def send(self, data: bytes, /) -> None:
        if self.away:
            raise LineDown("no such device /dev/ttyUSB0")
        self.written.append(data)

    def says(self, *frames: bytes) -> None:
        for frame in frames:
            self.frames.push(Frame(self.at, frame))


class Device:
    """A polled device without a bus."""

    def __init__(self) -> None:
        self.samples: Fan[Frame] = Fan()
        self.frames: Fan[Frame] = Fan()
        self.presence: Fan[bytes] = Fan()
        self.present = b""

    def is_now(self, present: bytes) -> None:
        self.present = present
        self.presence.push(present)

    def reads(self, sample: bytes, at: float = CLOCK_SET) -> None:
        self.frames.push(Frame(at, sample))


class World:
    """A Wiring with one port "scale" and one device "meter"."""

    def __init__(self, name: str = "gw") -> None:
        self.identity = Identity(name, "host", "02:00:00:00:00:01")
        self.scale, self.meter = Port(), Device()
        self.buffers = Buffers(first_seq=1)
        self.aside: list[Record] = []  # the quarantine

    def stream(self, port: str, /) -> Port:
        return {"scale": self.scale}[port]

    def device(self, name: str, /) -> Device:
        return {"meter": self.meter}[name]

    def transactor(self, port: str, /) -> Any:
        raise AssertionError("mqtt asks nobody")

    def buffer(self, link: str, fans: Any, /) -> Buffer:
        buffer = self.buffers.of(link)
        buffer.fill_from(fans)
        buffer.aside = self.aside.append
        return buffer

    def link(self, connect: str | list[str], folder: Path = Path(), **keys: object) -> mqtt.Link:
        table = {"kind": "mqtt", "connect": connect, "ports": ["scale"], "devices": ["meter"], **keys}
        link = mqtt.Config.model_validate(table, context={"folder": folder}).build("cloud", self)
        assert isinstance(link, mqtt.Link)
        return link


def life() -> Life:
    return Life("cloud", "connecting", asyncio.get_running_loop().time, time.time)


@asynccontextmanager
async def running(link: mqtt.Link) -> AsyncIterator[Life]:
    """Supervised, with short waits, until the block ends; then stopped as the daemon does."""
    diary = life()
    task = asyncio.create_task(supervise(link, diary, Backoff(0.02, 0.1, 30.0, Random(1))))
    try:
        yield diary
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


# ---------------------------------------------------------------- the broker that does as it is told


class Publish(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    properties: dict[str, str]  # the user properties
    correlation: bytes = b""


class Connect(NamedTuple):
    version: int  # 4 is 3.1.1
    clean: bool
    keepalive: int
    client_id: str
    will: Publish | None
    username: str | None
    password: bytes | None


@dataclass
class ScriptedBroker:
    """Speaks 3.1.1 and 5. What it answers is set before or between packets."""

    connack: int | None = 0  # None: it never answers
    limits: bytes = b""  # CONNACK properties, encoded
    puback: Callable[[Publish], int | None] = lambda publish: 0  # reason code; None: nothing, for now
    suback: int = 1
    cut_after: int | None = None  # publications, then the connection is cut
    raw_answer: bytes | None = None  # instead of CONNACK
    deaf_to_pings: bool = False
    pings: int = 0
    connects: list[Connect] = field(default_factory=list)
    published: list[Publish] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)  # our messages that the link acknowledged
    disconnects: list[bytes] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    address: str = ""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["ScriptedBroker"]:
        self._peers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await until(lambda: not self._peers)

    @property
    def url(self) -> str:
        return f"mqtt://{self.address}"

    def on(self, topic: str) -> list[bytes]:
        """The payloads that were published there."""
        return [publish.payload for publish in self.published if publish.topic == topic]

    def cut(self) -> None:
        """With RST."""
        for writer in self._peers:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """With FIN."""
        for writer in self._peers:
            writer.close()

    def send(self, kind: int, body: bytes, flags: int = 0) -> None:
        for writer in self._peers:
            writer.write(_packet(kind, body, flags))

    def garbage(self, data: bytes) -> None:
        for writer in self._peers:
            writer.write(data)

    def send_puback(self, mid: int, code: int = 0) -> None:
        reason = bytes([code]) if code else b""
        self.in_flight -= 1
        self.send(PUBACK, struct.pack("!H", mid) + reason)

    def message(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        mid: int = 1,
        retain: bool = False,
        dup: bool = False,
        properties: bytes = b"",
    ) -> None:
        """To every client."""
        body = _utf8(topic) + (struct.pack("!H", mid) if qos else b"")
        if self.connects[-1].version == 5:
            body += bytes([len(properties)]) + properties
        self.send(PUBLISH, body + payload, qos << 1 | retain | dup << 3)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(writer)
        self.in_flight = 0
        seen = 0
        try:
            while True:
                kind, flags, body = await _read(reader)
                self._heard(writer, kind, flags, body)
                seen += kind == PUBLISH
                if seen and seen == self.cut_after:
                    return self.cut()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._peers.discard(writer)
            writer.close()

    def _heard(self, writer: asyncio.StreamWriter, kind: int, flags: int, body: bytes) -> None:
        match kind:
            case 1:
                self.connects.append(_connect(body))
                writer.write(self._greeting())
            case 3:
                self._take(_publish(body, flags, self.connects[-1].version))
            case 4:
                self.acked.append(struct.unpack("!H", body[:2])[0])
            case 8:
                self._subscribe(writer, body)
            case 12:
                self.pings += 1
                if not self.deaf_to_pings:
                    writer.write(_packet(13, b""))
            case 14:
                self.disconnects.append(body)
                writer.close()

    def _greeting(self) -> bytes:
        if self.raw_answer is not None:
            return self.raw_answer
        if self.connack is None:
            return b""
        properties = bytes([len(self.limits)]) + self.limits if self.connects[-1].version == 5 else b""
        return _packet(CONNACK, bytes([0, self.connack]) + properties)

    def _take(self, publish: Publish) -> None:
        self.published.append(publish)
        if publish.qos == 0:
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if (code := self.puback(publish)) is not None:
            self.send_puback(publish.mid, code)

    def _subscribe(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        five = self.connects[-1].version == 5
        start = 3 + body[2] if five else 2
        (length,) = struct.unpack_from("!H", body, start)
        self.subscribed.append(body[start + 2 : start + 2 + length].decode())
        writer.write(_packet(SUBACK, body[:2] + (b"\0" if five else b"") + bytes([self.suback])))


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 127) << shift
        shift += 7
        if not digit & 128:
            return first >> 4, first & 15, await reader.readexactly(length)


def _packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes([kind << 4 | flags]) + bytes(digits) + body


def _utf8(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


class _Scanner:
    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, count: int) -> bytes:
        data, self.rest = self.rest[:count], self.rest[count:]
        assert len(data) == count, "the link sent a short packet"
        return data

    def number(self) -> int:
        value: int = struct.unpack("!H", self.take(2))[0]
        return value

    def data(self) -> bytes:
        return self.take(self.number())

    def properties(self) -> bytes:
        return self.take(self.take(1)[0])


def _connect(body: bytes) -> Connect:
    scanner = _Scanner(body)
    assert scanner.data() == b"MQTT"
    version, flags = scanner.take(2)
    keepalive = scanner.number()
    if version == 5:
        scanner.properties()
    client_id = scanner.data().decode()
    will = None
    if flags & 0x04:
        if version == 5:
            scanner.properties()
        will = Publish(scanner.data().decode(), scanner.data(), flags >> 3 & 3, bool(flags & 0x20), 0, {})
    username = scanner.data().decode() if flags & 0x80 else None
    password = scanner.data() if flags & 0x40 else None
    assert not scanner.rest
    return Connect(version, bool(flags & 2), keepalive, client_id, will, username, password)


def _publish(body: bytes, flags: int, version: int) -> Publish:
    scanner = _Scanner(body)
    topic, qos = scanner.data().decode(), flags >> 1 & 3
    mid = scanner.number() if qos else 0
    pairs: dict[str, str] = {}
    correlation = b""
    if version == 5:
        found = _Scanner(scanner.properties())
        while found.rest:
            match found.take(1):
                case b"\x26":
                    key = found.data().decode()
                    pairs[key] = found.data().decode()
                case b"\x09":
                    correlation = found.data()
                case other:
                    raise AssertionError(f"property {other.hex()} is not expected")
    return Publish(topic, scanner.rest, qos, bool(flags & 1), mid, pairs, correlation)


# ---------------------------------------------------------------- mosquitto


class Mosquitto:
    """The real thing, on a free port. `start()` and `kill()` as often as a test likes."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._file = folder / f"mosquitto-{self.port}.conf"
        text = "\n".join(lines or ("allow_anonymous true",))
        plain = (
            f"listener {free_port()} 127.0.0.1\n" if "websockets" in text else ""
        )  # it starts with none but these not
        self._file.write_text(f"user root\n{plain}listener {self.port} 127.0.0.1\n{text}\n")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = ["mosquitto", "-c", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await until(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto did not start"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def mosquitto(folder: Path, *lines: str) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, *lines)
    try:
        await broker.start()
        yield broker
    finally:
        broker.kill()


@asynccontextmanager
async def subscriber(port: int, topic: str) -> AsyncIterator[Callable[[], list[tuple[str, str]]]]:
    """mosquitto_sub, a foreign client; the function gives what it has received so far as (topic, payload)."""
    where = ["-h", "127.0.0.1", "-p", str(port), "-q", "1"]
    subprocess.run(["mosquitto_pub", *where, "-r", "-t", "ready", "-m", "ready"], check=True)
    command = ["mosquitto_sub", *where, "-F", "%t\t%p", "-t", topic, "-t", "ready"]
    lines: list[tuple[str, str]] = []
    rest = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout
        assert output is not None
        os.set_blocking(output.fileno(), False)

        def received() -> list[tuple[str, str]]:
            nonlocal rest
            rest += output.read() or b""
            *whole, rest = rest.split(b"\n")
            parts = (line.decode().partition("\t") for line in whole)
            lines.extend((topic, payload) for topic, _, payload in parts)
            return lines

        try:
            await until(received)
            lines.clear()
            yield received
        finally:
            process.terminate()
