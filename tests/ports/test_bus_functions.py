"""Every function code on the bus: where its answer ends, and what never reaches the wire."""

import asyncio

import pytest
from bus_kit import (
    CHARACTER,
    SCADA,
    SOON,
    TURNAROUND,
    Coming,
    Rig,
    Script,
    spoiled,
)
from virtual import in_virtual_time

from gateway.contracts import Request
from gateway.demo.bus import with_crc
from gateway.errors import BadRequest, GatewayError, NoAnswer, Refused


def only(frame: bytes) -> Script:
    return lambda request: [Coming(TURNAROUND, frame)]


IDENTIFICATION = b"\x2b\x0e\x01\x01\x00\x00\x02\x00\x03abc\x01\x02de"
BY_LENGTH = (
    (b"\x01\x00\x00\x00\x09", b"\x01\x02\xff\x01"),
    (b"\x02\x00\x00\x00\x01", b"\x02\x01\x01"),
    (b"\x03\x00\x00\x00\x7d", b"\x03\xfa" + bytes(250)),
    (b"\x04\x00\x00\x00\x01", b"\x04\x02\x12\x34"),
    (b"\x05\x00\x07\xff\x00", b"\x05\x00\x07\xff\x00"),
    (b"\x06\x00\x07\x12\x34", b"\x06\x00\x07\x12\x34"),
    (b"\x07", b"\x07\x6d"),
    (b"\x08\x00\x00\xa5\x37", b"\x08\x00\x00\xa5\x37"),
    (b"\x08\x00\x00" + bytes(20), b"\x08\x00\x00" + bytes(20)),
    (b"\x0b", b"\x0b\xff\xff\x01\x08"),
    (b"\x0c", b"\x0c\x08\x00\x00\x01\x08\x01\x21\x20\x00"),
    (b"\x0f\x00\x13\x00\x0a\x02\xcd\x01", b"\x0f\x00\x13\x00\x0a"),
    (b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02", b"\x10\x00\x01\x00\x02"),
    (b"\x11", b"\x11\x03\x07\xff\x31"),
    (b"\x14\x07\x06\x00\x04\x00\x01\x00\x02", b"\x14\x06\x05\x06\x0d\xfe\x00\x20"),
    (b"\x15\x09\x06\x00\x04\x00\x07\x00\x01\x06\xaf", b"\x15\x09\x06\x00\x04\x00\x07\x00\x01\x06\xaf"),
    (b"\x16\x00\x04\x00\xf2\x00\x25", b"\x16\x00\x04\x00\xf2\x00\x25"),
    (b"\x17\x00\x03\x00\x02\x00\x0e\x00\x01\x02\x00\xff", b"\x17\x04\x00\xfe\x0a\xcd"),
    (b"\x18\x04\xde", b"\x18\x00\x06\x00\x02\x01\xb8\x12\x84"),
    (b"\x2b\x0e\x01\x00", IDENTIFICATION),
)
BY_SILENCE = (
    (b"\x41\x01\x02", b"\x41\x09\x08\x07\x06\x05"),
    (b"\x64", b"\x64"),
    (b"\x64\x00", b"\x64" + bytes(range(250))),
    (b"\x2b\x0d\x01\x02", b"\x2b\x0d\x05\x06\x07"),
)
EXCEPTIONS = tuple((request, bytes((request[0] | 0x80, 4))) for request, _ in BY_LENGTH + BY_SILENCE)
QUIET = 0.05  # seconds that end an answer of unknown length


def code(value: object) -> str:
    return value[:2].hex(" ") if isinstance(value, bytes) else str(value)


def framed(pdu: bytes) -> bytes:
    return with_crc(b"\x11" + pdu)


def ends(rig: Rig, answer: bytes) -> float:
    """When the last character of the answer to the first request has come."""
    sent = rig.line.sent[0]
    return sent.at + (len(sent.frame) + len(framed(answer))) * CHARACTER + TURNAROUND


@pytest.mark.parametrize(("request_", "answer"), BY_LENGTH + EXCEPTIONS, ids=code)
@in_virtual_time
async def test_the_answer_of_a_known_function_ends_by_its_length(request_: bytes, answer: bytes) -> None:
    with Rig(only(framed(answer))) as rig:
        assert await rig.outcome(Request(0x11, request_, SCADA)) == answer
        assert asyncio.get_running_loop().time() == pytest.approx(ends(rig, answer), abs=SOON)


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("noise", [b"", b"\x00\x55"], ids=["clean", "after noise"])
@pytest.mark.parametrize(("request_", "answer"), BY_SILENCE, ids=code)
@in_virtual_time
async def test_the_answer_of_an_unknown_function_ends_by_silence_and_crc(
    request_: bytes, answer: bytes, noise: bytes, chunk: int
) -> None:
    with Rig(only(noise + framed(answer)), chunk=chunk) as rig:
        assert await rig.outcome(Request(0x11, request_, SCADA)) == answer
        assert asyncio.get_running_loop().time() == pytest.approx(ends(rig, noise + answer) + QUIET, abs=SOON)
        assert rig.errors == {}


@pytest.mark.parametrize(("request_", "answer"), BY_SILENCE, ids=code)
@in_virtual_time
async def test_a_function_that_nobody_knows_may_write_and_is_never_sent_twice(
    request_: bytes, answer: bytes
) -> None:
    with Rig(only(spoiled(framed(answer)))) as rig:
        assert await rig.outcome(Request(0x11, request_, SCADA)) is NoAnswer
        assert len(rig.line.sent) == 1


@pytest.mark.parametrize(
    ("pdu", "error"),
    [
        (b"\x00", Refused),
        (b"\x80\x00", Refused),
        (b"\xff\x00\x00\x00\x01", Refused),
        (b"\x03", BadRequest),
        (b"\x03\x00\x00\x00\x00", BadRequest),
        (b"\x03\x00\x00\x00\x7e", BadRequest),
        (b"\x03\x00\x00\x00\x01\x00", BadRequest),
        (b"\x01\x00\x00\x07\xd1", BadRequest),
        (b"\x05\x00\x01\xff", BadRequest),
        (b"\x06\x00\x01\x00\x01\x00", BadRequest),
        (b"\x0f\x00\x00\x00\x09\x01\xff", BadRequest),
        (b"\x10\x00\x01\x00\x00\x00", BadRequest),
        (b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01", BadRequest),
        (b"\x16\x00\x04\x00\xf2\x00", BadRequest),
        (b"\x17\x00\x03\x00\x02\x00\x0e\x00\x01\x02\x00", BadRequest),
    ],
    ids=code,
)
@in_virtual_time
async def test_a_request_that_cannot_be_one_never_reaches_the_wire(
    pdu: bytes, error: type[GatewayError]
) -> None:
    with Rig() as rig:
        assert await rig.outcome(Request(1, pdu, SCADA)) is error
        assert rig.line.sent == []
