"""Malformed Modbus TCP, and garbage on the bus: a clear answer, and nobody else is disturbed."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from peers_kit import Scada, adu
from system_kit import Daemon, modbus_port, modbus_server

from gateway.demo import bus as faults
from gateway.demo.bus import Bus, Fault, Reply
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

READ, SEVEN = "03 0000 0001", "03 02 00 07"


@dataclass
class Plant:
    """Three units on a bus that costs no time, and what asks them."""

    bus: Bus
    lines: Lines
    port: int  # TCP
    daemon: Daemon


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    bus = Bus({unit: Registers(holding={0: 7, 1: 8}) for unit in (1, 2, 3)}, Wire(baudrate=0))
    port = free_port()
    config = modbus_port("meters", bus.tty) + modbus_server("scada", port, port="meters")
    with Lines(bus) as lines, Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        yield Plant(bus, lines, port, daemon)
        assert "Traceback" not in daemon.log
        assert "internal error" not in daemon.log


@pytest.fixture
def scada(plant: Plant) -> Iterator[Scada]:
    with Scada(plant.port) as client:
        assert client.ask(1, READ) == SEVEN
        yield client


@pytest.fixture
def bystander(plant: Plant) -> Iterator[Scada]:
    """Another client, which sees nothing of what `scada` does. In the end nothing of that was on the wire."""
    with Scada(plant.port) as client:
        asked = plant.bus.count.requests
        assert client.ask(2, READ) == SEVEN
        yield client
        assert client.ask(2, READ) == SEVEN
        assert plant.bus.count.requests == asked + 2


# ---------------------------------------------------------------- Modbus TCP

HEADERS = {
    "length 0": "0001 0000 0000 01",
    "length 1": "0001 0000 0001 01",
    "length 255": "0001 0000 00ff 01 03",
    "length 65535": "0001 0000 ffff 01 03 0000 0001",
    "protocol 1": "0001 0001 0006 01 03 0000 0001",
    "protocol 256": "0001 0100 0006 01 03 0000 0001",
    "RTU": "01 03 0000 0001 840a",
    "TLS": "16 0301 0200 0100 01fc 0303" + "5a" * 500,
    "HTTP": b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n".hex(),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_a_header_that_cannot_be_trusted_ends_that_connection_alone(
    data: str, scada: Scada, bystander: Scada
) -> None:
    scada.send(bytes.fromhex(data))
    assert scada.answer() is None


def test_a_flood_of_noise_ends_that_connection_alone(scada: Scada, bystander: Scada) -> None:
    with suppress(ConnectionError):
        scada.send(b"\xff\xff" + random.Random(1).randbytes(200_000))
    assert scada.answer() is None


def test_half_a_request_and_a_hang_up_reach_nobody(scada: Scada, bystander: Scada) -> None:
    scada.send(adu(1, 1, bytes.fromhex(READ))[:-1])
    scada.sock.shutdown(socket.SHUT_WR)
    assert scada.answer() is None


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("03 0000 0000", "83 03"),
        ("03 0000 007e", "83 03"),
        ("03 0000", "83 03"),
        ("03 0000 0001 00", "83 03"),
        ("01 0000 07d1", "81 03"),
        ("06 0000", "86 03"),
        ("0f 0000 0009 01 ff", "8f 03"),
        ("10 0000 0000 00", "90 03"),
        ("10 0000 0002 03 0001 00", "90 03"),
        ("10 0000 0002 04 0001", "90 03"),
        ("17 0000 0000 0000 0001 02 0001", "97 03"),
        ("00", "80 01"),
        ("00 0000 0001", "80 01"),
        ("80 01", "80 01"),
        ("83 0000 0001", "83 01"),
        ("ff", "ff 01"),
    ],
)
def test_a_request_that_contradicts_itself_gets_an_exception_and_the_next_one_its_answer(
    pdu: str, answer: str, plant: Plant, scada: Scada
) -> None:
    asked = plant.bus.count.requests
    assert scada.ask(1, pdu) == answer
    assert scada.ask(1, READ) == SEVEN
    assert plant.bus.count.requests == asked + 1


@pytest.mark.parametrize("unit", [0, 248, 255])
def test_a_unit_that_no_line_has_gets_exception_0a(unit: int, scada: Scada, bystander: Scada) -> None:
    assert scada.ask(unit, READ) == "83 0a"


def test_requests_are_found_by_their_length_however_they_arrive(scada: Scada) -> None:
    stream = b"".join(adu(tid, 1 + tid % 3, bytes.fromhex(READ)) for tid in range(9))
    for byte in stream[:36]:
        scada.send(bytes((byte,)))
    scada.send(stream[36:])
    answers = [scada.answer() for _ in range(9)]
    assert sorted(answer[:2] for answer in answers if answer) == [(tid, 1 + tid % 3) for tid in range(9)]
    assert {answer.pdu.hex(" ") for answer in answers if answer} == {SEVEN}


def test_the_same_transaction_id_twice_gets_two_answers(scada: Scada) -> None:
    scada.request(1, READ, tid=5)
    scada.request(2, "03 0001 0001", tid=5)
    answers = [scada.answer(), scada.answer()]
    assert sorted((answer.unit, answer.pdu.hex(" ")) for answer in answers if answer) == [
        (1, SEVEN),
        (2, "03 02 00 08"),
    ]


def test_who_asks_too_much_at_once_is_told_busy_once_for_each_that_is_too_many(scada: Scada) -> None:
    scada.send(b"".join(adu(tid, 1, bytes.fromhex(READ)) for tid in range(40)))
    answers = [answer for answer in (scada.answer() for _ in range(40)) if answer]
    assert sorted(answer.tid for answer in answers) == list(range(40))
    words = [answer.pdu.hex(" ") for answer in answers]
    assert set(words) == {SEVEN, "83 06"}
    assert 16 <= words.count(SEVEN) <= 17  # `queue`, and the one that was on the wire


# ---------------------------------------------------------------- the serial line

NOISE = bytes.fromhex("00 ff 01 03 02 80 80")


def behind(noise: bytes) -> Fault:
    return lambda request, answer: Reply(answer + noise)


def another_units(request: bytes, answer: bytes) -> Reply:
    """A whole good frame of somebody else comes before the answer."""
    return Reply(faults.with_crc(b"\x09" + answer[1:-2]) + answer)


@pytest.mark.parametrize(
    "fault",
    [
        faults.garbage(NOISE),
        faults.garbage(b"\x01\x03\x02\x12"),  # looks like the beginning of the answer
        faults.garbage(b"\x00" * 300),
        behind(NOISE),
        another_units,
        faults.sometimes(2, faults.bad_crc),
    ],
    ids=["before", "like it", "much", "behind", "another unit", "bad CRC"],
)
def test_garbage_around_an_answer_does_not_spoil_the_value(fault: Fault, plant: Plant, scada: Scada) -> None:
    plant.bus.fault = fault
    try:
        for _ in range(10):
            assert scada.ask(1, READ) == SEVEN
            assert scada.ask(2, "03 0000 0002") == "03 04 00 07 00 08"
    finally:
        plant.bus.fault = None


def test_garbage_between_two_requests_does_not_spoil_the_next_value(plant: Plant, scada: Scada) -> None:
    for _ in range(10):
        plant.lines.call(lambda: plant.bus.say(NOISE, time.monotonic()))
        assert scada.ask(1, READ) == SEVEN
