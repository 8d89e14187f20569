"""Clients that say anything: requests right, mutated and made up, whole and in pieces, and how they leave."""

import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from gateway.demo.bus import with_crc

FUNCTIONS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43, 65, 100)
UNITS = (1, 1, 2, 2, 9, 0, 77, 255)  # with slaves behind some of them
NO_LINGER = struct.pack("ii", 1, 0)

Framing = Callable[[random.Random, int, bytes], bytes]


def mbap(drawn: random.Random, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", drawn.randrange(0x10000), 0, len(pdu) + 1, unit) + pdu


def rtu(drawn: random.Random, unit: int, pdu: bytes) -> bytes:
    return with_crc(bytes((unit,)) + pdu)


def proper(drawn: random.Random) -> bytes:
    """A PDU as a client would send it."""
    start, count = drawn.randrange(120), drawn.randint(1, 20)
    head = struct.pack(">HH", start, count)
    bits, words = drawn.randbytes((count + 7) // 8), drawn.randbytes(2 * count)
    function = drawn.choice(FUNCTIONS)
    rest = {
        5: struct.pack(">HH", start, drawn.choice((0, 0xFF00))),
        7: b"",
        8: struct.pack(">HH", 0, start),
        11: b"",
        12: b"",
        15: head + bytes((len(bits),)) + bits,
        16: head + bytes((len(words),)) + words,
        17: b"",
        20: struct.pack(">BBHHH", 7, 6, 1, start, count),
        21: struct.pack(">BBHHH", 7 + len(words), 6, 1, start, count) + words,
        22: head + drawn.randbytes(2),
        23: head + head + bytes((len(words),)) + words,
        24: head[:2],
        43: b"\x0e\x01\x00",
        65: words,
        100: bits,
    }
    return bytes((function,)) + rest.get(function, head)


def strange(drawn: random.Random) -> bytes:
    """Any function code and any data, up to and beyond what a PDU may be."""
    return drawn.randbytes(drawn.choice((0, 1, 2, 5, 8, drawn.randrange(253), 252, 253, 254)))


def mutated(drawn: random.Random, data: bytes) -> bytes:
    """With bytes changed, taken away, put in between and said twice."""
    changed = bytearray(data)
    for _ in range(drawn.randint(1, 4)):
        at = drawn.randrange(len(changed) + 1)
        match drawn.randrange(4):
            case 0 if at < len(changed):
                changed[at] ^= 1 << drawn.randrange(8)
            case 1:
                del changed[at : at + drawn.randint(1, 6)]
            case 2:
                changed[at:at] = drawn.randbytes(drawn.randint(1, 6))
            case _:
                changed[at:at] = changed[:at]
    return bytes(changed)


class Fuzzer(threading.Thread):
    """Connects, talks and leaves, again and again until `over`.

    By UDP a visit is a number of datagrams from a port of its own.
    """

    def __init__(
        self, port: int, framing: Framing, seed: str, over: threading.Event, *, udp: bool = False
    ) -> None:
        super().__init__()
        self._port, self._framing, self._over = port, framing, over
        self._type = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        self._drawn = random.Random(seed)
        self.visits = self.heard = 0
        self.malformed: list[bytes] = []  # answers that are no Modbus TCP

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(OSError), socket.socket(type=self._type) as sock:
                sock.settimeout(5)
                sock.connect(("127.0.0.1", self._port))
                self._visit(sock)
            self.visits += 1

    def _visit(self, sock: socket.socket) -> None:
        answers = b""
        deaf = self._drawn.random() < 0.1
        try:
            for _ in range(self._drawn.randint(1, 40)):
                self._say(sock, self._something())
                if not deaf:
                    answers += self._hear(sock)
            self._leave(sock)
        finally:
            self.heard += len(answers)
            if self._framing is mbap:
                self._check(answers)

    def _something(self) -> bytes:
        drawn = self._drawn
        request = self._framing(drawn, drawn.choice(UNITS), proper(drawn))
        match drawn.choices(range(4), (10, 3, 4, 1))[0]:
            case 0:
                return request * drawn.choice((1, 1, 1, 20))  # more at once than may wait
            case 1:
                return mutated(drawn, request)
            case 2:
                return self._framing(drawn, drawn.choice(UNITS), strange(drawn))
        return drawn.randbytes(drawn.randint(1, 300))

    def _say(self, sock: socket.socket, data: bytes) -> None:
        sock.settimeout(5)
        if self._drawn.random() < 0.7:
            sock.sendall(data)
            return
        while data:
            length = self._drawn.randint(1, 12)
            sock.sendall(data[:length])
            data = data[length:]
            self._over.wait(self._drawn.choice((0, 0, 0.001, 0.01)))

    def _hear(self, sock: socket.socket) -> bytes:
        sock.settimeout(self._drawn.choice((0.001, 0.01, 0.05)))
        with suppress(TimeoutError):
            return sock.recv(65536)
        return b""

    def _leave(self, sock: socket.socket) -> None:
        match self._drawn.randrange(4):
            case 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            case 1:
                sock.sendall(self._framing(self._drawn, 1, proper(self._drawn))[:-1])
            case 2:
                sock.shutdown(socket.SHUT_WR)

    def _check(self, answers: bytes) -> None:
        """Whole answers one after the other, but for the last one."""
        while len(answers) >= 6:
            _, protocol, length = struct.unpack(">HHH", answers[:6])
            if protocol or not 3 <= length <= 254:
                self.malformed.append(answers)
                return
            answers = answers[6 + length :]
