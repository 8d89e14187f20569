"""The words of RFC 2217."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.rfc2217 import Ask, Control, ModemState, Order, answer, modem_state, order

ORDERS = {
    b"\x00": Order(Ask.SIGNATURE),
    b"\x00sredird": Order(Ask.SIGNATURE, text=b"sredird"),
    b"\x01\x00\x00\x25\x80": Order(Ask.BAUDRATE, 9600),
    b"\x01\x00\x00\x00\x00": Order(Ask.BAUDRATE, 0),
    b"\x01\xff\xff\xff\xff": Order(Ask.BAUDRATE, 0xFFFFFFFF),
    b"\x02\x07": Order(Ask.DATASIZE, 7),
    b"\x03\x09": Order(Ask.PARITY, 9),
    b"\x04\x03": Order(Ask.STOPSIZE, 3),
    b"\x05\x08": Order(Ask.CONTROL, Control.DTR_ON),
    b"\x06": Order(Ask.LINE_STATE),
    b"\x07": Order(Ask.MODEM_STATE),
    b"\x08": Order(Ask.SUSPEND),
    b"\x09": Order(Ask.RESUME),
    b"\x0a\x1e": Order(Ask.LINE_STATE_MASK, 0x1E),
    b"\x0b\xff": Order(Ask.MODEM_STATE_MASK, 0xFF),
    b"\x0c\x03": Order(Ask.PURGE, 3),
    b"\x0c\x03 and more": Order(Ask.PURGE, 3),
}


@pytest.mark.parametrize(("data", "means"), ORDERS.items())
def test_what_a_client_orders(data: bytes, means: Order) -> None:
    assert order(data) == means


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x00\x25\x80",
        b"\x02",
        b"\x03",
        b"\x05",
        b"\x0b",
        b"\x0c",
        b"\x0d\x00",
        b"\x65\x00",
    ],
)
def test_what_is_too_short_or_unknown_is_no_order(data: bytes) -> None:
    assert order(data) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_an_order_or_none(data: bytes) -> None:
    found = order(data)
    assert found is None or (found.ask == data[0] and 0 <= found.value < 1 << 32 and len(found.text) <= 64)


@pytest.mark.parametrize(
    ("ask", "value", "wire"),
    [
        (Ask.BAUDRATE, 115200, b"\x65\x00\x01\xc2\x00"),
        (Ask.BAUDRATE, 255, b"\x65\x00\x00\x00\xff\xff"),
        (Ask.DATASIZE, 8, b"\x66\x08"),
        (Ask.MODEM_STATE, ModemState(0xFF), b"\x6b\xff\xff"),
        (Ask.SIGNATURE, b"gateway", b"\x64gateway"),
    ],
)
def test_an_answer_is_the_order_plus_100_with_what_is_so(ask: Ask, value: int | bytes, wire: bytes) -> None:
    assert answer(ask, value) == b"\xff\xfa\x2c" + wire + b"\xff\xf0"


def test_the_modem_state_tells_the_lines_and_which_of_them_changed() -> None:
    all_off = ModemState(0)
    assert modem_state(False, False, False, False, all_off) == 0
    up = modem_state(True, True, False, True, all_off)
    assert up == ModemState.CTS | ModemState.DSR | ModemState.CD | 0b1011
    assert modem_state(True, True, False, True, up) == up & 0xF0
    assert (
        modem_state(False, True, False, True, up) == ModemState.DSR | ModemState.CD | ModemState.CTS_CHANGED
    )


def test_only_the_end_of_a_ring_is_a_change() -> None:
    rings = modem_state(False, False, True, False, ModemState(0))
    assert rings == ModemState.RI
    assert modem_state(False, False, False, False, rings) == ModemState.RI_FELL
