"""A modbus-server link on a real TCP port: its clients, and the lines that it leads to."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from parts_kit import Wires, running

from gateway.contracts import Request
from gateway.demo.bus import Bus
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.errors import GatewayError
from gateway.links.modbus_server import Config, Server
from gateway.ports import modbus_rtu

READ = b"\x03\x00\x00\x00\x01"
MANY = 16  # requests at once


class Line:
    """A port whose answers the test gives, when it likes."""

    def __init__(self, answer: Callable[[Request], bytes | GatewayError] | None = None) -> None:
        self.asked: list[Request] = []
        self.owed: list[asyncio.Future[bytes]] = []
        self._answer = answer

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.asked.append(request)
        self.owed.append(answer)
        match self._answer(request) if self._answer else None:
            case bytes() as pdu:
                answer.set_result(pdu)
            case GatewayError() as error:
                answer.set_exception(error)
        return answer


def echo(request: Request) -> bytes:
    """The address that was asked for is the value that is there."""
    return b"\x03\x02" + request.pdu[1:3]


class Answer(NamedTuple):
    tid: int
    unit: int
    pdu: bytes


def adu(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def read(address: int, count: int = 1) -> bytes:
    return struct.pack(">BHH", 3, address, count)


class Scada:
    """A Modbus TCP client that can also be rude."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        async with asyncio.timeout(30):
            tid, protocol, length, unit = struct.unpack(">HHHB", await self._reader.readexactly(7))
            assert protocol == 0
            return Answer(tid, unit, await self._reader.readexactly(length - 1))

    async def ask(self, unit: int, pdu: bytes, tid: int = 1) -> bytes:
        self.send(adu(tid, unit, pdu))
        answer = await self.answer()
        assert (answer.tid, answer.unit) == (tid, unit)
        return answer.pdu

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(30):
            return await self._reader.readexactly(count)

    async def rest(self) -> bytes:
        """Everything until the gateway closes the connection."""
        async with asyncio.timeout(30):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def client(tcp_port: int, source: str = "127.0.0.1") -> AsyncIterator[Scada]:
    """`source` is the address that it has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp_port, local_addr=(source, 0))
    try:
        yield Scada(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def server(tcp_port: int, wires: Wires, **keys: Any) -> AsyncIterator[Server]:
    """A link that listens."""
    table = {"kind": "modbus-server", "listen": f"127.0.0.1:{tcp_port}"}
    keys = keys if "units" in keys else {"port": "meters"} | keys
    link = Config.model_validate(table | keys).build("scada", wires)
    assert isinstance(link, Server)
    async with running(link) as life:
        while life.state != "listening":
            await asyncio.sleep(0.001)
        yield link


@contextmanager
def meters(*units: int, fault: Any = None, **keys: Any) -> Iterator[tuple[Bus, modbus_rtu.Client]]:
    """A simulated bus, and a port on it; each holding register holds 256 * unit + its own address."""
    slaves = {unit: Registers(holding={n: 256 * unit + n for n in range(200)}) for unit in units}
    bus = Bus(slaves, Wire(baudrate=0), fault=fault)
    table = {"mode": "modbus-rtu", "tty": bus.tty, "baudrate": 115200, "format": "8E1", "frame_gap": "0s"}
    with Lines(bus):
        yield bus, modbus_rtu.Client(modbus_rtu.Config.model_validate(table | keys))


@asynccontextmanager
async def opened(port: modbus_rtu.Client) -> AsyncIterator[None]:
    async with running(port) as life:
        while life.state != "open":
            await asyncio.sleep(0.001)
        yield


def holds(unit: int, address: int, count: int) -> bytes:
    return bytes((3, 2 * count)) + struct.pack(
        f">{count}H", *(256 * unit + address + n for n in range(count))
    )
