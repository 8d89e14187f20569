"""The simulated lines that demo, bench and system tests stand on: foreign programs agree with them."""

import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import serial
from pymodbus.client import ModbusSerialClient
from pymodbus.framer import FramerRTU

from gateway.demo import bus as faults
from gateway.demo.bus import Bus, crc16, with_crc
from gateway.demo.line import Line, Lines, Wire
from gateway.demo.registers import Registers, float_words, words_float
from gateway.demo.scale import Scale, number_of

READ = with_crc(bytes.fromhex("0103 0000 0002"))
ANSWER = with_crc(bytes.fromhex("0103 04 0001 0002"))
UNANSWERED = with_crc(bytes.fromhex("0903 0000 0002"))
SLOW = Wire(baudrate=50)  # 3.5 characters are 0.77 s: no scheduler gets in the way


def unit() -> Registers:
    words = {address: address + 1 for address in range(200)}
    bits = {address: address % 3 == 0 for address in range(100)}
    return Registers(dict(bits), dict(bits), dict(words), dict(words))


@contextmanager
def opened(line: Line, timeout: float = 5.0) -> Iterator[serial.Serial]:
    with Lines(line), serial.Serial(line.tty, 115200, timeout=timeout) as port:
        yield port


def answered_once(*, strict: bool) -> Bus:
    """A bus whose last answer ended just now; the times before that are made up."""
    line = Bus({1: unit()}, SLOW, strict=strict)
    with serial.Serial(line.tty):
        line.tick(now=time.monotonic() - 180)
        line.heard(READ, now=time.monotonic() - 120)
        line.tick(now=time.monotonic() - 60)
    assert line.count.answers == 1
    return line


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


def test_a_foreign_client_reads_and_writes_all_tables() -> None:
    slave = unit()
    line = Bus({7: slave}, Wire(baudrate=0))
    with Lines(line), ModbusSerialClient(line.tty, baudrate=19200) as client:
        assert client.read_holding_registers(10, count=125, device_id=7).registers == list(range(11, 136))
        assert client.read_input_registers(0, count=2, device_id=7).registers == [1, 2]
        assert client.read_coils(0, count=10, device_id=7).bits[:10] == [n % 3 == 0 for n in range(10)]
        assert client.read_discrete_inputs(1, count=3, device_id=7).bits[:3] == [False, False, True]
        assert not client.write_register(5, 500, device_id=7).isError()
        assert not client.write_registers(6, [600, 700], device_id=7).isError()
        assert not client.write_coil(1, True, device_id=7).isError()
        assert not client.write_coils(3, [False] * 9 + [True], device_id=7).isError()
    assert [slave.holding[address] for address in (5, 6, 7, 8)] == [500, 600, 700, 9]
    assert [slave.coils[address] for address in (1, 3, 11, 12, 13)] == [True, False, False, True, False]
    assert slave.writes == 4
    assert (line.count.requests, line.count.answers, line.count.bad_crc) == (8, 8, 0)


@pytest.mark.parametrize(
    ("request_pdu", "code"),
    [
        ("2b 0e 01 00", 1),
        ("03 00c0 0010", 2),
        ("06 0200 0001", 2),
        ("10 00c7 0002 04 0001 0002", 2),
        ("03 0000 0000", 3),
        ("03 0000 007e", 3),
        ("01 0000 07d1", 3),
        ("05 0000 0001", 3),
        ("10 0000 0002 03 0001 00", 3),
        ("0f 0000 0009 01 ff", 3),
        ("03 0000", 3),
        ("10 00", 3),
    ],
)
def test_an_impossible_request_gets_the_exception_of_the_specification(request_pdu: str, code: int) -> None:
    pdu = bytes.fromhex(request_pdu)
    slave = unit()
    assert slave.answer(pdu) == bytes((pdu[0] | 0x80, code))
    assert slave.writes == 0


def test_the_crc_is_that_of_another_implementation() -> None:
    for length in range(1, 60):
        data = random.Random(length).randbytes(length)
        assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_floats_are_two_words_with_the_high_one_first() -> None:
    assert struct.pack(">HH", *float_words(230.5)) == struct.pack(">f", 230.5)
    assert words_float(*float_words(230.5)) == 230.5


def test_an_answer_comes_no_earlier_than_the_wire_allows() -> None:
    line = Bus({1: unit()}, Wire(baudrate=4800))
    with opened(line) as port:
        start = time.monotonic()
        port.write(READ)
        assert port.read(len(ANSWER)) == ANSWER
        took = time.monotonic() - start
    assert took >= (len(READ) + len(ANSWER)) * line.wire.character + line.wire.silence


def test_above_19200_baud_the_silence_does_not_shrink() -> None:
    assert Wire(baudrate=9600).silence == pytest.approx(3.5 * 11 / 9600)
    assert Wire(baudrate=115200).silence == Wire(baudrate=921600).silence == 0.00175
    assert Wire(baudrate=0).silence == 0


@pytest.mark.parametrize(("gap", "short"), [(0.0, 1), (0.9, 1), (1.1, 0)])
def test_the_gap_after_an_answer_counts_from_its_last_character(gap: float, short: int) -> None:
    line = answered_once(strict=False)
    line.heard(READ, now=time.monotonic() + gap * SLOW.silence)
    assert (line.count.requests, line.count.short_gaps) == (2, short)


def test_a_strict_slave_does_not_hear_a_request_inside_the_silence() -> None:
    line = answered_once(strict=True)
    line.heard(READ, now=time.monotonic())
    line.tick(now=time.monotonic() + 60)
    line.heard(READ, now=time.monotonic() + 120)
    assert (line.count.requests, line.count.short_gaps, line.count.bad_crc) == (2, 1, 0)


@pytest.mark.parametrize(("gap", "short"), [(0.99, 1), (1.01, 0)])
def test_the_gap_after_an_unanswered_request_counts_from_its_last_character(gap: float, short: int) -> None:
    line = Bus({}, SLOW)
    line.heard(UNANSWERED, now=10.0)
    line.heard(UNANSWERED, now=10.0 + len(UNANSWERED) * SLOW.character + gap * SLOW.silence)
    assert (line.count.requests, line.count.short_gaps) == (2, short)


@pytest.mark.parametrize(("pause", "counted"), [(0.9, 0), (1.1, 1)])
def test_a_pause_inside_a_request_is_counted(pause: float, counted: int) -> None:
    line = Bus({}, SLOW)
    line.heard(UNANSWERED[:4], now=10.0)
    line.heard(UNANSWERED[4:], now=10.0 + 4 * SLOW.character + pause * SLOW.pause)
    assert (line.count.requests, line.count.pauses) == (1, counted)


def test_bytes_while_a_request_still_travels_are_an_overlap() -> None:
    line = Bus({}, SLOW)
    line.heard(UNANSWERED, now=10.0)
    line.heard(UNANSWERED, now=10.0 + 7 * SLOW.character)
    assert (line.count.requests, line.count.overlaps) == (1, 1)


def test_a_request_with_a_bad_crc_is_counted_and_not_answered() -> None:
    line = Bus({1: unit()}, Wire(baudrate=0))
    with opened(line) as port:
        port.write(READ[:-1] + b"\0")
        until(lambda: line.count.bad_crc)
        port.write(READ)
        assert port.read(len(ANSWER)) == ANSWER
    assert (line.count.bad_crc, line.count.requests) == (1, 1)
    assert list(line.broken) == [READ[:-1] + b"\0"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.bad_crc, ANSWER[:-1] + bytes((ANSWER[-1] ^ 0xFF,))),
        (faults.garbage(b"\xff\x00"), b"\xff\x00" + ANSWER),
        (faults.cut(4), ANSWER[:4]),
        (faults.late(0.2), ANSWER),
        (faults.split(4, 0.1), ANSWER),
        (faults.only(2, faults.silent), ANSWER),
        (faults.sometimes(2, faults.silent), ANSWER),
    ],
)
def test_faults_spoil_an_answer_as_they_say(fault: faults.Fault, expected: bytes) -> None:
    line = Bus({1: unit()}, Wire(baudrate=0), fault=fault)
    with opened(line) as port:
        port.write(READ)
        assert port.read(len(expected)) == expected


def test_between_the_two_parts_of_a_split_answer_nothing_comes() -> None:
    line = Bus({1: unit()}, Wire(baudrate=0), fault=faults.split(4, 0.2))
    with opened(line) as port:
        start = time.monotonic()
        port.write(READ)
        assert port.read(4) == ANSWER[:4]
        assert port.read(len(ANSWER)) == ANSWER[4:]
        assert time.monotonic() - start >= 0.2
    assert line.count.answers == 1


def test_mixed_faults_come_as_often_as_they_say_and_the_same_ones_again() -> None:
    fault = faults.mixed(1, (0.1, faults.silent), (0.2, faults.late(1.0)))
    replies = [fault(READ, ANSWER) for _ in range(10_000)]
    shares = [sum(condition(reply) for reply in replies) / len(replies) for condition in (is_none, is_late)]
    assert shares == [pytest.approx(0.1, abs=0.02), pytest.approx(0.2, abs=0.02)]
    assert sum(reply == faults.Reply(ANSWER) for reply in replies) == pytest.approx(7000, abs=300)
    again = faults.mixed(1, (0.1, faults.silent), (0.2, faults.late(1.0)))
    assert [again(READ, ANSWER) for _ in replies] == replies


def is_none(reply: faults.Reply) -> bool:
    return not reply.data


def is_late(reply: faults.Reply) -> bool:
    return reply.delay == 1.0


def test_a_silent_fault_and_an_unknown_unit_answer_nothing() -> None:
    line = Bus({1: unit()}, Wire(baudrate=0), fault=faults.sometimes(1, faults.silent))
    with opened(line, timeout=0.3) as port:
        port.write(READ)
        assert port.read(1) == b""
        port.write(UNANSWERED)
        assert port.read(1) == b""
    assert list(line.seen) == [READ, UNANSWERED]


def test_a_broadcast_reaches_all_and_nobody_answers() -> None:
    slaves = {1: unit(), 2: unit()}
    line = Bus(slaves, Wire(baudrate=0))
    with opened(line, timeout=0.3) as port:
        port.write(with_crc(bytes.fromhex("0006 0003 0063")))
        assert port.read(1) == b""
    assert [slave.holding[3] for slave in slaves.values()] == [99, 99]


def test_a_late_answer_does_not_hold_up_the_next_one() -> None:
    line = Bus({1: unit(), 2: unit()}, Wire(baudrate=0), fault=faults.only(1, faults.late(0.5)))
    other = with_crc(bytes.fromhex("0203 0000 0002"))
    with opened(line) as port:
        port.write(READ)
        until(lambda: line.count.requests)
        port.write(other)
        assert port.read(len(ANSWER))[0] == 2
        assert port.read(len(ANSWER)) == ANSWER


def test_an_unplugged_line_hangs_up_and_comes_back_behind_the_same_link(tmp_path: Path) -> None:
    line = Scale(0.01, Wire(baudrate=0), link=tmp_path / "scale")
    with Lines(line) as lines:
        before = os.path.realpath(line.tty)
        with serial.Serial(line.tty, timeout=5) as port:
            assert port.read(1)
            lines.call(line.unplug)
            assert not Path(line.tty).exists()
            with pytest.raises(serial.SerialException):
                port.read(65536)
        taken, free = os.openpty()  # so that the number of the old one is not free any more
        lines.call(line.plug)
        assert os.path.realpath(line.tty) != before
        with serial.Serial(line.tty, timeout=5) as port:
            assert port.read(1)
        os.close(taken)
        os.close(free)


def test_after_one_user_the_next_may_open_it_exclusively() -> None:
    line = Scale(0.01, Wire(baudrate=0))
    with Lines(line):
        for _ in range(2):
            with serial.Serial(line.tty, timeout=5, exclusive=True) as port:
                assert port.read(1)


def test_a_scale_numbers_its_lines_and_obeys_tare() -> None:
    line = Scale(0.01, Wire(baudrate=0))
    with opened(line) as port:
        port.readline()
        numbers = [number_of(port.readline()) for _ in range(5)]
        port.write(b"T\r\nQ\r\n")
        printed = [port.readline() for _ in range(20)]
    assert all(after == (before or 0) + 1 for before, after in pairwise(numbers))
    assert printed.index(b"OK,T\r\n") < printed.index(b"ES\r\n")
    assert (line.tared, line.commands) == (1, [b"T", b"Q"])


def test_what_a_call_raises_inside_the_loop_reaches_the_caller() -> None:
    line = Bus({})
    with Lines(line) as lines, pytest.raises(ZeroDivisionError):
        lines.call(lambda: 1 / 0)
