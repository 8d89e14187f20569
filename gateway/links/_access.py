"""The keys `access` and `clients`: who may ask for what, and the Transactor that sees to it.

Promises: what is denied is answered at once (exception 01 or 02) and never reaches a line. It is counted, and
told once per episode of each host.
"""

import logging
import re
from asyncio import Future, get_running_loop
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from ..contracts import Request, Transactor, failed
from ..errors import Forbidden, GatewayError, Refused
from ..policy.access import EVERYTHING, NOTHING, Asked, Network, Rights, address_of, joined, nearest
from ..policy.episodes import Episodes
from ..values import Fault, Model, network, unit_range
from ..wire.modbus import check_request, reads
from ..wire.points import Table
from ..wire.spans import Span, touched

_QUIET = 600.0  # seconds without a denial after which one is worth a line again
_MOST = 64  # hosts that are told apart in the log
_KNOWN = 256  # hosts whose rights are not looked up again
_SPAN = rf"({'|'.join(Table)}) (\d{{1,5}})(?:-(\d{{1,5}}))?"
log = logging.getLogger(__name__)


def _list(value: object) -> object:
    if value == []:
        raise ValueError("at least one is needed; without the key all of them are allowed")
    return tuple(value) if isinstance(value, list) else value


def _function(code: int) -> int:
    if not 1 <= code <= 127:
        raise ValueError(f"function codes are 1 to 127, not {code}")
    return code


def _units(value: object) -> range:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('unit ids are 5 or "1-31", each 0 to 255')
    return unit_range(str(value))


def _span(value: object) -> Span:
    found = re.fullmatch(_SPAN, value) if isinstance(value, str) else None
    first, last = (int(found[2]), int(found[3] or found[2])) if found else (1, 0)
    if not found or not first <= last <= 0xFFFF:
        raise ValueError(
            'registers are written "holding 0-99" or "coil 3": coil, discrete_input, holding or input, '
            "and addresses 0 to 65535 as they are on the wire"
        )
    return Span(Table(found[1]), range(first, last + 1))


_Function = Annotated[
    int, AfterValidator(_function), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 127})
]
_Units = Annotated[
    range, PlainValidator(_units), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})
]
_Span = Annotated[Span, PlainValidator(_span), WithJsonSchema({"type": "string", "pattern": f"^{_SPAN}$"})]


class Permission(Model):
    """What is allowed; a request has to fit each key that is there."""

    functions: Annotated[
        tuple[_Function, ...] | None, BeforeValidator(_list), Field(description="codes, such as [3, 4]")
    ] = None
    unit_ids: Annotated[
        tuple[_Units, ...] | None, BeforeValidator(_list), Field(description='such as [1, "5-9"]')
    ] = None
    registers: Annotated[
        tuple[_Span, ...] | None, BeforeValidator(_list), Field(description='["holding 0-99", "coil 3"]')
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, table: object) -> object:
        if table == {}:
            raise ValueError("what is allowed? name functions, unit_ids or registers")
        if isinstance(table, dict) and any(isinstance(value, dict) for value in table.values()):
            raise ValueError('an address goes into quotes: "10.0.0.8" = "read-only"')
        return table

    @property
    def rights(self) -> Rights:
        return Rights(
            functions=None if self.functions is None else frozenset(self.functions),
            unit_ids=None if self.unit_ids is None else frozenset().union(*self.unit_ids),
            registers=None if self.registers is None else joined(self.registers),
        )


def _form(value: object) -> str:
    """So that what is wrong with one form is not told of the other as well."""
    return "table" if isinstance(value, dict | Permission) else "word"


Access = Annotated[
    Annotated[Literal["read-write", "read-only"], Tag("word")] | Annotated[Permission, Tag("table")],
    Discriminator(_form),
]
ClientsAccess = Annotated[
    dict[str, Access], Field(description='access by address: { "10.0.0.0/8" = "read-only" }')
]


def clients_faults(clients: Mapping[str, Access]) -> Iterator[Fault]:
    """Of their addresses."""
    names: dict[Network, str] = {}
    for text in clients:
        try:
            one = network(text)
        except ValueError as wrong:
            yield Fault(("clients", text), str(wrong))
            continue
        if one in names:
            yield Fault(("clients", text), f'that is "{names[one]}" once more')
        names[one] = text


def _rights(access: Access) -> Rights:
    match access:
        case "read-write":
            return EVERYTHING
        case "read-only":
            return Rights(read_only=True)
        case Permission():
            return access.rights


class Guard:
    """In front of `route`: asks who the asker is, and passes on what he may have. `denied` counts.

    The entry of `clients` with the smallest network is his; `access` is for whom none names.
    """

    def __init__(self, link: str, route: Transactor, access: Access, clients: Mapping[str, Access]) -> None:
        self._link, self._route = link, route
        self._access = _rights(access)
        self._clients = {network(text): _rights(theirs) for text, theirs in clients.items()}
        self._rights = lru_cache(_KNOWN)(self._look_up)
        self._episodes = Episodes(_QUIET, _MOST)
        self.denied = 0

    def ask(self, request: Request, /) -> Future[bytes]:
        rights = self._rights(request.asker.host)
        if rights is EVERYTHING:
            return self._route.ask(request)
        pdu = request.pdu
        try:
            check_request(pdu)  # what contradicts itself does not say what it touches
        except GatewayError as error:
            return failed(error)
        asked = Asked(unit=request.unit, function=pdu[0], reads=reads(pdu), touches=touched(pdu))
        if (objection := rights.objection(asked)) is None:
            return self._route.ask(request)
        self._denies(request.asker.host, asked, objection)
        return failed(objection)

    def _look_up(self, host: str) -> Rights:
        if not self._clients:
            return self._access
        if (address := address_of(host)) is None:
            return NOTHING
        entry = nearest(address, self._clients)
        return self._access if entry is None else self._clients[entry]

    def _denies(self, host: str, asked: Asked, why: Refused | Forbidden) -> None:
        self.denied += 1
        if self._episodes.begins(host, get_running_loop().time()):
            what = ", ".join([f"function {asked.function}", *map(_in_words, asked.touches)])
            log.warning(
                "%s: %s is denied %s of unit %d: %s (exception %02X)",
                *(self._link, host, what, asked.unit, why, why.modbus),
            )


def _in_words(span: tuple[str, range]) -> str:
    table, addresses = span
    return f"{table} {addresses.start}" + (f"-{addresses[-1]}" if len(addresses) > 1 else "")
