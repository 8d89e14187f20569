"""Which unit id of the TCP side leads to which unit on which line: a Transactor in front of Transactors."""

from asyncio import Future, get_running_loop
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..contracts import Request, Transactor, failed
from ..errors import NoRoute


class Way(NamedTuple):
    line: Transactor
    unit: int  # on the line


class Route:
    """`default_unit_id` stands for unit ids 0 and 255 that have no way of their own.

    Else 0 is a broadcast to every line.
    """

    def __init__(self, ways: Mapping[int, Way], default_unit_id: int | None) -> None:
        self._ways = dict(ways)
        if default_unit_id is not None and default_unit_id in ways:
            for unit in (0, 255):
                self._ways.setdefault(unit, ways[default_unit_id])
        self._lines = list({id(way.line): way.line for way in ways.values()}.values())

    def ask(self, request: Request, /) -> Future[bytes]:
        way = self._ways.get(request.unit)
        if way is not None:
            return way.line.ask(request._replace(unit=way.unit))
        if request.unit == 0:
            return _first_good([line.ask(request) for line in self._lines])
        return failed(NoRoute(f"no line is configured for unit {request.unit}"))


def _first_good(asked: Sequence[Future[bytes]]) -> Future[bytes]:
    """Good if one of them is; else the first's error. None of them is withdrawn: it is a broadcast."""
    outcome: Future[bytes] = get_running_loop().create_future()
    open_ = len(asked)

    def done(answer: Future[bytes]) -> None:
        nonlocal open_
        open_ -= 1
        error = answer.exception()
        if outcome.done():
            return
        if error is None:
            outcome.set_result(answer.result())
        elif not open_:
            outcome.set_exception(error)

    for answer in asked:
        answer.add_done_callback(done)
    return outcome
