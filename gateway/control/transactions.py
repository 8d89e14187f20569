"""Single reads and writes for whoever speaks to the control socket, through the port's own arbiter.

    {"verb":"read","name":"meters","unit_id":1,"table":"holding","address":0,"count":2}
        -> {"ok":true,"values":[17254,6554],"took_ms":31.2}
    {"verb":"write","name":"meters","unit_id":1,"table":"coil","address":3,"values":[1]}
        -> {"ok":true,"took_ms":28.0}
    {"ok":false,"error":"unit 1: exception 02 illegal data address","exception":2}

`exception` is what a Modbus master would have been answered, also where the unit did not answer at all.
"""

import asyncio
import logging
from collections.abc import Sequence

from ..contracts import Asker, Rank, Request, Transactor
from ..errors import GatewayError
from ..wire.points import Table
from ..wire.reads import ILLEGAL_FUNCTION, Malformed, exception_text, read_answer, read_request
from ..wire.writes import MOST, refusal, write_requests
from .client import Client
from .contract import Gateway

_MOST_OF = {Table.COIL: 1, Table.HOLDING: 0xFFFF}
log = logging.getLogger(__name__)


class Unanswered(GatewayError):
    """The transaction failed; `modbus` is what a master would have been answered."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.modbus = code


def asker(client: Client) -> Asker:
    """To the arbiter all clients of the socket are one host."""
    return Asker("ctl", id(client))


async def read(
    client: Client, gateway: Gateway, name: str, unit_id: int, table: str, address: int, count: int = 1
) -> None:
    line, where = gateway.line(name), _table(table)
    try:
        request = Request(unit_id, read_request(where, address, count), asker(client))
    except ValueError as error:
        raise GatewayError(str(error)) from None
    began = _now()
    pdu = await _asked(line, request)
    if code := refusal(pdu):
        raise _rejected(unit_id, code)
    try:
        values = list(read_answer(where, count, pdu))
    except Malformed as error:
        raise Unanswered(f"unit {unit_id}: {error}", GatewayError.modbus) from None
    await client.say({"ok": True, "values": values, "took_ms": _since(began)})


async def write(
    client: Client,
    gateway: Gateway,
    name: str,
    unit_id: int,
    table: str,
    address: int,
    values: Sequence[int],
) -> None:
    """One value by code 6 or 5, and by 16 or 15 if the device does not know that; several by these."""
    line, where = gateway.line(name), _table(table)
    if where not in MOST:
        raise GatewayError(f"{where} cannot be written: holding or coil can")
    if any(not 0 <= value <= _MOST_OF[where] for value in values):
        raise GatewayError(f"a value of {where} is 0 to {_MOST_OF[where]}")
    try:
        pdus = write_requests(where, address, values)
    except ValueError as error:
        raise GatewayError(str(error)) from None
    shown = " ".join(map(str, values))
    log.info("ports.%s: gatewayctl writes %s %d = %s to unit %d", name, where, address, shown, unit_id)
    began = _now()
    code = ILLEGAL_FUNCTION
    for pdu in pdus:
        if code == ILLEGAL_FUNCTION:
            answer = await _asked(line, Request(unit_id, pdu, asker(client), Rank.WRITE))
            code = refusal(answer) if answer else 0  # a broadcast has no answer
    if code:
        raise _rejected(unit_id, code)
    await client.say({"ok": True, "took_ms": _since(began)})


async def _asked(line: Transactor, request: Request) -> bytes:
    try:
        return await line.ask(request)
    except GatewayError as error:
        raise Unanswered(str(error), error.modbus) from None


def _rejected(unit: int, code: int) -> Unanswered:
    return Unanswered(f"unit {unit}: {exception_text(code)}", code)


def _table(name: str) -> Table:
    try:
        return Table(name)
    except ValueError:
        raise GatewayError(f"a table is one of {', '.join(Table)}") from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _since(began: float) -> float:
    return round(1000 * (_now() - began), 1)
