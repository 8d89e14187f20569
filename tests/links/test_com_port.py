"""What a client of RFC 2217 is told of a line that has everything.

Modem lines, counters, and takes its time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress

from conftest import Until

from gateway.contracts import LineFaults, ModemLines, Settings
from gateway.links._rfc2217 import ComPort
from gateway.wire.rfc2217 import Ask, Control, Order
from gateway.wire.telnet import Suboption, Telnet


class Uart:
    """A Tuning of which a test is both ends."""

    def __init__(self) -> None:
        self.settings = Settings(9600, "8N1")
        self.flow = "none"
        self.dtr = self.rts = True
        self.breaking = False
        self.modem: ModemLines | None = ModemLines()
        self.looks = 0
        self.faults_now = LineFaults()
        self.unsent = 0.0
        self.did: list[object] = []

    @property
    def faults(self) -> LineFaults:
        self.looks += 1
        return self.faults_now

    def taken(self) -> AbstractContextManager[None]:
        return nullcontext()

    def set(self, *, baudrate: int = 0, format: str = "", flow: str = "") -> None:
        self.did.append((baudrate, format, flow))
        self.settings = Settings(baudrate or self.settings.baudrate, format or self.settings.format)

    def signal(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        self.did.append((dtr, rts))

    def send_break(self, on: bool, /) -> None:
        self.breaking = on

    def purge(self, *, received: bool = False, unsent: bool = False) -> None:
        self.did.append(("purge", received, unsent))


class Told:
    """What the client was told: the order's number and the value, as one number."""

    def __init__(self) -> None:
        self.all: list[tuple[Ask, int]] = []

    def __call__(self, wire: bytes) -> None:
        for event in Telnet(com_port=True).feed(wire):
            assert isinstance(event, Suboption)
            self.all.append((Ask(event.data[0] - 100), int.from_bytes(event.data[1:], "big")))


@asynccontextmanager
async def watched(uart: Uart, told: Told, *orders: Order, may_set: bool = True) -> AsyncIterator[ComPort]:
    port = ComPort(uart, told, lambda on: None, may_set)
    for order in orders:
        await port.obey(order)
    task = asyncio.create_task(port.watch())
    try:
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_modem_lines_are_told_at_the_beginning_and_whenever_they_change(until: Until) -> None:
    uart, told = Uart(), Told()
    uart.modem = ModemLines(cts=True)
    async with watched(uart, told) as port:
        port.agreed()
        assert told.all == [(Ask.MODEM_STATE, 0x11)]
        uart.modem = ModemLines(cts=True, cd=True)
        await until(lambda: len(told.all) == 2)
        uart.modem = ModemLines()
        await until(lambda: len(told.all) == 3)
        uart.modem = None
        await port.obey(Order(Ask.MODEM_STATE))
    assert told.all[1:] == [(Ask.MODEM_STATE, 0x98), (Ask.MODEM_STATE, 0x09), (Ask.MODEM_STATE, 0)]


async def test_only_what_the_mask_holds_is_told(until: Until) -> None:
    uart, told = Uart(), Told()
    async with watched(uart, told, Order(Ask.MODEM_STATE_MASK, 0x88)) as port:
        port.agreed()
        told.all.clear()
        uart.modem = ModemLines(cts=True)
        await asyncio.sleep(0.25)
        uart.modem = ModemLines(cts=True, cd=True)
        await until(lambda: told.all)
    assert told.all == [(Ask.MODEM_STATE, 0x88)]


async def test_line_errors_are_told_to_who_wants_to_hear_of_them(until: Until) -> None:
    uart, told = Uart(), Told()
    async with watched(uart, told, Order(Ask.LINE_STATE_MASK, 0x1E)) as port:
        port.agreed()
        told.all.clear()
        for faults, state in (
            (LineFaults(framing=1), 8),
            (LineFaults(1, overrun=1), 2),
            (LineFaults(1, 1, parity=3), 4),
            (LineFaults(1, 1, 3, breaks=1), 16),
        ):
            uart.faults_now = faults
            await until(lambda: told.all)
            assert told.all == [(Ask.LINE_STATE, state)]
            told.all.clear()
        uart.unsent = 3.0
        await port.obey(Order(Ask.LINE_STATE))
        assert told.all == [(Ask.LINE_STATE, 0)]


async def test_a_line_is_not_looked_at_for_nobody() -> None:
    uart, told = Uart(), Told()
    masks = (Order(Ask.MODEM_STATE_MASK, 0), Order(Ask.LINE_STATE_MASK, 0))
    async with watched(uart, told, *masks) as port:
        port.agreed()
        looks = uart.looks
        uart.modem, uart.faults_now = ModemLines(cts=True), LineFaults(framing=1)
        told.all.clear()
        await asyncio.sleep(0.3)
        assert (told.all, uart.looks) == ([], looks)


async def test_bytes_that_are_on_their_way_are_waited_for_and_held_ones_are_not(until: Until) -> None:
    uart, told = Uart(), Told()
    async with watched(uart, told) as port:
        uart.unsent = 100.0
        setting = asyncio.create_task(port.obey(Order(Ask.BAUDRATE, 19200)))
        for _ in range(10):
            await asyncio.sleep(0.05)
            uart.unsent -= 10
            assert uart.did == [] or uart.unsent == 0
        await setting
        assert uart.did == [(19200, "", "")]
        uart.unsent = 5.0
        await port.obey(Order(Ask.PARITY, 3))
        assert uart.did[1:] == [(0, "8E1", "")]


async def test_who_may_only_look_on_sets_nothing_and_is_told_what_is_so() -> None:
    uart, told = Uart(), Told()
    async with watched(uart, told, may_set=False) as port:
        for order, so in (
            (Order(Ask.BAUDRATE, 300), 9600),
            (Order(Ask.CONTROL, Control.BREAK_ON), Control.BREAK_OFF),
            (Order(Ask.CONTROL, Control.DTR_OFF), Control.DTR_ON),
            (Order(Ask.PURGE, 3), 3),
        ):
            assert not port.out_of_turn(order)
            await port.obey(order)
            assert told.all.pop() == (order.ask, so)
    assert (uart.did, uart.breaking) == ([], False)


async def test_a_break_is_on_until_it_is_taken_back() -> None:
    uart, told = Uart(), Told()
    async with watched(uart, told) as port:
        for order, so in (
            (Control.BREAK, Control.BREAK_OFF),
            (Control.BREAK_ON, Control.BREAK_ON),
            (Control.BREAK, Control.BREAK_ON),
            (Control.BREAK_OFF, Control.BREAK_OFF),
        ):
            await port.obey(Order(Ask.CONTROL, order))
            assert told.all.pop() == (Ask.CONTROL, so)
