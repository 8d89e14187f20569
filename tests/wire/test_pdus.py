"""The words for any PDU, and what pymodbus does for them."""

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu.bit_message import ReadCoilsResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse

from gateway.wire.pdus import describe


@pytest.mark.parametrize(
    ("pdu", "answer", "words"),
    [
        ("03 0000 000a", False, "read holding 0..9"),
        ("03 04 00e6 0000", True, "2 registers: 230 0"),
        ("04 02 0001", True, "1 register: 1"),
        ("04 1a" + "0001" * 13, True, "13 registers: 1 1 1 1 1 1 1 1 1 1 1 1 ..."),
        ("01 0003 0001", False, "read coil 3"),
        ("01 01 05", True, "8 bits: 1 0 1 0 0 0 0 0"),
        ("02 0000 0010", False, "read discrete_input 0..15"),
        ("05 0003 ff00", False, "write coil 3 = on"),
        ("05 0003 0000", True, "wrote coil 3 = off"),
        ("06 000a 0007", False, "write holding 10 = 7"),
        ("06 000a 0007", True, "wrote holding 10 = 7"),
        ("0f 0000 0003 01 05", False, "write coil 0..2 = 1 0 1"),
        ("0f 0000 0003", True, "wrote coil 0..2"),
        ("10 0000 0002 04 0005 0006", False, "write holding 0..1 = 5 6"),
        ("10 0000 0002", True, "wrote holding 0..1"),
        ("16 0004 00f2 0025", False, "mask holding 4 and 0x00F2 or 0x0025"),
        ("16 0004 00f2 0025", True, "masked holding 4 and 0x00F2 or 0x0025"),
        ("17 0000 0002 0007 0001 02 0005", False, "write holding 7 = 5, read holding 0..1"),
        ("17 02 0005", True, "1 register: 5"),
        ("2b 0e 01 00", False, "device identification"),
        ("83 02", True, "exception 02 illegal data address"),
        ("c1 0b", True, "exception 0B gateway target did not respond"),
        ("83 77", True, "exception 77"),
        ("83", True, "exception without a code"),
        ("41 01 02", False, "function 0x41"),
        ("83 02", False, "function 0x83"),
        ("03 0000", False, "function 0x03, malformed"),
        ("03 0000 0000", False, "function 0x03, malformed"),
        ("03 08 0001", True, "function 0x03, malformed"),
        ("", True, "empty"),
    ],
)
def test_a_pdu_says(pdu: str, answer: bool, words: str) -> None:
    assert describe(bytes.fromhex(pdu), answer) == words


@given(st.binary(max_size=253), st.booleans())
def test_any_bytes_can_be_described(pdu: bytes, answer: bool) -> None:
    assert 0 < len(describe(pdu, answer)) < 150


@given(st.integers(1, 24), st.binary(max_size=40), st.booleans())
def test_any_bytes_behind_a_known_function_can_be_described(function: int, data: bytes, answer: bool) -> None:
    assert 0 < len(describe(bytes((function,)) + data, answer)) < 150


def test_nothing_is_logged_about_garbage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    describe(b"\x41\x00", answer=False)
    describe(b"\x03\x08\x00", answer=True)

    assert caplog.records == []


def test_pymodbus_encodes_and_decodes_pdus_without_their_function_code() -> None:
    request = ReadHoldingRegistersRequest(address=1, count=2)
    answer, coils = ReadHoldingRegistersResponse(), ReadCoilsResponse()
    answer.decode(b"\x04\x00\x01\x00\x02")
    coils.decode(b"\x01\x05")

    assert (request.function_code, request.encode()) == (3, b"\x00\x01\x00\x02")
    assert list(answer.registers) == [1, 2]
    assert list(coils.bits) == [True, False, True, False, False, False, False, False]


def test_importing_the_vocabulary_brings_no_client_server_or_web_framework() -> None:
    script = "import sys, gateway.wire.pdus; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    heavy = {"pymodbus.client", "pymodbus.server", "pymodbus.transport", "aiohttp", "serial"}
    assert not heavy & set(loaded.split())
