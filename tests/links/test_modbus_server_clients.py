"""kind = "modbus-server": clients that come, go, ask too much and do not read, and what is seen of them."""

import asyncio
import socket
from contextlib import suppress

import pytest
from conftest import Until
from parts_kit import Wires, running
from scada_kit import READ, Line, adu, client, echo, holds, meters, opened, read, server

from gateway.demo.bus import silent
from gateway.links.modbus_server import Config


async def test_more_clients_than_allowed_are_refused_and_a_place_that_is_free_again_is_given(
    free_port: int, until: Until
) -> None:
    wires = Wires(meters=Line(echo))
    async with server(free_port, wires, max_clients=2) as link, client(free_port) as one:
        async with client(free_port) as two:
            await one.ask(1, READ)
            await two.ask(1, READ)
            async with client(free_port) as three:
                assert await three.rest() == b""
            assert await one.ask(1, READ) == await two.ask(1, READ)
        assert link.status()["refused"] == 1
        await until(lambda: len(link.status()["peers"]) == 1)
        async with client(free_port) as four:
            assert await four.ask(1, READ) == b"\x03\x02\x00\x00"


async def test_what_a_client_that_left_still_waits_for_never_reaches_the_wire(
    free_port: int, until: Until
) -> None:
    with meters(1, fault=silent, response_timeout="500ms", late_answer_guard="1ms") as (bus, port):
        async with opened(port), server(free_port, Wires(meters=port)) as link, client(free_port) as stays:
            async with client(free_port) as leaves:
                leaves.send(b"".join(adu(tid, 1, read(tid)) for tid in range(8)))
                await until(lambda: bus.seen)
            await until(lambda: len(link.status()["peers"]) == 1)
            sent = len(bus.seen)
            bus.fault = None
            assert await stays.ask(1, read(100)) == holds(1, 100, 1)
            assert len(bus.seen) == sent + 1


@pytest.mark.parametrize("at_once", [40, 5000], ids="{} requests at once".format)
async def test_a_client_that_does_not_read_costs_little_and_stalls_nobody(
    at_once: int, free_port: int
) -> None:
    asyncio.get_running_loop().set_debug(False)  # it makes so many requests slow
    answer = b"\x03\xfa" + bytes(250)
    line = Line(lambda request: answer)
    flood = b"".join(adu(n, 1, read(0, 125)) for n in range(0x10000)) * 4
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.setblocking(False)
        async with server(free_port, Wires(meters=line)) as link, client(free_port) as other:
            await asyncio.get_running_loop().sock_connect(greedy, ("127.0.0.1", free_port))
            sent = await stalled(greedy, flood, 12 * at_once, line)
            peer = link.status()["peers"][-1]
            waiting = peer["rx_bytes"] - 12 * peer["requests"]
            in_memory = peer["tx_bytes"] - (peer["unacked_bytes"] or 0)
            assert waiting <= 4 * 256 * 1024  # the rest is in the kernel, and soon in the client's
            assert in_memory <= 2 * 256 * 1024
            assert await other.ask(1, READ) == answer

            answers = min(sent, peer["requests"] + 1000)
            assert await in_order(greedy, answers, len(answer) + 7) >= answers
            assert await other.ask(1, READ) == answer


async def test_a_client_that_asks_for_a_thousand_at_once_lets_others_come_in_between(free_port: int) -> None:
    line = Line(echo)
    async with server(free_port, Wires(meters=line)), client(free_port) as greedy, client(free_port) as other:
        await other.ask(1, READ)
        greedy.send(b"".join(adu(n, 1, read(n % 256)) for n in range(1000)))
        other.send(adu(1, 1, READ))
        await other.answer()
        assert len(line.asked) < 500
        for late in range(1000, 1003):
            greedy.send(adu(late, 1, READ))  # comes while the first thousand are still being asked
            await asyncio.sleep(0)
        assert [(await greedy.answer()).tid for _ in range(1003)] == list(range(1003))


async def stalled(sock: socket.socket, flood: bytes, at_once: int, line: Line) -> int:
    """Sends `flood`, so many bytes at once, as long as requests of it are passed on; returns how many."""
    sent = patience = 0
    while patience < 20:
        asked = len(line.asked)
        with suppress(BlockingIOError):
            sent += sock.send(flood[sent : sent + at_once])
        for patience in range(21):
            await asyncio.sleep(0.005 if patience else 0)
            if len(line.asked) > asked:
                break
    return sent // 12


async def in_order(sock: socket.socket, answers: int, size: int) -> int:
    """Reads at least so many answers, which have to come in the order of their requests."""
    got, seen = b"", 0
    async with asyncio.timeout(30):
        while seen < answers:
            got += await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
            whole = len(got) // size
            tids = [int.from_bytes(got[n * size : n * size + 2], "big") for n in range(whole)]
            assert tids == [n & 0xFFFF for n in range(seen, seen + whole)]
            got, seen = got[whole * size :], seen + whole
    return seen


async def test_when_the_link_is_stopped_clients_are_let_go_and_their_requests_withdrawn(
    free_port: int, until: Until
) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line)) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(adu(1, 1, READ))
        await until(lambda: line.owed)
    assert await reader.read() == b""
    assert line.owed[0].cancelled()
    assert link.status()["peers"] == []
    writer.close()


async def test_an_address_that_is_taken_is_waited_for(free_port: int, until: Until) -> None:
    link = Config.model_validate(
        {"kind": "modbus-server", "listen": f"127.0.0.1:{free_port}", "port": "meters"}
    ).build("scada", Wires(meters=Line(echo)))
    with socket.create_server(("127.0.0.1", free_port)):
        async with running(link) as life:
            await until(lambda: life.reason)
            assert life.reason == f"cannot listen on 127.0.0.1:{free_port}: another program uses this address"


async def test_the_status_shows_who_is_there(free_port: int) -> None:
    async with server(free_port, Wires(meters=Line(echo))) as link, client(free_port) as scada:
        await scada.ask(1, READ)
        await scada.ask(1, READ)
        record = link.status()
        address = f"127.0.0.1:{scada.writer.get_extra_info('sockname')[1]}"
    (peer,) = record["peers"]
    assert (record["kind"], record["direction"], record["ports"]) == ("modbus-server", "listen", ["meters"])
    assert record["endpoint"] == f"127.0.0.1:{free_port}"
    assert (peer["address"], peer["requests"], peer["rx_bytes"], peer["tx_bytes"]) == (address, 2, 24, 22)
    assert peer["keepalive"]["user_timeout_ms"] == 20_000


async def test_the_trace_shows_both_ways(free_port: int) -> None:
    async with server(free_port, Wires(meters=Line(echo))) as link, client(free_port) as scada:
        with link.trace.tap() as tap:
            await scada.ask(1, READ)
            lines = [(line.way, line.data) for line in await tap.take() if line.data]
    assert lines == [("rx", adu(1, 1, READ)), ("tx", adu(1, 1, b"\x03\x02\x00\x00"))]


# Foreign clients


@pytest.mark.needs("mbpoll")
async def test_mbpoll_reads_the_right_values(free_port: int) -> None:
    with meters(7) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)):
            options = f"-m tcp -p {free_port} -a 7 -t 4 -0 -r 10 -c 5 -1 127.0.0.1"
            process = await asyncio.create_subprocess_exec(
                "mbpoll", *options.split(), stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
    assert process.returncode == 0
    values = [line.split() for line in said.decode().splitlines() if line.startswith("[")]
    assert values == [[f"[{n}]:", str(7 * 256 + n)] for n in range(10, 15)]


async def test_pymodbus_reads_and_writes_the_right_values(free_port: int) -> None:
    from pymodbus.client import AsyncModbusTcpClient

    with meters(7) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)):
            scada = AsyncModbusTcpClient("127.0.0.1", port=free_port)
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
