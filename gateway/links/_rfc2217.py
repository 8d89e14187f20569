"""RFC 2217: what a client asks of a serial line is done, or not, and he is told what is so now.

pyserial's PortManager does not serve here. It wants a pyserial object that it may block on, while our line is
`host.tty`'s; it sets a parameter before the bytes in front of it have left the wire; and of its holes (short
values, rates that do not fit and ttys without modem lines raise; half of SET-CONTROL, the line state, masks
and the signature go unanswered, for which clients wait 3 s) more had to be closed than was left.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import ClassVar, Never

from .. import __version__
from ..contracts import LineFaults, ModemLines, Tuning
from ..wire.rfc2217 import (
    FLOWS,
    PARITIES,
    STOP_BITS,
    Ask,
    Control,
    LineState,
    ModemState,
    Order,
    answer,
    code,
    modem_state,
)

_LOOK = 0.1  # seconds between two looks at modem lines and line errors, for a client that wants to hear
_LOOK_AT_OUTPUT = 0.005  # seconds
_STUCK = 60  # such looks, 0.3 s: a character of 50 baud takes 0.2 s
_ALL = 0xFF
_FORMAT = frozenset({Ask.BAUDRATE, Ask.DATASIZE, Ask.PARITY, Ask.STOPSIZE})
_AT_ONCE = frozenset({Control.BREAK, Control.BREAK_OFF, Control.DTR, Control.RTS, Control.INBOUND})
_INBOUND = Control.INBOUND_NONE - Control.FLOW_NONE
_PURGE_RECEIVED, _PURGE_UNSENT, _PURGE_BOTH = 1, 2, 3


class ComPort:
    """One client's view of the line. `tell` gets each suboption for him; without `may_set` he sets nothing.

    `suspended` is called with True when he wants to hear nothing from the line for now.
    """

    def __init__(
        self, tuning: Tuning, tell: Callable[[bytes], None], suspended: Callable[[bool], None], may_set: bool
    ) -> None:
        self._tuning, self._tell, self._suspended, self._may_set = tuning, tell, suspended, may_set
        self._line_mask, self._modem_mask = 0, _ALL  # as RFC 2217 begins
        self._agreed = asyncio.Event()
        self._wants = asyncio.Event()
        self._wants.set()
        self._modem = ModemState(0)
        self._faults = tuning.faults

    def agreed(self) -> None:
        """The client speaks RFC 2217: he is told how the modem lines are, and whenever they change."""
        if not self._agreed.is_set():
            self._agreed.set()
            self._tell_modem_state(0)

    async def obey(self, order: Order) -> None:
        self.agreed()  # pyserial takes our DO for an answer if it comes early, and never says WILL
        changes = order.ask in _FORMAT or (order.ask is Ask.CONTROL and order.value not in _AT_ONCE)
        if self._may_set and order.value and changes:
            await output_gone(self._tuning)
        self._OBEY[order.ask](self, order)

    def _say(self, ask: Ask, value: int | bytes | None = None) -> None:
        self._tell(answer(ask, value))

    # Settings

    def _signature(self, order: Order) -> None:
        if not order.text:  # else he tells his
            self._say(Ask.SIGNATURE, f"serial gateway {__version__}".encode())

    def _baudrate(self, order: Order) -> None:
        if order.value and self._may_set:
            self._tuning.set(baudrate=order.value)
        self._say(Ask.BAUDRATE, self._tuning.settings.baudrate)

    def _datasize(self, order: Order) -> None:
        self._reformat(bits=str(order.value) if 5 <= order.value <= 8 else "")
        self._say(Ask.DATASIZE, int(self._tuning.settings.format[0]))

    def _parity(self, order: Order) -> None:
        self._reformat(parity=PARITIES.get(order.value, ""))
        self._say(Ask.PARITY, code(PARITIES, self._tuning.settings.format[1]))

    def _stopsize(self, order: Order) -> None:
        self._reformat(stop=STOP_BITS.get(order.value, ""))
        self._say(Ask.STOPSIZE, code(STOP_BITS, self._tuning.settings.format[2:]))

    def _reformat(self, *, bits: str = "", parity: str = "", stop: str = "") -> None:
        old = self._tuning.settings.format
        if self._may_set:
            self._tuning.set(format=(bits or old[0]) + (parity or old[1]) + (stop or old[2:]))

    # SET-CONTROL

    def _control(self, order: Order) -> None:
        if order.value not in set(Control):
            return
        control = Control(order.value)
        if self._may_set:
            self._set(control)
        self._say(Ask.CONTROL, self._state(control))

    def _set(self, control: Control) -> None:
        match control:
            case Control.FLOW_NONE | Control.FLOW_XON_XOFF | Control.FLOW_RTS_CTS:
                self._tuning.set(flow=FLOWS[control])
            case Control.BREAK_ON | Control.BREAK_OFF:
                self._tuning.send_break(control is Control.BREAK_ON)
            case Control.DTR_ON | Control.DTR_OFF:
                self._tuning.signal(dtr=control is Control.DTR_ON)
            case Control.RTS_ON | Control.RTS_OFF:
                self._tuning.signal(rts=control is Control.RTS_ON)

    def _state(self, control: Control) -> Control:
        """What is so now. Inbound flow control is as outbound: a tty has the two together."""
        match control:
            case Control.BREAK | Control.BREAK_ON | Control.BREAK_OFF:
                return Control.BREAK_ON if self._tuning.breaking else Control.BREAK_OFF
            case Control.DTR | Control.DTR_ON | Control.DTR_OFF:
                return Control.DTR_ON if self._tuning.dtr else Control.DTR_OFF
            case Control.RTS | Control.RTS_ON | Control.RTS_OFF:
                return Control.RTS_ON if self._tuning.rts else Control.RTS_OFF
        outbound = Control(code(FLOWS, self._tuning.flow))
        inbound = control in _INBOUND_ONES
        return Control(outbound + _INBOUND) if inbound else outbound

    # States, and what the client wants to hear of them

    def _line_state(self, order: Order) -> None:
        self._say(Ask.LINE_STATE, self._line_state_now(self._tuning.faults))

    def _modem_state(self, order: Order) -> None:
        self._tell_modem_state(0)

    def _line_state_mask(self, order: Order) -> None:
        self._line_mask = order.value
        self._faults = self._tuning.faults
        self._mask_set(order)

    def _modem_state_mask(self, order: Order) -> None:
        self._modem_mask = order.value
        self._mask_set(order)

    def _mask_set(self, order: Order) -> None:
        self._say(order.ask, order.value)
        if self._line_mask or self._modem_mask:
            self._wants.set()
        else:
            self._wants.clear()

    async def watch(self) -> Never:
        """Tells of changes."""
        await self._agreed.wait()
        while True:
            await self._wants.wait()
            await asyncio.sleep(_LOOK)
            if self._modem_mask:
                self._tell_modem_state(self._modem_mask)
            if self._line_mask and (faults := self._tuning.faults) != self._faults:
                state = self._line_state_now(faults)
                if state & self._line_mask:
                    self._say(Ask.LINE_STATE, state & self._line_mask)

    def _tell_modem_state(self, mask: int) -> None:
        """With a mask only what it holds, if that has changed."""
        state = modem_state(*(self._tuning.modem or ModemLines()), self._modem)
        told = state & mask if mask else state
        if not mask or (state ^ self._modem) & mask & 0xF0 or told & 0x0F:
            self._say(Ask.MODEM_STATE, told)
        self._modem = ModemState(state & 0xF0)

    def _line_state_now(self, faults: LineFaults) -> LineState:
        """With what went wrong since it was asked last."""
        new = [now != before for now, before in zip(faults, self._faults, strict=True)]
        self._faults = faults
        flags = (LineState.FRAMING, LineState.OVERRUN, LineState.PARITY, LineState.BREAK)
        state = LineState(0) if self._tuning.unsent else LineState.ROOM | LineState.SENT
        for flag, happened in zip(flags, new, strict=True):
            state |= flag * happened
        return state

    # The flow of bytes

    def _suspend(self, order: Order) -> None:
        self._suspended(True)

    def _resume(self, order: Order) -> None:
        self._suspended(False)

    def _purge(self, order: Order) -> None:
        """The unsent bytes are gone already: see `out_of_turn`."""
        if order.value in (_PURGE_RECEIVED, _PURGE_BOTH) and self._may_set:
            self._tuning.purge(received=True)
        if order.value in (_PURGE_RECEIVED, _PURGE_UNSENT, _PURGE_BOTH):
            self._say(Ask.PURGE, order.value)

    def out_of_turn(self, order: Order) -> bool:
        """It is an order to throw away what has not left.

        That cannot wait until it has. True: it was done.
        """
        due = order.ask is Ask.PURGE and order.value in (_PURGE_UNSENT, _PURGE_BOTH) and self._may_set
        if due:
            self._tuning.purge(unsent=True)
        return due

    _OBEY: ClassVar[Mapping[Ask, Callable[["ComPort", Order], None]]] = {
        Ask.SIGNATURE: _signature,
        Ask.BAUDRATE: _baudrate,
        Ask.DATASIZE: _datasize,
        Ask.PARITY: _parity,
        Ask.STOPSIZE: _stopsize,
        Ask.CONTROL: _control,
        Ask.LINE_STATE: _line_state,
        Ask.MODEM_STATE: _modem_state,
        Ask.SUSPEND: _suspend,
        Ask.RESUME: _resume,
        Ask.LINE_STATE_MASK: _line_state_mask,
        Ask.MODEM_STATE_MASK: _modem_state_mask,
        Ask.PURGE: _purge,
    }


async def output_gone(tuning: Tuning) -> None:
    """Or it would leave the wire in the new way. What flow control holds is not waited for."""
    left, still = tuning.unsent, 0
    while left and still < _STUCK:
        await asyncio.sleep(_LOOK_AT_OUTPUT)
        before, left = left, tuning.unsent
        still = 0 if left < before else still + 1


_INBOUND_ONES = frozenset(
    {
        Control.INBOUND,
        Control.INBOUND_NONE,
        Control.INBOUND_XON_XOFF,
        Control.INBOUND_RTS_CTS,
        Control.INBOUND_DTR,
    }
)
