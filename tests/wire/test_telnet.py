"""Telnet: bytes of the wire become data, commands and suboptions, however the wire cuts them."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.telnet import (
    IAC,
    LONGEST,
    NOP,
    Agreed,
    Command,
    Event,
    Option,
    Suboption,
    Telnet,
    Verb,
    escaped,
    suboption,
)

WILL_BINARY = bytes((IAC, Verb.WILL, Option.BINARY))
WILL_COM_PORT = bytes((IAC, Verb.WILL, Option.COM_PORT))


def telnet(*, com_port: bool = True, binary: bool = True) -> Telnet:
    """Whose opening is said; the peer has agreed to BINARY."""
    machine = Telnet(com_port=com_port)
    machine.answer()
    if binary:
        assert list(machine.feed(WILL_BINARY)) == [Agreed(Option.BINARY)]
    return machine


def heard(machine: Telnet, pieces: Iterable[bytes]) -> list[Event]:
    """With data in one piece, as far as nothing stands between."""
    events: list[Event] = []
    for piece in pieces:
        for event in machine.feed(piece):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            else:
                events.append(event)
    return events


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


CASES = {
    "data": (b"12.5 kg\r\n", [b"12.5 kg\r\n"]),
    "0xff is doubled in data": (b"a\xff\xffb", [b"a\xffb"]),
    "a heartbeat between data": (b"a" + NOP + b"b", [b"a", Command(Verb.NOP), b"b"]),
    "break": (b"\xff\xf3", [Command(Verb.BREAK)]),
    "a suboption": (b"\xff\xfa\x2c\x05\x08\xff\xf0", [Suboption(Option.COM_PORT, b"\x05\x08")]),
    "0xff is doubled in suboptions, too": (
        b"\xff\xfa\x2c\x01\x00\x00\xff\xff\x00\xff\xf0",
        [Suboption(Option.COM_PORT, b"\x01\x00\x00\xff\x00")],
    ),
    "the code of an end is data inside": (b"\xff\xfa\x2c\xf0\xff\xf0", [Suboption(Option.COM_PORT, b"\xf0")]),
    "an empty suboption": (b"\xff\xfa\xff\xf0x", [b"x"]),
    "an end without a beginning": (b"\xff\xf0x", [b"x"]),
    "a suboption that a command breaks off": (b"\xff\xfa\x2c\x05\xff\xf1x", [Command(Verb.NOP), b"x"]),
    "a suboption in a suboption": (
        b"\xff\xfa\x2c\xff\xfa\x2c\x07\xff\xf0",
        [Suboption(Option.COM_PORT, b"\x07")],
    ),
    "one that is too long": (b"\xff\xfa\x2c" + bytes(LONGEST) + b"\xff\xf0x", [b"x"]),
    "one that is just short enough": (
        b"\xff\xfa\x2c" + bytes(LONGEST - 1) + b"\xff\xf0",
        [Suboption(Option.COM_PORT, bytes(LONGEST - 1))],
    ),
    "an option that the peer turns on": (WILL_COM_PORT + b"x", [Agreed(Option.COM_PORT), b"x"]),
    "and again": (WILL_COM_PORT * 3, [Agreed(Option.COM_PORT)]),
}


@pytest.mark.parametrize(("wire", "means"), CASES.values(), ids=CASES.keys())
def test_what_bytes_mean_whole_and_byte_by_byte(wire: bytes, means: list[Event]) -> None:
    assert heard(telnet(), [wire]) == means
    assert heard(telnet(), bytewise(wire)) == means


NEGOTIATION = {
    "what was asked for is not answered": (b"\xff\xfd\x00\xff\xfd\x03\xff\xfb\x03\xff\xfb\x2c", b""),
    "nor is its refusal": (b"\xff\xfe\x00\xff\xfe\x03\xff\xfc\x03\xff\xfc\x2c", b""),
    "we do not echo": (b"\xff\xfd\x01", b"\xff\xfc\x01"),
    "nor do they": (b"\xff\xfb\x01", b"\xff\xfe\x01"),
    "that they do not is no news": (b"\xff\xfc\x01\xff\xfe\x01", b""),
    "what nobody knows is refused": (b"\xff\xfb\x18\xff\xfd\x06", b"\xff\xfe\x18\xff\xfc\x06"),
    "what is known is agreed to": (b"\xff\xfd\x2c", b"\xff\xfb\x2c"),
    "once": (b"\xff\xfd\x2c" * 5, b"\xff\xfb\x2c"),
    "what was on is turned off, once": (b"\xff\xfb\x2c\xff\xfc\x2c\xff\xfc\x2c", b"\xff\xfe\x2c"),
    "and may be turned on again": (b"\xff\xfc\x2c\xff\xfb\x2c", b"\xff\xfd\x2c"),
}


@pytest.mark.parametrize(("wire", "answer"), NEGOTIATION.values(), ids=NEGOTIATION.keys())
def test_what_is_answered(wire: bytes, answer: bytes) -> None:
    machine = telnet()
    list(machine.feed(wire))
    assert machine.answer() == answer
    assert machine.answer() == b""


def test_binary_and_no_go_ahead_are_asked_for_both_ways_and_rfc_2217_where_it_is_offered() -> None:
    plain = b"\xff\xfb\x00\xff\xfb\x03\xff\xfd\x00\xff\xfd\x03"
    assert Telnet(com_port=False).answer() == plain
    assert Telnet(com_port=True).answer() == plain + b"\xff\xfd\x2c"


def test_rfc_2217_is_refused_where_it_is_not_offered() -> None:
    machine = telnet(com_port=False)
    assert list(machine.feed(WILL_COM_PORT)) == []
    assert machine.answer() == b"\xff\xfe\x2c"


def test_two_of_us_agree_and_fall_silent() -> None:
    one, two = Telnet(com_port=True), Telnet(com_port=True)
    for _ in range(5):
        list(two.feed(one.answer()))
        list(one.feed(two.answer()))
    assert one.answer() == two.answer() == b""


def test_the_nul_behind_a_cr_is_data_only_for_who_has_agreed_to_binary() -> None:
    wire = b"a\r\0b\r\nc\0\r"
    for pieces in ([wire], bytewise(wire)):
        assert heard(telnet(binary=False), pieces) == [b"a\rb\r\nc\0\r"]
        assert heard(telnet(), pieces) == [wire]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


places = st.lists(st.integers(0, 10_000), max_size=20)
telnetish = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([bytes((IAC, verb)) for verb in Verb] + [b"\xff", b"\xff\xff", b"\x2c", b"\0"]),
    ),
    max_size=60,
).map(b"".join)


@given(st.binary(max_size=600), places)
def test_all_data_passes_unharmed_at_any_cut(data: bytes, where: list[int]) -> None:
    assert heard(telnet(), cut(escaped(data), where)) == ([data] if data else [])


@given(st.binary(max_size=LONGEST - 1), places)
def test_all_suboptions_pass_unharmed_at_any_cut(data: bytes, where: list[int]) -> None:
    wire = b"before" + suboption(Option.COM_PORT, data) + b"behind"
    assert heard(telnet(), cut(wire, where)) == [b"before", Suboption(Option.COM_PORT, data), b"behind"]


@given(telnetish, places)
def test_any_bytes_mean_the_same_at_any_cut_and_good_ones_are_heard_behind_them(
    wire: bytes, where: list[int]
) -> None:
    whole, pieces = telnet(), telnet()
    assert heard(whole, [wire]) == heard(pieces, cut(wire, where))
    assert whole.answer() == pieces.answer()
    good = suboption(Option.COM_PORT, b"\x07")
    assert heard(whole, [b"\0\xff\xf0\xff\xf0" + good])[-1] == Suboption(Option.COM_PORT, b"\x07")


@given(telnetish)
def test_no_answer_is_longer_than_what_it_answers(wire: bytes) -> None:
    machine = telnet()
    for event in machine.feed(wire):
        assert not isinstance(event, Suboption) or len(event.data) < LONGEST
    assert len(machine.answer()) <= len(wire)


@given(telnetish, telnetish)
def test_no_two_peers_answer_one_another_for_ever(first: bytes, second: bytes) -> None:
    one, two = telnet(), telnet()
    list(one.feed(first))
    list(two.feed(second))
    for _ in range(4):
        list(two.feed(one.answer()))
        list(one.feed(two.answer()))
    assert one.answer() == two.answer() == b""
