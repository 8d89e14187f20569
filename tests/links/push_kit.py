"""A link that pushes: the devices whose values it has, and a Modbus TCP server that does as it is told."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from buffer_kit import Buffers
from parts_kit import Wires, running

from gateway.contracts import Frame, Reading, Sampled
from gateway.flow import Fan
from gateway.links.modbus_client import Config, Link
from gateway.status import Life
from gateway.wire.points import Value

CLOCK_SET = 1_800_000_000.0  # some wall time after 2025
METER = "main-meter"
VOLTAGE = {"main-meter.voltage": {"holding": 100}}


class Meter:
    """A polled device without a bus."""

    def __init__(self) -> None:
        self.samples: Fan[Frame] = Fan()
        self.frames: Fan[Frame] = Fan()
        self.presence: Fan[bytes] = Fan()
        self.present = b""
        self.newest: Mapping[str, Reading] = {}
        self.unread: Mapping[str, str] = {}
        self._polls = 0

    def reads(self, at: float = CLOCK_SET, errors: Mapping[str, str] | None = None, **values: Value) -> None:
        """One more poll."""
        self._polls += 1
        fresh = {name: Reading(value, self._polls) for name, value in values.items()}
        self.newest, self.unread = {**self.newest, **fresh}, errors or {}
        sample = {"values": values} | ({"errors": errors} if errors else {})
        self.samples.push(Frame(at, json.dumps(sample).encode()))

    def cannot_read(self, *points: str) -> None:
        self.reads(errors=dict.fromkeys(points, "unit 1 does not answer"))


class World(Wires):
    """A Wiring with devices."""

    def __init__(self, *others: str) -> None:
        self.meter = Meter()
        self.others = {name: Meter() for name in others}
        self.buffers = Buffers()
        super().__init__(self.buffers)

    def device(self, name: str, /) -> Sampled:
        return ({METER: self.meter} | self.others)[name]

    def link(self, *tcp_ports: int, **keys: Any) -> Link:
        """Only wanted in tests: a dead server is found within 3 s."""
        table = {
            "kind": "modbus-client",
            "connect": [f"127.0.0.1:{port}" for port in tcp_ports],
            "push": VOLTAGE,
            "liveness": {"detect_within": "3s"},
        }
        link = Config.model_validate(table | keys).build("plant", self)
        assert isinstance(link, Link)
        return link


@asynccontextmanager
async def up(link: Link) -> AsyncIterator[Life]:
    async with running(link) as life:
        while life.state != "up":
            await asyncio.sleep(0.001)
        yield life


class Written(NamedTuple):
    """One write as the server saw it."""

    function: int
    address: int
    values: tuple[int, ...]


Script = Callable[[bytes], bytes | None]
"""From a request PDU to what is answered; None is the good answer, b"" none at all."""


class Plc:
    """A Modbus TCP server with holding registers and coils, which can be closed and opened again."""

    def __init__(
        self, tcp_port: int, missing: tuple[int, ...] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self.holding: dict[int, int] = {}
        self.coils: dict[int, int] = {}
        self.missing = missing  # addresses that there are not
        self.asked: list[bytes] = []  # PDUs
        self.writes: list[Written] = []  # that were done
        self.script: Script = lambda request: None
        self.wrap: Callable[[int, int, bytes], bytes] = adu
        self.clients: list[asyncio.StreamWriter] = []
        self.accepted = 0
        self._tcp_port, self._tls = tcp_port, tls
        self._server: asyncio.Server | None = None

    async def opens(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._tcp_port, ssl=self._tls)

    async def closes(self) -> None:
        assert self._server is not None
        self._server.close()
        self._server = None
        self.hangs_up()

    def hangs_up(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()

    async def __aenter__(self) -> "Plc":
        await self.opens()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self.closes()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        self.accepted += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                tid, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                assert protocol == 0
                pdu = await reader.readexactly(length - 1)
                self.asked.append(pdu)
                answer = self.script(pdu)
                if answer is None:
                    answer = self._answer(pdu)
                if answer:
                    writer.write(self.wrap(tid, unit, answer))
        writer.close()

    def _answer(self, pdu: bytes) -> bytes:
        function, address, count = struct.unpack_from(">BHH", pdu)
        if set(self.missing) & set(range(address, address + count)):
            return bytes((function | 0x80, 2))
        if function in (1, 3):
            return self._read(function, address, count)
        return self.does(pdu)

    def _read(self, function: int, address: int, count: int) -> bytes:
        if function == 3:
            words = [self.holding.get(address + place, 0) for place in range(count)]
            return struct.pack(f">BB{count}H", 3, 2 * count, *words)
        octets = sum(self.coils.get(address + place, 0) << place for place in range(count))
        size = (count + 7) // 8
        return bytes((1, size)) + octets.to_bytes(size, "little")

    def does(self, pdu: bytes) -> bytes:
        """A write, and its good answer."""
        function, address, count, size = struct.unpack_from(">BHHB", pdu)
        assert len(pdu) == 6 + size
        if function == 16:
            values = struct.unpack_from(f">{count}H", pdu, 6)
            self.holding |= dict(enumerate(values, address))
        else:
            assert function == 15
            values = tuple(pdu[6 + place // 8] >> place % 8 & 1 for place in range(count))
            self.coils |= dict(enumerate(values, address))
        self.writes.append(Written(function, address, values))
        return pdu[:5]

    def told(self, address: int) -> list[int]:
        """What was written to this register, one after the other."""
        return [
            write.values[address - write.address]
            for write in self.writes
            if write.function == 16 and write.address <= address < write.address + len(write.values)
        ]


def adu(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def is_write(pdu: bytes) -> bool:
    return pdu[0] in (15, 16)
