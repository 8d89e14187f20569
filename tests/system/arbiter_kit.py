"""A Modbus line on which many clients meet: slaves that date each answer, clients that check where and when
theirs was made, and a unit that holds up the line for as long as a test likes.
"""

import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from peers_kit import Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server

from gateway.demo.bus import Bus, Fault, Slave, crc_fits, with_crc
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

PATIENT = {"response_timeout": "10s", "request_timeout": "60s"}  # a held line is no timeout
HOLDING_UP = 99  # a unit id
READ, SEVEN = "03 0000 0001", "03 02 00 07"


# ---------------------------------------------------------------- answers that tell where and when


class Clock:
    """Counts the reads that the slaves of one line have answered."""

    reads = 0


class Dated:
    """Even registers hold unit and address, odd ones at which read of the line this answer was made.

    Of function codes it has only 3.
    """

    def __init__(self, unit: int, clock: Clock) -> None:
        self._unit, self._clock = unit, clock

    def answer(self, pdu: bytes, /) -> bytes:
        if pdu[0] != 3 or len(pdu) != 5:
            return bytes((pdu[0] | 0x80, 1))
        start, count = struct.unpack(">HH", pdu[1:])
        self._clock.reads += 1
        words = [
            (self._clock.reads if address % 2 else self._unit << 8 | address) & 0xFFFF
            for address in range(start, start + count)
        ]
        return struct.pack(f">BB{count}H", 3, 2 * count, *words)


class Reader(threading.Thread):
    """Reads of these units at random, so many times, and judges each answer.

    It is right, an exception, or wrong and why.
    """

    def __init__(self, port: int, clock: Clock, units: Sequence[int], requests: int, seed: int) -> None:
        super().__init__()
        self._port, self._clock, self._units, self._requests = port, clock, units, requests
        self._random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        with Scada(self._port) as scada:
            for _ in range(self._requests):
                unit, address = self._random.choice(self._units), self._random.randrange(64)
                count = self._random.choice((4, 4, 4, 2, 7))
                asked = self._clock.reads
                pdu = bytes.fromhex(scada.ask(unit, f"03 {address:04x} {count:04x}"))
                self.outcomes[self._judged(pdu, unit, range(address, address + count), asked)] += 1

    def _judged(self, pdu: bytes, unit: int, addresses: range, asked: int) -> str:
        if pdu[0] == 0x83:
            return f"exception {pdu[1]:02X}"
        if pdu[:2] != bytes((3, 2 * len(addresses))) or len(pdu) != 2 + pdu[1]:
            return f"wrong: {pdu.hex(' ')}"
        words = dict(zip(addresses, struct.unpack(f">{len(addresses)}H", pdu[2:]), strict=True))
        if any(words[address] != unit << 8 | address for address in addresses if not address % 2):
            return f"wrong: unit {unit} from {addresses[0]} on is not {pdu.hex(' ')}"
        dates = {words[address] for address in addresses if address % 2}
        if len(dates) != 1 or not 0 < (dates.pop() - asked) % 0x10000 <= self._clock.reads - asked:
            return f"wrong: made before it was asked for, at {asked}: {pdu.hex(' ')}"
        return "right"


def read_all(readers: list[Reader]) -> Counter[str]:
    """What came of all of them."""
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return sum((reader.outcomes for reader in readers), Counter())


# ---------------------------------------------------------------- a line that can be held up


@dataclass
class Plant:
    """A gateway with one line and one modbus-server link."""

    bus: Bus
    lines: Lines
    port: int  # TCP
    daemon: Daemon

    @property
    def meters(self) -> dict[str, object]:
        """The port's record."""
        return self.daemon.part("ports.meters")

    def sent(self, unit: int) -> list[str]:
        """The request PDUs to that unit which were on the wire, oldest first."""
        return [frame[1:-2].hex(" ") for frame in list(self.bus.seen) if frame[0] == unit]

    def waiting(self, count: int) -> None:
        """Until so many requests wait for the line."""
        eventually(lambda: self.meters["queue"] == count)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Nothing gets onto the line inside the block, whatever is asked."""
        before = len(self.sent(HOLDING_UP))
        with Scada(self.port) as scada:
            scada.request(HOLDING_UP, READ)
            eventually(lambda: len(self.sent(HOLDING_UP)) > before)
            yield
            answer = with_crc(bytes((HOLDING_UP,)) + bytes.fromhex(SEVEN))
            self.lines.call(lambda: self.bus.say(answer, time.monotonic()))
            assert scada.answer() is not None


@contextmanager
def plant(
    slaves: dict[int, Slave], *, fault: Fault | None = None, clients: int = 32, **keys: object
) -> Iterator[Plant]:
    """Without wire time. `keys` are the port's. In the end the daemon was well and has kept the rules."""
    bus = Bus(slaves, Wire(baudrate=0), fault=fault)
    port = free_port()
    config = modbus_port("meters", bus.tty, baudrate=115200, frame_gap="0s", **keys)
    config += modbus_server("scada", port, port="meters", max_clients=clients)
    with Lines(bus) as lines, Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        yield Plant(bus, lines, port, daemon)
        assert damaged(bus) == []
        assert "Traceback" not in daemon.log
        assert "internal error" not in daemon.log


def damaged(bus: Bus) -> list[str]:
    """What the daemon has sent that is no request.

    Two in one piece are two good ones: the line, which has no wire time, was busy when they came.
    """
    return [heard.hex(" ") for heard in bus.broken if not _whole(heard)]


def _whole(heard: bytes) -> bool:
    ends = [end for end in range(4, len(heard) + 1) if crc_fits(heard[:end])]
    return any(end == len(heard) or _whole(heard[end:]) for end in ends)


def meter(value: int = 7) -> Registers:
    return Registers(holding=dict.fromkeys(range(10), value))


class Clients:
    """`with Clients(port, 8) as clients:` so many connections; each asks and hears by itself."""

    def __init__(self, port: int, count: int) -> None:
        self.each = [Scada(port) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for scada in self.each:
            scada.__exit__()

    def answers(self) -> list[str]:
        """The next one of each."""
        heard = [scada.answer() for scada in self.each]
        return [answer.pdu.hex(" ") if answer else "closed" for answer in heard]
