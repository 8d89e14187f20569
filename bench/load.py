"""The clients: they keep the gateway busy, check each answer, and must not be the bottleneck themselves.

One selector loop each, plain sockets, requests and expected answers made beforehand.
"""

import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import quantiles

from gateway.demo.registers import Registers

from .simulator import Flow, pattern

COUNT = 10  # registers that each request reads
REQUEST, ANSWER = 8, 5 + 2 * COUNT  # characters on the wire: FC 3 with unit and CRC
ALL_OVER = range(0, 256 - COUNT, 7)  # where reads begin, so that nobody else wants the same


def unit_registers(unit: int) -> Registers:
    """Each value tells its unit and its address, so that no answer can pass for another."""
    return Registers(holding={address: unit << 8 | address for address in range(256)})


def _questions(unit: int, starts: Iterable[int]) -> list[tuple[bytes, bytes]]:
    """What follows the transaction id of request and answer: protocol, length, unit, PDU."""
    questions = []
    for start in starts:
        words = [unit << 8 | start + offset for offset in range(COUNT)]
        question = struct.pack(">HHBBHH", 0, 6, unit, 3, start, COUNT)
        answer = struct.pack(f">HHBBB{COUNT}H", 0, 3 + 2 * COUNT, unit, 3, 2 * COUNT, *words)
        questions.append((question, answer))
    return questions


@dataclass
class Answers:
    """What came back within one run."""

    times: list[float] = field(default_factory=list)  # of each good answer, monotonic
    waits: list[float] = field(default_factory=list)  # seconds from request to answer
    wrong: int = 0  # not the answer to the question, exceptions not counted
    exceptions: dict[int, int] = field(default_factory=dict)  # by code

    @property
    def per_second(self) -> float:
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0

    @property
    def percentiles(self) -> tuple[float, float]:
        """p50 and p99 of the waits, in seconds."""
        return percentiles(self.waits)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(values, n=100) if len(values) > 1 else [0.0] * 99
    return cuts[49], cuts[98]


@dataclass(frozen=True, kw_only=True)
class Asker:
    """One connection, and what it reads of one unit."""

    unit: int
    host: str = "127.0.0.1"  # from where it comes
    starts: Sequence[int] = ALL_OVER  # of its reads, in turn
    pipelined: int = 1  # requests that it has under way at once
    every: float = 0.0  # seconds from one request to the next; 0: as soon as it is answered


class _Client:
    """An asker at work."""

    def __init__(self, port: int, asker: Asker) -> None:
        self.socket = connect(port, asker.host)
        self.answers = Answers()
        self._questions = _questions(asker.unit, asker.starts)
        self._every = asker.every
        self._turn = 0
        self._buffer = b""
        self._asked: dict[bytes, tuple[bytes, float]] = {}  # by transaction id: the answer, and since when
        self._next = 0.0  # when it may ask again

    @property
    def due(self) -> float | None:
        """When it wants to ask next; None while it waits for an answer."""
        return None if self._asked else self._next

    def ask(self) -> None:
        question, answer = self._questions[self._turn % len(self._questions)]
        transaction = struct.pack(">H", self._turn & 0xFFFF)
        self._turn += 1
        now = time.monotonic()
        self._asked[transaction] = transaction + answer, now
        self._next = now + self._every
        self.socket.send(transaction + question)

    def hear(self) -> int:
        """How many questions are settled."""
        data = self.socket.recv(4096)
        if not data:
            raise ConnectionError("the gateway closed a client's connection")
        self._buffer += data
        settled = 0
        while len(self._buffer) >= 9 and len(self._buffer) >= (size := 6 + self._buffer[5]):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            self._judge(frame)
            settled += 1
        return settled

    def _judge(self, frame: bytes) -> None:
        answers = self.answers
        expected, since = self._asked.pop(frame[:2], (b"", 0.0))
        if frame == expected:
            now = time.monotonic()
            answers.times.append(now)
            answers.waits.append(now - since)
        elif expected and len(frame) == 9 and frame[7] & 0x80:
            answers.exceptions[frame[8]] = answers.exceptions.get(frame[8], 0) + 1
        else:
            answers.wrong += 1


def one_each(count: int) -> list[Asker]:
    """So many, each with a unit of its own from 1 on."""
    return [Asker(unit=unit) for unit in range(1, count + 1)]


class ModbusLoad:
    """Modbus TCP clients that keep a gateway busy."""

    def __init__(self, port: int, askers: Iterable[Asker]) -> None:
        self._selector = selectors.DefaultSelector()
        self._clients: list[_Client] = []
        self._slow: list[_Client] = []  # those that ask by the clock
        for asker in askers:
            client = _Client(port, asker)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._clients.append(client)
            if asker.every:
                self._slow.append(client)
            for _ in range(asker.pipelined):
                client.ask()

    def run(self, seconds: float, most: int | None = None) -> Answers:
        """Answers of the next `seconds`, or the next `most` ones and those that came with them."""
        answers = Answers()
        for client in self._clients:
            client.answers = answers
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline and (most is None or len(answers.times) < most):
            self._step(now, deadline)
        return answers

    def run_each(self, seconds: float) -> list[Answers]:
        """The answers that each asker gets in the next `seconds`."""
        for client in self._clients:
            client.answers = Answers()
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            self._step(now, deadline)
        return [client.answers for client in self._clients]

    def _step(self, now: float, deadline: float) -> None:
        for client in self._slow:
            if (due := client.due) is not None:
                if due <= now:
                    client.ask()
                else:
                    deadline = min(deadline, due)
        for key, _ in self._selector.select(deadline - now):
            client = key.data
            settled = client.hear()
            if client not in self._slow:
                for _ in range(settled):
                    client.ask()

    def close(self) -> None:
        for client in self._clients:
            client.socket.close()
        self._selector.close()


class RawLoad:
    """One connection to each of `ports`; each sends the pattern, if it is to, and checks what comes."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._sockets = [connect(port) for port in ports]
        self._selector = selectors.DefaultSelector()
        self.flows = [Flow() for _ in self._sockets]
        for number, connection in enumerate(self._sockets):
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, number)

    def run(self, seconds: float, *, rate: float | None = 0.0) -> float:
        """Sends `rate` bytes a second on each (None: as fast as it goes, 0: nothing). The seconds it took."""
        self._watch(selectors.EVENT_READ | (selectors.EVENT_WRITE if rate is None else 0))
        base = [flow.sent for flow in self.flows]
        start = now = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            if rate:
                for number, flow in enumerate(self.flows):
                    self._send(number, base[number] + int((now - start) * rate) - flow.sent)
            for key, events in self._selector.select(0.002 if rate else start + seconds - now):
                if events & selectors.EVENT_READ:
                    self._receive(key.data)
                if events & selectors.EVENT_WRITE:
                    self._send(key.data, 65536)
        return now - start

    def drain(self, expected: Sequence[int]) -> None:
        """Until `expected` bytes have come on each, or nothing more comes for a second."""
        self._watch(selectors.EVENT_READ)
        while any(flow.received < count for flow, count in zip(self.flows, expected, strict=True)):
            ready = self._selector.select(1.0)
            if not ready:
                return
            for key, _ in ready:
                self._receive(key.data)

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()
        self._selector.close()

    def _watch(self, events: int) -> None:
        for number, connection in enumerate(self._sockets):
            self._selector.modify(connection, events, number)

    def _receive(self, number: int) -> None:
        data = self._sockets[number].recv(65536)
        if not data:
            raise ConnectionError("the gateway closed a raw connection")
        self.flows[number].check(data)

    def _send(self, number: int, count: int) -> None:
        flow = self.flows[number]
        if count > 0:
            try:
                flow.sent += self._sockets[number].send(pattern(flow.sent, min(count, 65536)))
            except BlockingIOError:
                return


def echo(port: int, count: int) -> tuple[float, float]:
    """p50 and p99 in seconds of one byte there and back, `count` times."""
    with connect(port) as connection:
        _answered(connection)
        connection.settimeout(None)  # with one, each recv would be two system calls
        waits = []
        for number in range(count):
            byte = bytes((number & 0xFF,))
            start = time.monotonic()
            connection.send(byte)
            if connection.recv(16) != byte:
                raise ConnectionError("the echo is not what was sent")
            waits.append(time.monotonic() - start)
        return percentiles(waits[count // 10 :])


def _answered(connection: socket.socket) -> None:
    """Until the line is open: what comes before is dropped. TimeoutError after 5 s."""
    deadline = time.monotonic() + 5
    connection.settimeout(0.1)
    while True:
        connection.send(b"?")
        with suppress(TimeoutError):
            connection.recv(16)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("nothing comes back")


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """To 127.0.0.1 from `host`, at once and with a deadline for all; it may still be about to listen."""
    deadline = time.monotonic() + 5
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(host, 0))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
