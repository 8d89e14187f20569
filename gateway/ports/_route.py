"""Which unit id of the TCP side leads to which unit on which line: a Transactor in front of Transactors."""

from asyncio import Future, get_running_loop
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..contracts import Request, Transactor, failed
from ..errors import NoRoute
from ..wire.modbus import confirmation


class Way(NamedTuple):
    line: Transactor
    unit: int  # on the line


class Route:
    """`default_unit_id` stands for unit ids 0 and 255 that have no way of their own.

    Else 0 is a broadcast to every line; who sent it gets `b""`, or with `confirms` what a device answers to
    such a write when it is meant alone.
    """

    def __init__(
        self, ways: Mapping[int, Way], default_unit_id: int | None, *, confirms: bool = False
    ) -> None:
        self._ways = dict(ways)
        if default_unit_id is not None and default_unit_id in ways:
            for unit in (0, 255):
                self._ways.setdefault(unit, ways[default_unit_id])
        self._confirms = confirms
        self._lines = list({id(way.line): way.line for way in ways.values()}.values())

    def ask(self, request: Request, /) -> Future[bytes]:
        way = self._ways.get(request.unit)
        if way is not None:
            return way.line.ask(request._replace(unit=way.unit))
        if request.unit == 0:
            good = confirmation(request.pdu) if self._confirms else b""
            return _first_good([line.ask(request) for line in self._lines], good)
        return failed(NoRoute(f"no line is configured for unit {request.unit}"))


def _first_good(asked: Sequence[Future[bytes]], good: bytes) -> Future[bytes]:
    """`good` if one of them is; else the last one's error. None of them is withdrawn: it is a broadcast."""
    outcome: Future[bytes] = get_running_loop().create_future()
    open_ = len(asked)

    def done(answer: Future[bytes]) -> None:
        nonlocal open_
        open_ -= 1
        error = answer.exception()
        if outcome.done():
            return
        if error is None:
            outcome.set_result(good)
        elif not open_:
            outcome.set_exception(error)

    for answer in asked:
        answer.add_done_callback(done)
    return outcome
