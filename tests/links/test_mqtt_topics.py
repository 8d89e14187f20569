"""What a record becomes on its way to a broker: topic, payload, and what the clock had to say."""

import json

import pytest

from gateway.buffer import Record
from gateway.links._topics import Topics

BYTES, JSON = Topics("gw", "bytes", retain=False), Topics("gw", "json", retain=True)
AT = 1_800_000_000.25  # wall time
FRAME = Record(9, "port/scale", 1041, AT, True, b"12 kg")
SAMPLE = Record(10, "device/meter", 7, AT, True, b'{"values":{"u":230.1},"errors":{}}')
TS = "2027-01-15T08:00:00.250Z"


def test_a_frame_as_bytes_has_time_and_number_beside_it() -> None:
    sent = BYTES.of(FRAME)
    assert (sent.topic, sent.payload, sent.retain) == ("gw/port/scale/rx", b"12 kg", False)
    assert sent.properties == (("seq", "1041"), ("ts", TS))


def test_a_frame_as_json_has_them_inside_and_is_never_retained() -> None:
    sent = JSON.of(FRAME)
    assert json.loads(sent.payload) == {"ts": TS, "seq": 1041, "text": "12 kg"}
    assert (sent.properties, sent.retain) == ((), False)


def test_a_sample_has_them_in_front() -> None:
    sent = JSON.of(SAMPLE)
    assert (sent.topic, sent.retain) == ("gw/device/meter/state", True)
    assert sent.payload == b'{"ts":"%s","seq":7,"values":{"u":230.1},"errors":{}}' % TS.encode()


@pytest.mark.parametrize("at", [AT, 3.5], ids=["later", "1970"])
def test_a_time_that_cannot_be_trusted_is_marked_wherever_it_stands(at: float) -> None:
    frame, sample = (record._replace(at=at, clock_set=False) for record in (FRAME, SAMPLE))
    assert BYTES.of(frame).properties[2:] == (("clock", "unset"),)
    for sent in (JSON.of(frame), JSON.of(sample), BYTES.of(sample)):
        assert json.loads(sent.payload)["clock"] == "unset"
        assert sent.properties == ()


def test_a_time_that_is_old_is_not_marked_for_that() -> None:
    assert b"clock" not in JSON.of(FRAME._replace(at=3.5)).payload
