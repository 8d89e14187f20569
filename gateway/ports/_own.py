"""The gateway as a Modbus unit: a Transactor in front of Transactors that answers for one unit id itself."""

from asyncio import Future, get_running_loop
from collections.abc import Callable, Iterable

from ..contracts import Counted, Request, Transactor, failed
from ..errors import GatewayError
from ..wire.own_registers import answer


class Own:
    """What is for `unit_id` is answered here and at once, from what `lines` have counted; all else passes."""

    def __init__(
        self, route: Transactor, unit_id: int, lines: Iterable[Counted], uptime: Callable[[], float]
    ) -> None:
        self._route, self._unit_id, self._uptime = route, unit_id, uptime
        self._lines = [line.counts for line in lines]

    def ask(self, request: Request, /) -> Future[bytes]:
        if request.unit != self._unit_id:
            return self._route.ask(request)
        try:
            pdu = answer(request.pdu, self._uptime(), self._lines)
        except GatewayError as error:
            return failed(error)
        answered: Future[bytes] = get_running_loop().create_future()
        answered.set_result(pdu)
        return answered
