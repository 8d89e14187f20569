"""kind = "modbus-server" with framing = "rtu": RTU frames over TCP, whoever dials."""

import asyncio
from typing import Any

import pytest
from conftest import Until
from parts_kit import Wires
from scada_kit import READ, Line, Scada, client, echo, holds, meters, opened, read, server
from stream_kit import up
from virtual import in_virtual_time

from gateway.contracts import Request, Traced
from gateway.demo.bus import silent
from gateway.errors import LineDown, NoAnswer
from gateway.links.modbus_server import Config
from gateway.wire.rtu import frame

RTU = {"framing": "rtu"}
ZERO = frame(1, b"\x03\x02\x00\x00")  # the answer to READ


async def asks(scada: Scada, unit: int, pdu: bytes, size: int) -> bytes:
    """The answer's PDU, which has so many bytes."""
    scada.send(frame(unit, pdu))
    got = await scada.exactly(size + 3)
    assert got == frame(unit, got[1:-2])
    return got[1:-2]


# Requests and their answers


async def test_registers_are_read_and_written(free_port: int) -> None:
    with meters(1, 2) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), **RTU), client(free_port) as scada:
            assert await asks(scada, 2, read(5, 3), 8) == holds(2, 5, 3)
            assert await asks(scada, 1, b"\x06\x00\x07\x12\x34", 5) == b"\x06\x00\x07\x12\x34"
            assert await asks(scada, 1, read(7), 4) == b"\x03\x02\x12\x34"
            assert await asks(scada, 1, read(199, 2), 2) == b"\x83\x02"


@pytest.mark.parametrize("error", [LineDown("away"), NoAnswer("silent")], ids=str)
async def test_an_error_is_answered_with_its_exception(error: Any, free_port: int) -> None:
    line = Line(lambda request: error)
    async with server(free_port, Wires(meters=line), **RTU), client(free_port) as scada:
        assert await asks(scada, 1, READ, 2) == bytes((0x83, error.modbus))


async def test_one_request_at_a_time_is_asked_and_answers_keep_their_order(
    free_port: int, until: Until
) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line), **RTU), client(free_port) as scada:
        scada.send(b"".join(frame(1, read(address)) for address in range(5)))
        for address in range(5):
            await until(lambda: len(line.owed) == address + 1)  # noqa: B023
            await asyncio.sleep(0.01)
            assert len(line.owed) == address + 1
            line.owed[-1].set_result(echo(line.asked[-1]))
            assert await scada.exactly(7) == frame(1, bytes((3, 2, 0, address)))


async def test_much_at_once_is_answered_in_order_and_stalls_nobody(free_port: int) -> None:
    line = Line(echo)
    async with (
        server(free_port, Wires(meters=line), **RTU),
        client(free_port) as greedy,
        client(free_port) as other,
    ):
        greedy.send(b"".join(frame(1, read(address)) for address in range(1000)))
        assert await asks(other, 1, READ, 4) == b"\x03\x02\x00\x00"
        assert len(line.asked) < 1000
        for address in range(1000):
            assert await greedy.exactly(7) == frame(1, b"\x03\x02" + address.to_bytes(2, "big"))


async def test_requests_that_wait_long_for_a_slow_line_are_whole_all_the_same(free_port: int) -> None:
    """Only what has not come yet may be given up."""
    line = Slow(0.015)
    async with server(free_port, Wires(meters=line), **RTU), client(free_port) as scada:
        writes = [b"\x10\x00" + bytes((n, 0, 1, 2, 0, n)) for n in range(60)]
        scada.send(b"".join(frame(1, write) for write in writes))
        for write in writes:
            assert await scada.exactly(8) == frame(1, write[:5])


class Slow(Line):
    """Confirms each write after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        answer = super().ask(request)
        asyncio.get_running_loop().call_later(self._seconds, answer.set_result, request.pdu[:5])
        return answer


async def test_a_broadcast_reaches_every_device_and_nobody_answers(free_port: int) -> None:
    with meters(1, 2, broadcast=True, turnaround_delay="1ms") as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), **RTU), client(free_port) as scada:
            scada.send(frame(0, b"\x06\x00\x07\x12\x34") + frame(0, read(7)))
            for unit in (1, 2):
                assert await asks(scada, unit, read(7), 4) == b"\x03\x02\x12\x34"


async def test_what_a_client_that_left_still_waits_for_never_reaches_the_wire(
    free_port: int, until: Until
) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line), **RTU) as link:
        async with client(free_port) as leaves:
            leaves.send(frame(1, read(0)) + frame(1, read(1)))
            await until(lambda: line.owed)
        await until(lambda: not link.status()["peers"])
    assert len(line.owed) == 1
    assert line.owed[0].cancelled()


async def test_a_silent_device_is_answered_for(free_port: int) -> None:
    with meters(1, fault=silent, response_timeout="50ms", retries=0) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), **RTU), client(free_port) as scada:
            assert await asks(scada, 1, READ, 2) == b"\x83\x0b"


# Finding them


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100])
async def test_a_request_is_found_however_it_is_cut_and_behind_garbage(size: int, free_port: int) -> None:
    spoiled = bytearray(frame(1, READ))
    spoiled[-1] ^= 1
    stream = b"".join(noise + frame(1, read(n)) for n, noise in enumerate((b"", b"\xff" * 9, spoiled)))
    async with server(free_port, Wires(meters=Line(echo)), **RTU), client(free_port) as scada:
        for start in range(0, len(stream), size):
            scada.send(stream[start : start + size])
            await asyncio.sleep(0)
        for n in range(3):
            assert await scada.exactly(7) == frame(1, bytes((3, 2, 0, n)))


@in_virtual_time
async def test_a_request_that_is_not_whole_after_half_a_second_is_dropped(free_port: int) -> None:
    patient = {"detect_within": "1h"}  # the kernel's clock does not jump with ours
    line, seen = Line(echo), bytearray()
    request = frame(1, READ)
    async with server(free_port, Wires(meters=line), liveness=patient, **RTU) as link:
        with link.trace.tap(offer=lambda traced: heard(traced, seen)):
            async with client(free_port) as scada:
                for pause, asked in ((0.4, 1), (0.6, 1)):
                    for half in (request[:4], request[4:]):
                        await told(scada, half, seen)
                        await asyncio.sleep(pause)
                    assert len(line.asked) == asked
                await asyncio.sleep(0.6)
                await told(scada, request, seen)
                assert len(line.asked) == 2


def heard(traced: Traced, seen: bytearray) -> bool:
    if traced.way == "rx":
        seen += traced.data
    return True


async def told(scada: Scada, data: bytes, seen: bytearray) -> None:
    """The gateway has it; virtual time stands still meanwhile."""
    before = len(seen)
    scada.send(data)
    while len(seen) < before + len(data):
        await asyncio.sleep(0)


# Where we dial


async def test_the_far_end_asks_through_the_connection_that_we_made(free_port: int) -> None:
    calls: asyncio.Queue[Scada] = asyncio.Queue()

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(Scada(reader, writer))

    table = {"kind": "modbus-server", "connect": f"127.0.0.1:{free_port}", "port": "meters", **RTU}
    hello = {"registration": {"text": "SN:", "each": True}, "ignore": [{"text": "PONG"}]}
    link = Config.model_validate(table | hello).build("cloud-poll", Wires(meters=Line(echo)))
    async with await asyncio.start_server(called, "127.0.0.1", free_port), up(link, "up"):
        scada = await calls.get()
        scada.send(b"PONG" + frame(1, READ) + b"PONG" + frame(1, READ)[:3])
        await asyncio.sleep(0.01)
        scada.send(frame(1, READ)[3:] + b"PO")
        assert await scada.exactly(2 * 10) == (b"SN:" + ZERO) * 2
        scada.send(b"NG")
        scada.writer.close()


# Looking on


async def test_the_trace_explains_requests_without_a_transaction_number(free_port: int) -> None:
    async with server(free_port, Wires(meters=Line(echo)), **RTU) as link, client(free_port) as scada:
        with link.trace.tap() as tap:
            await asks(scada, 1, READ, 4)
            said = [line.text for line in await tap.take() if not line.data]
    assert len(said) == 2
    assert all(text.startswith("unit 1: ") for text in said)


async def test_pymodbus_reads_and_writes_the_right_values(free_port: int) -> None:
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.framer import FramerType

    with meters(7) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), **RTU):
            scada = AsyncModbusTcpClient("127.0.0.1", port=free_port, framer=FramerType.RTU)
            assert await scada.connect()
            good = await scada.read_holding_registers(10, count=5, device_id=7)
            written = await scada.write_registers(20, [1, 2, 3], device_id=7)
            again = await scada.read_holding_registers(20, count=3, device_id=7)
            missing = await scada.read_holding_registers(1000, count=1, device_id=7)
            nobody = await scada.read_holding_registers(0, count=1, device_id=255)
            scada.close()
    assert good.registers == [7 * 256 + n for n in range(10, 15)]
    assert (written.isError(), again.registers) == (False, [1, 2, 3])
    assert (missing.exception_code, nobody.exception_code) == (2, 0x0A)
