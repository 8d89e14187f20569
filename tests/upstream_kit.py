"""A foreign Modbus TCP server.

Pymodbus, with its own loop in a thread. It may be stopped and started again.
"""

import asyncio
import logging
import threading
from typing import Any, NamedTuple, Self

from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT = 1
_WRITES = (5, 6, 15, 16)
_ITS_LOG = logging.getLogger("pymodbus.logging")


class Taken(NamedTuple):
    """One write that it has done."""

    function: int
    address: int
    values: tuple[int, ...]


class Upstream:
    """Holding registers 0 to 199 and coils 0 to 15 of unit 1. Each start finds them all 0."""

    def __init__(self, tcp_port: int) -> None:
        self.tcp_port = tcp_port
        self.taken: list[Taken] = []  # over all its starts
        self._running: tuple[asyncio.AbstractEventLoop, ModbusTcpServer, threading.Thread] | None = None

    def __enter__(self) -> Self:
        _ITS_LOG.setLevel(logging.CRITICAL)  # to be stopped in the middle of an answer is an error to it
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _ITS_LOG.setLevel(logging.NOTSET)

    def start(self) -> None:
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        thread.start()
        assert ready.wait(30)

    async def _serve(self, ready: threading.Event) -> None:
        server = ModbusTcpServer(self._device(), address=("127.0.0.1", self.tcp_port))
        await server.serve_forever(background=True)
        self._running = asyncio.get_running_loop(), server, threading.current_thread()
        ready.set()
        await server.serving

    def _device(self) -> SimDevice:
        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        words = [SimData(0, count=200, datatype=DataType.REGISTERS)]
        return SimDevice(id=UNIT, simdata=(bits, bits, words, words), action=self._note)

    async def _note(
        self, function: int, start: int, address: int, count: int, now: list[int], values: Any
    ) -> None:
        if function in _WRITES and values:
            self.taken.append(Taken(function, address, tuple(int(value) for value in values)))

    def stop(self) -> None:
        """Listening ends, and all its connections."""
        if self._running is not None:
            (loop, server, thread), self._running = self._running, None
            asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
            thread.join(30)
            assert not thread.is_alive()

    def number(self, address: int, data_type: str = "UINT16") -> Any:
        """What a client of pymodbus reads there."""
        kind = ModbusTcpClient.DATATYPE[data_type]
        with ModbusTcpClient("127.0.0.1", port=self.tcp_port) as client:
            read = client.read_holding_registers(address, count=kind.value[1], device_id=UNIT)
        return client.convert_from_registers(read.registers, kind)

    def coil(self, address: int) -> bool:
        with ModbusTcpClient("127.0.0.1", port=self.tcp_port) as client:
            return bool(client.read_coils(address, count=1, device_id=UNIT).bits[0])
