"""A serial master asks the real daemon: a foreign TCP server answers for unit 1, another line for unit 2,
unit 3 is a device on the master's own line, and unit 4 is nobody.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from ascii_kit import frame as ascii_frame
from system_kit import PATIENCE, Daemon, eventually, modbus_port, table
from upstream_kit import Upstream

from gateway.demo.bus import Bus, Reply, silent, with_crc
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Line, Lines, Wire
from gateway.demo.registers import Registers

pytest.importorskip("pymodbus")
READ = bytes.fromhex("03 0005 0001")
WITHIN = 1.0  # seconds that the master waits for an answer
SAID_BY_3 = b"\x03\x02\x03\x03"
Framing = Callable[[int, bytes], bytes]


def rtu(unit: int, pdu: bytes) -> bytes:
    return with_crc(bytes((unit,)) + pdu)


def ascii_(unit: int, pdu: bytes) -> bytes:
    return ascii_frame(bytes((unit,)) + pdu)


class Master(Line):
    """Asks, and plays the device that is unit 3."""

    def __init__(self, framing: Framing) -> None:
        super().__init__(Wire(baudrate=0))
        self.framing = framing
        self._said = b""
        self._come = threading.Event()

    def heard(self, data: bytes, now: float) -> None:
        self._said += data
        self._come.set()

    def hears(self, lines: Lines, words: bytes, expected: int = 0, patience: float = WITHIN) -> bytes:
        """What is said to `words`, as soon as so much was said, or nothing for as long as that."""
        self._said = b""
        lines.call(lambda: self.say(words, 0.0))
        while self._come.wait(patience) and not 0 < expected <= len(self._said):
            self._come.clear()
        self._come.clear()
        return self._said


@dataclass
class Plant:
    master: Master
    lines: Lines
    meters: Bus
    upstream: Upstream
    daemon: Daemon
    config: str

    def asks(self, unit: int, expected: bytes, pdu: bytes = READ) -> None:
        framing = self.master.framing
        answer = framing(unit, expected) if expected else b""
        patience = PATIENCE if answer else WITHIN
        assert self.master.hears(self.lines, framing(unit, pdu), len(answer), patience) == answer

    def comes_to(self, unit: int, expected: bytes, pdu: bytes = READ) -> None:
        framing = self.master.framing
        answer = framing(unit, expected)
        eventually(lambda: self.master.hears(self.lines, framing(unit, pdu), len(answer)) == answer)

    def reload(self, old: str, new: str) -> None:
        assert old in self.config
        self.daemon.file.write_text(self.config.replace(old, new))
        self.daemon.reload_by_signal()
        self.daemon.comes_to("ports.panel", "open")


@pytest.fixture(scope="module", params=["modbus-rtu", "modbus-ascii"])
def made(request: pytest.FixtureRequest) -> Iterator[Plant]:
    master = Master(rtu if request.param == "modbus-rtu" else ascii_)
    meters = Bus({2: Registers(holding={5: 2222})}, Wire(baudrate=0))
    upstream = Upstream(free_port())
    panel = {"mode": request.param, "role": "server", "format": "8N1", "answer_within": "700ms"}
    config = (
        modbus_port("panel", master.tty, **panel)
        + table("ports.panel.units", **{"2": "meters"})
        + modbus_port("meters", meters.tty, response_timeout="200ms", skip_silent=False, frame_gap="0s")
        + table(
            "links.plc",
            kind="modbus-client",
            connect=f"127.0.0.1:{upstream.tcp_port}",
            port="panel",
            reconnect={"first": "100ms", "max": "200ms"},
            liveness={"detect_within": "3s"},
        )
        + table("links.plc.units", **{"1": {}})
    )
    lines = Lines(master, meters)
    with lines, upstream, Daemon(config) as daemon:
        yield Plant(master, lines, meters, upstream, daemon, config)


@pytest.fixture
def plant(made: Plant) -> Plant:
    """With nothing away, and the config as it was in the beginning."""
    made.meters.fault = None
    made.upstream.stop()
    made.upstream.start()  # with all its registers 0
    made.reload("700ms", "700ms")
    for part, state in (("links.plc", "up"), ("ports.meters", "open")):
        made.daemon.comes_to(part, state)
    made.comes_to(2, holds(2222))  # the line has fallen silent since it was opened
    made.comes_to(1, holds(0))
    return made


def holds(value: int) -> bytes:
    return b"\x03\x02" + value.to_bytes(2, "big")


def test_each_unit_is_answered_by_whoever_stands_for_it_and_the_others_are_left_alone(plant: Plant) -> None:
    write = bytes.fromhex("06 0005 0457")
    plant.asks(1, write, write)
    for _ in range(2):
        plant.asks(1, holds(0x457))
        plant.asks(2, holds(2222))
        for unit, said in ((3, SAID_BY_3), (4, b"")):
            words = plant.master.framing(unit, READ)
            assert plant.master.hears(plant.lines, words) == b""
            if said:
                assert plant.master.hears(plant.lines, plant.master.framing(unit, said)) == b""
    assert [tuple(taken) for taken in plant.upstream.taken][-1][1:] == (5, (0x457,))
    record = plant.daemon.part("ports.panel")
    assert (record["state"], record["role"], sorted(record["units"])) == ("open", "server", ["1", "2"])
    assert record["units"]["1"]["state"] == "ok"


def test_a_far_end_that_is_away_is_an_exception_or_silence_and_is_back_by_itself(plant: Plant) -> None:
    plant.asks(1, holds(0))
    plant.upstream.stop()
    try:
        plant.comes_to(1, b"\x83\x0a")
        plant.asks(2, holds(2222))
        plant.reload('answer_within = "700ms"', 'answer_within = "700ms"\nwhen_away = "silence"')
        plant.comes_to(2, holds(2222))
        plant.asks(1, b"")
    finally:
        plant.upstream.start()
    plant.comes_to(1, holds(0))
    assert plant.daemon.part("links.plc")["deaths"] >= 1


def test_a_device_that_does_not_answer_is_0b_and_a_line_that_is_away_is_0a(plant: Plant) -> None:
    plant.meters.fault = silent
    plant.asks(2, b"\x83\x0b")
    plant.meters.fault = None
    plant.comes_to(2, holds(2222))  # its late_answer_guard is longer than our master waits
    plant.reload('response_timeout = "200ms"', 'response_timeout = "2s"')
    plant.comes_to(2, holds(2222))
    plant.meters.fault = silent
    plant.asks(2, b"\x83\x0b")  # after 700 ms: nobody waits for longer
    plant.meters.fault = lambda request, answer: Reply(answer)
    plant.daemon.file.write_text(plant.config.replace(plant.meters.tty, "/dev/no-such-tty"))
    plant.daemon.reload_by_signal()
    plant.daemon.comes_to("ports.meters", "waiting")
    plant.comes_to(2, b"\x83\x0a")


def test_units_that_are_nobodys_any_more_are_left_alone(plant: Plant) -> None:
    plant.asks(1, holds(0))
    plant.reload("units]\n1 = {  }", "units]\n9 = { unit_id = 1 }")
    plant.comes_to(9, holds(0))
    plant.asks(1, b"")
    plant.asks(2, holds(2222))
    plant.reload('[ports.panel.units]\n2 = "meters"\n', "")
    plant.comes_to(1, holds(0))
    plant.asks(2, b"")


def test_the_trace_shows_what_the_master_asks_and_gets(plant: Plant) -> None:
    with plant.daemon.trace("panel") as seen:
        eventually(lambda: plant.daemon.part("ports.panel")["state"] == "open")

        def told() -> bool:
            plant.asks(2, holds(2222))
            plant.asks(4, b"")
            text = seen()
            return all(
                words in text
                for words in (
                    "unit 2: read holding 5",
                    "unit 2: 1 register: 2222",
                    "unit 4: read holding 5, left",
                )
            )

        eventually(told)


def test_the_status_and_the_check_know_the_line(plant: Plant) -> None:
    plant.asks(2, holds(2222))
    assert "we are the server" in plant.daemon.ctl("status", "panel").stdout
    refused = plant.daemon.ctl("check", str(plant.daemon.file))
    assert refused.returncode == 0, refused.stdout
