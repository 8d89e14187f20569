"""RFC 2217, the telnet option by which a client sets a serial line: the words of it, and what they hold.

Promises: whatever a client sends is an Order or None; each answer is the order's code plus 100 with one
value. Must not know a line: what an order does to one is `links._rfc2217`'s.
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

from .telnet import Option, suboption

_FROM_SERVER = 100
_MOST_TEXT = 64  # bytes of a signature that are kept


class Ask(IntEnum):
    """What a client asks for (RFC 2217, 3)."""

    SIGNATURE = 0
    BAUDRATE = 1
    DATASIZE = 2
    PARITY = 3
    STOPSIZE = 4
    CONTROL = 5
    LINE_STATE = 6
    MODEM_STATE = 7
    SUSPEND = 8
    RESUME = 9
    LINE_STATE_MASK = 10
    MODEM_STATE_MASK = 11
    PURGE = 12


class Control(IntEnum):
    """The values of SET-CONTROL."""

    FLOW = 0
    FLOW_NONE = 1
    FLOW_XON_XOFF = 2
    FLOW_RTS_CTS = 3
    BREAK = 4
    BREAK_ON = 5
    BREAK_OFF = 6
    DTR = 7
    DTR_ON = 8
    DTR_OFF = 9
    RTS = 10
    RTS_ON = 11
    RTS_OFF = 12
    INBOUND = 13
    INBOUND_NONE = 14
    INBOUND_XON_XOFF = 15
    INBOUND_RTS_CTS = 16
    FLOW_DCD = 17
    INBOUND_DTR = 18
    FLOW_DSR = 19


class LineState(IntFlag):
    """Of NOTIFY-LINESTATE."""

    OVERRUN = 2
    PARITY = 4
    FRAMING = 8
    BREAK = 16
    ROOM = 32  # the transmit holding register is empty
    SENT = 64  # so is the shift register: all is on the wire


class ModemState(IntFlag):
    """Of NOTIFY-MODEMSTATE: the lines, and in the lower half which of them have changed."""

    CTS_CHANGED = 1
    DSR_CHANGED = 2
    RI_FELL = 4
    CD_CHANGED = 8
    CTS = 16
    DSR = 32
    RI = 64
    CD = 128


class Order(NamedTuple):
    """`value` is 0 where the order has none, which asks for the present one where there is one."""

    ask: Ask
    value: int = 0
    text: bytes = b""  # of SIGNATURE


_VALUE = {  # bytes that an order must have at least
    Ask.BAUDRATE: 4,
    **dict.fromkeys((Ask.DATASIZE, Ask.PARITY, Ask.STOPSIZE, Ask.CONTROL, Ask.PURGE), 1),
    **dict.fromkeys((Ask.LINE_STATE_MASK, Ask.MODEM_STATE_MASK), 1),
}
PARITIES = {1: "N", 2: "O", 3: "E", 4: "M", 5: "S"}
STOP_BITS = {1: "1", 2: "2", 3: "1.5"}
FLOWS = {Control.FLOW_NONE: "none", Control.FLOW_XON_XOFF: "xon-xoff", Control.FLOW_RTS_CTS: "rts-cts"}


def order(data: bytes) -> Order | None:
    """Of a suboption's data; None when it is unknown or too short."""
    if not data or data[0] not in set(Ask):
        return None
    ask, rest = Ask(data[0]), data[1:]
    if ask is Ask.SIGNATURE:
        return Order(ask, text=rest[:_MOST_TEXT])
    octets = _VALUE.get(ask, 0)
    return None if len(rest) < octets else Order(ask, int.from_bytes(rest[:octets], "big"))


def answer(ask: Ask, value: int | bytes | None = None) -> bytes:
    """The whole suboption as it goes over the wire."""
    if isinstance(value, int):
        value = value.to_bytes(4 if ask is Ask.BAUDRATE else 1, "big")
    return suboption(Option.COM_PORT, bytes((ask + _FROM_SERVER,)) + (value or b""))


def code(table: dict[int, str] | dict[Control, str], word: str) -> int:
    """Of a parity, stop bits or flow control."""
    return next(number for number, name in table.items() if name == word)


def modem_state(cts: bool, dsr: bool, ri: bool, cd: bool, before: ModemState) -> ModemState:
    """The lines now, with what is another than `before`."""
    lines = ModemState.CTS * cts | ModemState.DSR * dsr | ModemState.RI * ri | ModemState.CD * cd
    changed = (lines ^ before) & 0xF0
    if lines & ModemState.RI:
        changed &= ~ModemState.RI  # only its end counts (RFC 2217: trailing edge)
    return ModemState(lines | changed >> 4)
