"""A line with one device that remembers what is written to it, and a device in service on it."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.contracts import Outcome, Rank, Request
from gateway.devices.model import DeviceConfig
from gateway.devices.poller import Device
from gateway.errors import GatewayError
from gateway.status import Life

UNIT = 7


class Line:
    """Every address of its device exists. `lacks` are function codes that it does not know."""

    def __init__(self, latency: float = 0.01, lacks: Collection[int] = ()) -> None:
        self.latency, self.lacks = latency, lacks
        self.holding: dict[int, int] = {}
        self.coils: dict[int, int] = {}
        self.refuses: dict[int, int] = {}  # address -> exception code
        self.fault: GatewayError | None = None
        self.asked: list[Request] = []

    @property
    def writes(self) -> list[str]:
        """What was asked with the rank of a write, as hexadecimal digits."""
        return [request.pdu.hex() for request in self.asked if request.rank is Rank.WRITE]

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self.asked.append(request)
        loop.call_later(self.latency, self._answer, request, answer)
        return answer

    def _answer(self, request: Request, answer: asyncio.Future[bytes]) -> None:
        if answer.done():
            return
        if self.fault is not None:
            answer.set_exception(type(self.fault)(str(self.fault)))
        else:
            answer.set_result(self._outcome(request.pdu))

    def _outcome(self, pdu: bytes) -> bytes:
        function, address, word = struct.unpack_from(">BHH", pdu)
        if function in self.lacks:
            return bytes((function | 0x80, 1))
        if address in self.refuses and function > 4:
            return bytes((function | 0x80, self.refuses[address]))
        places = range(address, address + word)
        match function:
            case 1:
                bits = sum(self.coils.get(place, 0) << bit for bit, place in enumerate(places))
                size = (word + 7) // 8
                return bytes((1, size)) + bits.to_bytes(size, "little")
            case 3:
                words = [self.holding.get(place, 0) for place in places]
                return struct.pack(f">BB{word}H", 3, 2 * word, *words)
            case 5:
                self.coils[address] = {0xFF00: 1, 0: 0}[word]
            case 6:
                self.holding[address] = word
            case 15:
                bits = int.from_bytes(pdu[6:], "little")
                self.coils |= {place: bits >> bit & 1 for bit, place in enumerate(places)}
            case 16:
                self.holding |= dict(zip(places, struct.unpack_from(f">{word}H", pdu, 6), strict=True))
            case 22:
                (put,) = struct.unpack_from(">H", pdu, 5)
                self.holding[address] = self.holding.get(address, 0) & word | put & ~word
                return pdu
        return pdu[:5]


def config(points: dict[str, dict[str, Any]], **keys: Any) -> DeviceConfig:
    """Points are writable unless they say otherwise."""
    told = {name: {"writable": True, **point} for name, point in points.items()}
    table = {"port": "meters", "unit_id": UNIT, "poll_interval": "1h", "points": told, **keys}
    return DeviceConfig.model_validate(table).with_model(None)


@asynccontextmanager
async def serving(device: Device) -> AsyncIterator[Device]:
    life = Life("main-meter", "unknown", asyncio.get_running_loop().time, time.time)
    session = asyncio.create_task(device.session(life))
    await asyncio.sleep(0)  # its first step
    await asyncio.sleep(0)  # and that of its children
    try:
        yield device
    finally:
        session.cancel()
        with suppress(asyncio.CancelledError):
            await session


def in_service(line: Line, points: dict[str, dict[str, Any]], **keys: Any) -> Any:
    """`async with in_service(line, points) as device`."""
    return serving(Device("main-meter", config(points, **keys), line))


async def told(device: Device, **values: object) -> Outcome:
    """One command."""
    return await device.write(values)
