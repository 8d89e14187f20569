"""mode = "modbus-ascii": a bus in virtual time for what may go wrong, a pty for what really travels.

A pty refuses 7E1, so its lines are 8N1.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from ascii_kit import Chillers, frame, octets
from bus_kit import CHARACTER, TURNAROUND, Coming, Rig, Script, in_turn, outcome, read, silent, values, write
from conftest import Until
from parts_kit import Wires, running
from pydantic import ValidationError
from virtual import in_virtual_time

from gateway.contracts import Request, Traced, Transactor
from gateway.demo.bus import with_crc
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.errors import Garbled, GatewayError, LineDown, NoAnswer
from gateway.ports.modbus_ascii import Config
from gateway.wire import ascii as framing

ASK, SET = read(1, 0, 2), write(1, 5, 7)
RIGHT = values(ASK)
STOPPED = 0.2  # seconds of silence that break an answer off


def config(tty: str = "/dev/ttyUSB0", **keys: Any) -> Config:
    table = {"mode": "modbus-ascii", "tty": tty, "baudrate": 19200, "format": "8N1"}
    return Config.model_validate(table | keys)


def client(tty: str, **keys: Any) -> Any:
    return config(tty, **keys).build("chillers", Wires())


def rig(script: Script, chunk: int = 1, **rules: Any) -> Rig:
    rules = {"gap": CHARACTER, "quiet": STOPPED} | rules
    return Rig(script, chunk=chunk, framing=framing, **rules)


# What a device says, in virtual time


def good(request: bytes) -> bytes:
    """The right answer, by the registers that those of `bus_kit` have."""
    asked = octets(request)
    return frame(asked[:1] + values(Request(asked[0], asked[1:], ASK.asker)))


def answering(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request))]


def before(noise: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, noise + good(request))]


def only(said: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, said)]


def lower(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request).lower())]


def wrong_lrc(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request)[:-4] + b"00\r\n")]


def anew(request: bytes) -> list[Coming]:
    """It begins, thinks again, and begins from the start."""
    return [Coming(TURNAROUND, good(request)[:-5]), Coming(STOPPED / 2, good(request))]


def slow(request: bytes) -> list[Coming]:
    """As long a pause between any two characters as response_timeout has room for."""
    return [Coming(0.03, bytes((character,))) for character in good(request)]


def cut(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request)[:-5])]


def torn(request: bytes) -> list[Coming]:
    """The second half comes after too long a pause: it is not believed."""
    return [Coming(TURNAROUND, good(request)[:9]), Coming(STOPPED * 1.5, good(request)[9:])]


@dataclass(frozen=True)
class Case:
    name: str
    script: Script | tuple[Script, ...]  # for all requests, or one for each
    request: Request = ASK
    outcome: bytes | type[GatewayError] = RIGHT
    sent: int = 1
    errors: dict[str, int] = field(default_factory=dict)

    def play(self) -> Script:
        return in_turn(*self.script) if isinstance(self.script, tuple) else self.script

    def __str__(self) -> str:
        return self.name


OF_UNIT_2 = frame(b"\x02" + values(read(2, 0, 2)))
OF_FUNCTION_4 = frame(b"\x01\x04\x04\x00\x01\x00\x02")
ITSELF = frame(b"\x01" + ASK.pdu)

CASES = (
    Case("a good answer", answering),
    Case("a good answer in lower case", lower),
    Case("a good answer with pauses in it", slow),
    Case("the echo of a write", answering, SET, SET.pdu),
    Case("an exception", only(frame(b"\x01\x83\x02")), outcome=b"\x83\x02", errors={"exceptions": 1}),
    Case("noise before the answer", before(b"\x00\xff\r\n5A")),
    Case("the beginning of an answer before the answer", before(b":0103")),
    Case("an answer that begins anew", anew),
    Case("much noise before the answer", before(b":" + b"5" * 600)),
    Case("another unit's answer before ours", before(OF_UNIT_2), errors={"foreign": 1}),
    Case("another function's answer before ours", before(OF_FUNCTION_4), errors={"foreign": 1}),
    Case(
        "nothing but another unit's answer",
        only(OF_UNIT_2),
        outcome=NoAnswer,
        errors={"foreign": 1, "timeout": 1},
    ),
    Case("our own request given back before the answer", before(ITSELF), errors={"echo": 1}),
    Case("a read with a wrong LRC, then a good one", (wrong_lrc, answering), sent=2, errors={"crc": 1}),
    Case("a read with a wrong LRC twice", wrong_lrc, outcome=Garbled, sent=2, errors={"crc": 2}),
    Case("a write whose echo has a wrong LRC", wrong_lrc, SET, Garbled, errors={"crc": 1}),
    Case("a read cut short, then whole", (cut, answering), sent=2, errors={"short": 1}),
    Case("a write whose echo is cut short", cut, SET, Garbled, errors={"short": 1}),
    Case("an answer with too long a pause, then whole", (torn, answering), sent=2, errors={"short": 1}),
    Case("an RTU device", only(with_crc(b"\x01" + RIGHT)), outcome=Garbled, errors={"short": 1}),
    Case("silence", silent, outcome=NoAnswer, errors={"timeout": 1}),
)


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000], ids=lambda chunk: f"{chunk} at a time")
@pytest.mark.parametrize("case", CASES, ids=str)
@in_virtual_time
async def test_a_request_has_the_right_outcome_and_its_trouble_is_counted(case: Case, chunk: int) -> None:
    with rig(case.play(), chunk) as bus:
        assert await bus.outcome(case.request) == case.outcome
        assert len(bus.line.sent) == case.sent
        assert bus.errors == case.errors


@in_virtual_time
async def test_an_answer_that_stops_is_known_after_the_silence_that_breaks_it_off() -> None:
    loop = asyncio.get_running_loop()
    with rig(cut, retries=0) as bus:
        began = loop.time()
        assert await bus.outcome(ASK) is Garbled

        travelled = (len(ITSELF) + len(good(ITSELF)) - 5) * CHARACTER + TURNAROUND
        assert loop.time() - began == pytest.approx(travelled + STOPPED, abs=10 * CHARACTER)


@in_virtual_time
async def test_the_rest_of_an_answer_that_was_broken_off_is_never_the_next_ones() -> None:
    with rig(in_turn(torn, answering), retries=0) as bus:
        first, second = bus.ask(ASK), bus.ask(read(1, 7, 2))
        assert await outcome(first) is Garbled
        assert await second == values(read(1, 7, 2))
        assert bus.line.collisions == 0


@in_virtual_time
async def test_the_late_answer_to_one_is_never_the_next_ones() -> None:
    def late(request: bytes) -> list[Coming]:
        return [Coming(1.3, good(request))]

    with rig(in_turn(late, answering)) as bus:
        first, second = bus.ask(ASK), bus.ask(read(1, 7, 2))
        assert await outcome(first) is NoAnswer
        assert await second == values(read(1, 7, 2))
        assert bus.errors == {"timeout": 1, "late": 1}


@in_virtual_time
async def test_an_answer_that_takes_long_is_read_in_a_few_pieces() -> None:
    many = read(1, 0, 100)
    with rig(answering) as bus, bus.trace.tap() as tap:
        assert await bus.outcome(many) == values(many)
        pieces = [line for line in await tap.take() if line.way == "rx" and line.data]
    assert len(b"".join(line.data for line in pieces)) == 2 * 204 + 3
    assert len(pieces) <= 20


@in_virtual_time
async def test_the_trace_shows_the_frames_and_what_they_mean() -> None:
    with rig(answering, chunk=1000) as bus, bus.trace.tap() as tap:
        await bus.outcome(SET)
        lines: list[Traced] = await tap.take()
    said = frame(b"\x01" + SET.pdu)
    assert [(line.way, line.data) for line in lines] == [("tx", said), ("rx", said), ("rx", b"")]
    assert lines[0].text == "unit 1: write holding 5 = 7"


# On a pty


def slaves(*units: int) -> dict[int, Registers]:
    """Each holding register holds 256 * unit + its own address, as those of `bus_kit` do."""
    return {unit: Registers(holding={n: 256 * unit + n for n in range(200)}) for unit in units}


async def test_registers_are_read_and_written_through_a_real_tty(until: Until) -> None:
    line = Chillers(slaves(1, 2))
    port = client(line.tty)
    assert isinstance(port, Transactor)
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            requests = [read(1 + n % 2, n, 1 + n % 10) for n in range(16)]
            answers = await asyncio.gather(*(port.ask(request) for request in requests))
            assert answers == [values(request) for request in requests]
            assert await port.ask(write(1, 7, 0x1234)) == write(1, 7, 0x1234).pdu
            assert await port.ask(read(1, 7, 1)) == b"\x03\x02\x12\x34"
            assert await port.ask(read(1, 250, 1)) == b"\x83\x02"
    assert len(line.asked) == 19


async def test_the_longest_answer_comes_through_at_the_speed_of_a_wire(until: Until) -> None:
    line = Chillers(slaves(1), Wire(baudrate=38400, bits=10))
    port = client(line.tty, baudrate=38400)
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            assert await port.ask(read(1, 0, 125)) == values(read(1, 0, 125))
            record = port.status()
    assert (record["tx_bytes"], record["rx_bytes"]) == (17, 2 * 254 + 3)


async def test_what_a_bad_line_does_to_answers_never_makes_a_wrong_value(until: Until) -> None:
    line = Chillers(slaves(1))
    port = client(
        line.tty,
        response_timeout="50ms",
        late_answer_guard="10ms",
        retries=0,
        skip_silent=False,
        baudrate=115200,
    )
    faults = {
        bytes.lower: values(ASK),
        (lambda answer: b"\x00:01\r\n" + answer): values(ASK),
        (lambda answer: answer[:7] + answer): values(ASK),
        (lambda answer: answer[:-6] + answer[-5:]): Garbled,
        (lambda answer: answer[:-6]): Garbled,
        (lambda answer: b""): NoAnswer,
        bytes: values(ASK),
    }
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            for line.fault, expected in faults.items():
                for _ in range(3):
                    assert await outcome(port.ask(ASK)) == expected


async def test_the_status_tells_mode_line_frames_and_units(until: Until) -> None:
    line = Chillers(slaves(1))
    port = client(line.tty)
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            await port.ask(ASK)
            line.fault = lambda answer: answer[:-3] + b"?\r\n"
            await outcome(port.ask(SET))
            record = port.status()
    assert (record["mode"], record["role"], record["line"]) == ("modbus-ascii", "client", "19200 8N1")
    assert (record["tx_frames"], record["rx_frames"], record["errors"]["crc"]) == (2, 1, 1)
    assert record["units"]["1"]["answers"] == 1


async def test_a_port_that_is_stopped_leaves_nobody_without_an_outcome(until: Until) -> None:
    line = Chillers({})
    port = client(line.tty)
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            asked = [port.ask(read(1, address, 1)) for address in range(3)]
            await until(lambda: line.asked)
        assert [type(answer.exception()) for answer in asked] == [LineDown] * 3


# The config


def test_the_rules_of_the_bus_are_the_keys_of_the_table() -> None:
    rules = config(retries=3, queue=4, character_timeout="200ms", format="7E1").rules
    assert (rules.retries, rules.queue, rules.quiet) == (3, 4, 0.2)
    assert rules.character == rules.gap == pytest.approx(10 / 19200)
    assert config().rules.quiet == 1.0


@pytest.mark.parametrize(("role", "called"), [("master", "client"), ("slave", "server")])
def test_who_writes_master_or_slave_is_told_what_it_is_called_here(role: str, called: str) -> None:
    with pytest.raises(ValidationError, match=f'is called "{called}" here'):
        config(role=role)


def test_there_is_no_frame_gap() -> None:
    with pytest.raises(ValidationError, match="frame_gap"):
        config(frame_gap="5ms")
