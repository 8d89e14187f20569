"""The server at the far end of a link as a Transactor: what a serial master asks goes there, by unit id."""

from asyncio import Future, get_running_loop
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from ..contracts import Request, failed
from ..errors import LinkDown
from ..ports._units import line_faults, ranges
from ..values import Fault, Model
from ._asking import Conversation


class There(Model):
    """How the far end calls a unit of the line."""

    unit_id: Annotated[int | None, Field(ge=0, le=255, description="default: the same as on the line")] = None


def unit_faults(units: Mapping[str, There]) -> Iterator[Fault]:
    yield from line_faults(units)
    for text, span in ranges(units):
        if len(span) > 1 and units[text].unit_id is not None:
            yield Fault(("units", text, "unit_id"), "unit_id goes with one unit: give each its own line")


def unit_ids(units: Mapping[str, There]) -> dict[int, int]:
    """Of the line -> of the far end."""
    found: dict[int, int] = {}
    for text, span in ranges(units):
        there = units[text].unit_id
        found |= {unit: unit if there is None else there for unit in span}
    return found


class Remote:
    """A Transactor also while there is no connection: then nobody can be asked."""

    def __init__(self) -> None:
        self._far: Conversation | None = None
        self._unit_ids: Mapping[int, int] = {}

    @contextmanager
    def through(self, far: Conversation, ids: Mapping[int, int]) -> Iterator[None]:
        """For as long as this connection lives."""
        self._far, self._unit_ids = far, ids
        try:
            yield
        finally:
            self._far = None

    def ask(self, request: Request, /) -> Future[bytes]:
        if self._far is None:
            return failed(LinkDown("the far end is away"))
        if request.unit == 0:
            self._far.tell(request.pdu, 0)
            told: Future[bytes] = get_running_loop().create_future()
            told.set_result(b"")
            return told
        return self._far.ask(request.pdu, self._unit_ids[request.unit])
