"""kind = "modbus-server" with transport = "udp": who is answered what, and what is not."""

import asyncio
import socket
from typing import Any

import pytest
from conftest import Until
from parts_kit import Wires, running
from pydantic import ValidationError
from scada_kit import READ, Line, adu, echo, holds, meters, opened, read
from udp_kit import HERE, caller, link, server, taken, until_heard

from gateway.contracts import Rank, Request
from gateway.errors import Busy, LineDown, NoAnswer
from gateway.links.modbus_server import Config
from gateway.wire.rtu import frame

RTU = {"framing": "rtu"}
WRITE = b"\x06\x00\x01\x00\x07"
ZERO = b"\x03\x02\x00\x00"  # the answer to READ


# Requests and their answers


async def test_registers_are_read_and_written(free_port: int) -> None:
    with meters(1, 2) as (_, port), caller(free_port) as scada:
        async with opened(port), server(free_port, Wires(meters=port)):
            assert await scada.asks(adu(7, 2, read(5, 3))) == adu(7, 2, holds(2, 5, 3))
            assert await scada.asks(adu(8, 1, WRITE)) == adu(8, 1, WRITE)
            assert await scada.asks(adu(9, 1, read(1))) == adu(9, 1, b"\x03\x02\x00\x07")
            assert await scada.asks(adu(10, 1, read(199, 2))) == adu(10, 1, b"\x83\x02")


async def test_the_same_in_rtu_frames(free_port: int) -> None:
    with meters(1, 2) as (_, port), caller(free_port) as scada:
        async with opened(port), server(free_port, Wires(meters=port), **RTU):
            assert await scada.asks(frame(2, read(5, 3))) == frame(2, holds(2, 5, 3))
            assert await scada.asks(frame(1, WRITE)) == frame(1, WRITE)
            assert await scada.asks(frame(1, read(1))) == frame(1, b"\x03\x02\x00\x07")
            assert await scada.asks(frame(1, read(199, 2))) == frame(1, b"\x83\x02")


@pytest.mark.parametrize("error", [LineDown("away"), NoAnswer("silent"), Busy("busy")], ids=str)
@pytest.mark.parametrize("framing", ["mbap", "rtu"])
async def test_an_error_is_answered_with_its_exception(error: Any, framing: str, free_port: int) -> None:
    line = Line(lambda request: error)
    pdu = bytes((0x83, error.modbus))
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line), framing=framing):
            if framing == "rtu":
                assert await scada.asks(frame(1, READ)) == frame(1, pdu)
            else:
                assert await scada.asks(adu(1, 1, READ)) == adu(1, 1, pdu)


async def test_answers_go_out_as_they_come_each_to_whoever_asked(free_port: int) -> None:
    line = Line()
    with caller(free_port) as one, caller(free_port) as other:
        async with server(free_port, Wires(meters=line)) as scada:
            one.send(adu(1, 1, read(1)), adu(2, 1, read(2)))
            await until_heard(scada, 2)
            other.send(adu(1, 1, read(3)))
            await until_heard(scada, 3)
            for place in (2, 1, 0):
                line.owed[place].set_result(echo(line.asked[place]))
            assert await other.hears() == adu(1, 1, b"\x03\x02\x00\x03")
            assert await one.hears() == adu(2, 1, b"\x03\x02\x00\x02")
            assert await one.hears() == adu(1, 1, b"\x03\x02\x00\x01")


async def test_each_source_is_an_asker_of_its_own_and_a_write_has_its_rank(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as one, caller(free_port) as two, caller(free_port, "127.0.0.2") as three:
        async with server(free_port, Wires(meters=line)):
            for scada, pdu in ((one, READ), (one, WRITE), (two, READ), (three, READ)):
                await scada.asks(adu(1, 1, pdu))
    hosts, connections = zip(*(request.asker for request in line.asked), strict=True)
    assert hosts == (HERE, HERE, HERE, "127.0.0.2")
    assert connections[0] == connections[1]
    assert len(set(connections)) == 3
    assert [request.rank for request in line.asked] == [Rank.READ, Rank.WRITE, Rank.READ, Rank.READ]


async def test_rtu_requests_of_one_source_are_asked_one_at_a_time_and_sixteen_may_wait(
    free_port: int,
) -> None:
    """Nothing in an answer tells which request it belongs to."""
    line = Line()
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line), **RTU) as udp:
            scada.send(*(frame(1, read(address)) for address in range(20)))
            await until_heard(udp, 20)
            for address in range(17):
                assert len(line.owed) == address + 1
                line.owed[-1].set_result(echo(line.asked[-1]))
                assert await scada.hears() == frame(1, bytes((3, 2, 0, address)))
            assert udp.status()["datagrams"]["dropped"] == 3


async def test_a_broadcast_is_answered_by_nobody(free_port: int) -> None:
    line = Line(lambda request: b"" if request.unit == 0 else echo(request))
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)):
            scada.send(adu(1, 0, WRITE))
            assert await scada.asks(adu(2, 1, READ)) == adu(2, 1, ZERO)
    assert [request.unit for request in line.asked] == [0, 1]


# What is no request


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00",
        b"hello, is this 502?",
        adu(1, 1, READ)[:-1],
        adu(1, 1, READ) + b"\x00",
        adu(1, 1, READ) + adu(2, 1, READ),
        adu(1, 1, b""),
        adu(1, 1, bytes(254)),
        b"\x00\x01\x00\x01\x00\x06\x01" + READ,
        adu(1, 1, b"\x00"),
        adu(1, 1, b"\x83\x0b"),
        adu(1, 1, b"\xff"),
        frame(1, READ),
        bytes(65507),
    ],
    ids=lambda garbage: garbage[:12].hex(" "),
)
async def test_garbage_is_counted_and_never_answered(garbage: bytes, free_port: int) -> None:
    await nothing_but_counted(garbage, free_port, adu(1, 1, READ), adu(1, 1, ZERO))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        frame(1, READ)[:-1],
        frame(1, READ)[:-1] + b"\x00",
        frame(1, READ) + b"\x00",
        frame(1, READ) + frame(1, READ),
        frame(1, b""),
        frame(1, b"\x83\x0b"),
        frame(1, b"\x03" + bytes(253)),
        adu(1, 1, READ),
    ],
    ids=lambda garbage: garbage[:12].hex(" "),
)
async def test_garbage_between_rtu_frames_is_too(garbage: bytes, free_port: int) -> None:
    await nothing_but_counted(garbage, free_port, frame(1, READ), frame(1, ZERO), **RTU)


async def nothing_but_counted(garbage: bytes, port: int, request: bytes, answer: bytes, **keys: Any) -> None:
    """It reaches no line, has no answer, takes no place, and does no harm to what follows."""
    line = Line(echo)
    with caller(port) as bad, caller(port) as good:
        async with server(port, Wires(meters=line), max_clients=1, **keys) as udp:
            bad.send(garbage, garbage)
            await taken(udp, "malformed", 2)
            assert (udp.status()["peers"], line.asked) == ([], [])
            assert await good.asks(request) == answer
            bad.send(garbage)
            await taken(udp, "malformed", 3)
            assert await good.asks(request) == answer
            assert bad.heard() == []
            assert udp.status()["refused"] == 0


async def test_a_request_that_contradicts_itself_is_answered_by_the_line(free_port: int) -> None:
    """It is whole, and whoever sent it waits."""
    with meters(1) as (_, port), caller(free_port) as scada:
        async with opened(port), server(free_port, Wires(meters=port)):
            assert await scada.asks(adu(1, 1, b"\x03\x00")) == adu(1, 1, b"\x83\x03")


# Over it all


async def test_what_was_asked_is_withdrawn_when_the_link_ends(free_port: int) -> None:
    line = Line()
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)) as udp:
            scada.send(adu(1, 1, READ))
            await until_heard(udp, 1)
    assert line.owed[0].cancelled()
    assert udp.status()["peers"] == []


async def test_an_address_that_is_taken_is_waited_for(free_port: int, until: Until) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, free_port))
        async with running(link(free_port, Wires(meters=Line(echo)))) as life:
            await until(lambda: life.reason)
            assert life.reason == f"cannot listen on {HERE}:{free_port}: another program uses this address"
            sock.close()
            await until(lambda: life.state == "listening")


async def test_the_status_shows_who_asked(free_port: int) -> None:
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=Line(echo))) as udp:
            await scada.asks(adu(1, 1, READ))
            await scada.asks(adu(2, 1, READ))
            record = udp.status()
    assert (record["kind"], record["direction"], record["ports"]) == ("modbus-server", "listen", ["meters"])
    assert (record["endpoint"], record["detect_within_s"]) == (f"udp 127.0.0.1:{free_port}", None)
    (peer,) = record["peers"]
    assert (peer["address"], peer["requests"], peer["rx_bytes"], peer["tx_bytes"]) == (
        scada.address,
        2,
        24,
        22,
    )
    assert [key for key, value in peer.items() if value is None] == [
        "proof_age_s",
        "detect_within_s",
        "rtt_ms",
        "rto_ms",
        "retransmits",
        "unacked_bytes",
        "keepalive",
    ]


async def test_the_trace_shows_datagrams_and_what_they_mean(free_port: int) -> None:
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=Line(echo))) as udp:
            with udp.trace.tap() as tap:
                await scada.asks(adu(5, 1, READ))
                lines = [(line.way, line.data, line.text) for line in await tap.take()]
    assert lines[0] == ("rx", adu(5, 1, READ), scada.address)
    assert lines[1][:2] == ("rx", b"")
    assert lines[1][2].startswith("transaction 5, unit 1: read")
    assert lines[2] == ("tx", adu(5, 1, ZERO), scada.address)
    assert lines[3][:2] == ("tx", b"")


async def test_access_and_clients_hold_for_datagrams(free_port: int) -> None:
    line = Line(echo)
    rules = {"access": "read-only", "clients": {"127.0.0.2": "read-write"}}
    with caller(free_port) as reader, caller(free_port, "127.0.0.2") as writer:
        async with server(free_port, Wires(meters=line), **rules) as udp:
            assert await reader.asks(adu(1, 1, WRITE)) == adu(1, 1, b"\x86\x01")
            assert await reader.asks(adu(2, 1, READ)) == adu(2, 1, ZERO)
            assert await writer.asks(adu(1, 1, WRITE)) == adu(
                1, 1, echo(Request(1, WRITE, line.asked[-1].asker))
            )
            assert udp.status()["denied"] == 1
    assert [request.pdu for request in line.asked] == [READ, WRITE]


async def test_who_is_not_allowed_gets_no_answer_and_no_place(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as good, caller(free_port, "127.0.0.2") as bad:
        async with server(free_port, Wires(meters=line), allow=[HERE], max_clients=1) as udp:
            bad.send(adu(1, 1, READ), b"garbage")
            async with asyncio.timeout(30):
                while udp.status()["not_allowed"] < 2:
                    await asyncio.sleep(0)
            assert await good.asks(adu(1, 1, READ)) == adu(1, 1, ZERO)
            assert (bad.heard(), udp.status()["refused"]) == ([], 0)
            assert udp.status()["datagrams"]["malformed"] == 0
    assert len(line.asked) == 1


# The config


@pytest.mark.parametrize(
    "keys",
    [
        {"tls": {"cert": "a", "key": "b"}},
        {"kick_old_client": False},
        {"registration": {"text": "SN"}},
        {"heartbeat": {"text": "PING"}},
        {"ignore": [{"text": "PONG"}]},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_keys_of_connections_are_refused(keys: Any) -> None:
    assert faults(listen=":502", **keys) == [f'{next(iter(keys))} goes with transport = "tcp"']


def test_it_listens() -> None:
    assert faults() == ['where does it listen? write listen = "address:port"']
    assert faults(connect="10.0.0.1:502") == ['connect goes with transport = "tcp"']


def faults(**keys: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"kind": "modbus-server", "transport": "udp", "port": "meters"} | keys)
    return [error["msg"] for error in caught.value.errors()]


def test_a_link_that_changes_its_transport_is_built_anew() -> None:
    table = {"kind": "modbus-server", "listen": ":502", "port": "meters"}
    tcp, udp = (Config.model_validate(table | {"transport": word}) for word in ("tcp", "udp"))
    assert tcp.shape != udp.shape


# Foreign clients


@pytest.mark.parametrize("framing", ["mbap", "rtu"])
async def test_pymodbus_reads_and_writes_the_right_values(framing: str, free_port: int) -> None:
    from pymodbus.client import AsyncModbusUdpClient
    from pymodbus.framer import FramerType

    framer = FramerType.SOCKET if framing == "mbap" else FramerType.RTU
    with meters(7) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), framing=framing):
            scada = AsyncModbusUdpClient(HERE, port=free_port, framer=framer)
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
