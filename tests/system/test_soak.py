"""Everything at once, for long (`make soak`.

SOAK_SECONDS, by default ten minutes): nothing wrong, lost or grown.
"""

import os
import random
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from grown_kit import taken
from peers_kit import Broker, Scada, Subscriber
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, raw_port

from gateway.demo import bus as faults
from gateway.demo.bus import Bus, Reply
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale, number_of

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
AWAY_EVERY = 20.0  # seconds from one absence of the broker to the next
CLIENTS = 4
REGISTERS = {address: address * 7 & 0xFFFF for address in range(400)}
MISTAKES = (
    faults.bad_crc,
    faults.silent,
    faults.cut(4),
    faults.garbage(b"\x55\xaa\x01\x03"),
    faults.late(0.4),  # after the timeout, inside the guard
)


def now_and_then(request: bytes, answer: bytes) -> Reply:
    """One answer in twenty has a fault."""
    return random.choice(MISTAKES)(request, answer) if random.random() < 0.05 else Reply(answer)


class Client(threading.Thread):
    """Reads at random until told to stop, and checks every register."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__()
        self._port, self._over = port, stop
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        with Scada(self._port) as scada:
            while not self._over.is_set():
                address, count = random.randrange(300), random.randrange(1, 100)
                pdu = bytes.fromhex(scada.ask(1, f"03 {address:04x} {count:04x}"))
                self.outcomes[self._judged(pdu, address, count)] += 1

    def _judged(self, pdu: bytes, address: int, count: int) -> str:
        if pdu[0] == 0x83:
            return f"exception {pdu[1]:02X}"
        values = [REGISTERS[address + place] for place in range(count)]
        return "right" if pdu == struct.pack(f">BB{count}H", 3, 2 * count, *values) else "wrong"


@pytest.mark.soak
@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(SECONDS + 120)
def test_hours_in_minutes(tmp_path: Path) -> None:
    line = Bus({1: Registers(holding=REGISTERS)}, Wire(baudrate=115200), fault=now_and_then)
    scale = Scale(0.01, Wire(baudrate=115200, bits=10), printing=False)
    port = free_port()
    stop = threading.Event()
    clients = [Client(port, stop) for _ in range(CLIENTS)]
    with Broker() as broker, Subscriber(broker) as subscriber, Lines(line, scale):
        config = (
            modbus_port("meters", line.tty, baudrate=115200, response_timeout="300ms", request_timeout="20s")
            + modbus_server("scada", port, port="meters")
            + raw_port("scale", scale.tty, baudrate=115200)
            + mqtt("cloud", broker.port, prefix="soak", ports=["scale"])
        )
        with Daemon(config) as daemon:
            daemon.comes_to("links.cloud", "up")
            began = taken(daemon)
            scale.begin()
            for client in clients:
                client.start()
            _come_and_go(broker, subscriber)
            stop.set()
            for client in clients:
                client.join()
            scale.printing = False
            eventually(lambda: len(numbers(subscriber)) >= scale.printed, 60)
            outcomes = sum((client.outcomes for client in clients), Counter())
            print(outcomes, f"{scale.printed} lines", began, taken(daemon))

            assert numbers(subscriber) == list(range(1, scale.printed + 1))
            assert outcomes["right"] > SECONDS
            assert set(outcomes) <= {"right", "exception 0B"}
            assert line.count.short_gaps + line.count.overlaps == 0
            assert "Traceback" not in daemon.log
            assert taken(daemon)["descriptors"] <= began["descriptors"] + CLIENTS
            assert taken(daemon)["kilobytes"] <= began["kilobytes"] + 6 * 1024


def _come_and_go(broker: Broker, subscriber: Subscriber) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        _listen(subscriber, 0.7 * AWAY_EVERY)
        broker.stop()
        _listen(subscriber, 0.3 * AWAY_EVERY)
        broker.start()


def _listen(subscriber: Subscriber, seconds: float) -> None:
    """Takes what comes: mosquitto_sub stops when its pipe is full."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        subscriber.on("")
        time.sleep(0.2)


def numbers(subscriber: Subscriber) -> list[int]:
    """Of the scale's lines that have arrived, in their order; a repeated delivery counts once."""
    found = (number_of(message.payload) for message in subscriber.on("soak/port/scale/rx"))
    return list(dict.fromkeys(number for number in found if number is not None))
