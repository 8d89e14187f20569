"""Modbus ASCII slaves in virtual time and on a pty. Nothing here shares code with `gateway.wire`."""

from binascii import hexlify, unhexlify
from collections.abc import Callable, Mapping

from gateway.demo.line import Line, Wire
from gateway.demo.registers import Registers

Fault = Callable[[bytes], bytes]
"""From a good answer, a whole frame, to what is sent."""


def frame(octets: bytes) -> bytes:
    """Unit id and PDU, as they stand on the line."""
    return b":" + hexlify(octets + bytes((-sum(octets) % 256,))).upper() + b"\r\n"


def octets(framed: bytes) -> bytes:
    """Unit id and PDU of a whole frame. AssertionError when it is not one as it should be."""
    assert framed[:1] == b":"
    assert framed[-2:] == b"\r\n"
    assert framed == framed.upper()
    inside = unhexlify(framed[1:-2])
    assert sum(inside) % 256 == 0
    return inside[:-1]


class Chillers(Line):
    """A line with ASCII slaves. `fault` may spoil any answer; units that are not in `slaves` are silent."""

    def __init__(self, slaves: Mapping[int, Registers], wire: Wire | None = None) -> None:
        super().__init__(wire or Wire(baudrate=0))
        self.slaves = slaves
        self.fault: Fault = bytes
        self.asked: list[bytes] = []  # unit id and PDU of each request
        self._request = b""

    def heard(self, data: bytes, now: float) -> None:
        self._request += data
        if self._request.endswith(b"\n"):
            request, self._request = octets(self._request), b""
            self.asked.append(request)
            travelled = now + len(data) * self.wire.character
            if request[0] in self.slaves:
                answer = request[:1] + self.slaves[request[0]].answer(request[1:])
                self.say(self.fault(frame(answer)), travelled + self.wire.silence)
