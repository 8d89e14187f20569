"""`tap = true`: a client sees all that goes over a line, both ways, and touches nothing.

Bytes come as they went over the wire, what the line said and what others wrote to it one after the other;
`gatewayctl trace` tells them apart. The line never waits for such a client: what it has no room for is lost
to it, and counted. What it sends is thrown away, and counted.
"""

from typing import Never

from ..contracts import Stream, Traced
from ..host.connection import Connection
from ..status import TapStatus


class Onlookers:
    """What all of them missed and sent."""

    def __init__(self, port: Stream) -> None:
        self._port = port
        self._missed = self._ignored = 0  # bytes

    async def serve(self, connection: Connection) -> Never:
        def show(traced: Traced) -> bool:
            if traced.data and not connection.offer(traced.data):
                self._missed += len(traced.data)
            return True

        connection.sink = self._ignore
        with self._port.trace.tap(offer=show):
            while True:
                self._ignore(await connection.read())

    def _ignore(self, data: bytes) -> bool:
        self._ignored += len(data)
        return True

    def status(self) -> TapStatus:
        return {"missed_bytes": self._missed, "ignored_bytes": self._ignored}
