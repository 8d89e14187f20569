"""Who talks to the gateway: a Modbus TCP client that may misbehave, mosquitto, and a subscriber."""

import os
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

from system_kit import PATIENCE, eventually

from gateway.demo.gatewayd import free_port

USER, PASSWORD = "site7", "correct horse"

# ---------------------------------------------------------------- Modbus TCP


class Answer(NamedTuple):
    tid: int
    unit: int
    pdu: bytes


class Scada:
    """A Modbus TCP client that can also send what no client should."""

    def __init__(self, port: int, *, tid: int = 1) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self.sock.makefile("rb")
        self._tid = tid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, unit: int, pdu: str, *, tid: int | None = None) -> int:
        """Sends it and does not wait; its transaction id."""
        self._tid += tid is None
        number = self._tid if tid is None else tid
        self.send(adu(number, unit, bytes.fromhex(pdu)))
        return number

    def answer(self) -> Answer | None:
        """The next one; None when the connection was closed."""
        try:
            head = self._file.read(7)
            if not head:
                return None
            tid, protocol, length, unit = struct.unpack(">HHHB", head)
            assert protocol == 0
            return Answer(tid, unit, self._file.read(length - 1))
        except ConnectionResetError:
            return None

    def ask(self, unit: int, pdu: str) -> str:
        """The answer to this request, both as hexadecimal digits."""
        tid = self.request(unit, pdu)
        answer = self.answer()
        assert answer is not None, "the connection was closed"
        assert answer[:2] == (tid, unit)
        return answer.pdu.hex(" ")


def adu(tid: int, unit: int, pdu: bytes) -> bytes:
    """MODBUS Messaging on TCP/IP V1.0b, 3.1.3."""
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


# ---------------------------------------------------------------- the broker


class Message(NamedTuple):
    topic: str
    retained: bool
    properties: dict[str, str]  # the user properties
    payload: bytes


class Broker:
    """mosquitto with persistence, on a port of its own. With a password only USER may connect.

    `more` are lines of its config: other listeners.
    """

    def __init__(self, password: str = "", *more: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        folder = Path(self._folder.name)
        self._file = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence true", "max_queued_messages 0"]
        lines += [f"persistence_location {folder}/", f"allow_anonymous {'false' if password else 'true'}"]
        if password:
            lines.append(f"password_file {folder}/passwords")
            command = ["mosquitto_passwd", "-b", "-c", f"{folder}/passwords", USER, password]
            subprocess.run(command, check=True, capture_output=True)
        self._file.write_text("\n".join([*lines, *more]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        command = ["mosquitto", "-c", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto does not start"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """It keeps what its subscribers have not got yet."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It hangs: the kernel still takes for it what comes, and it answers nothing. Until `stop`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def publish(self, topic: str, payload: str, *options: str) -> None:
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1"]
        subprocess.run([*command, "-t", topic, "-m", payload, *options], check=True, timeout=PATIENCE)


class Subscriber:
    """mosquitto_sub with a persistent session: what comes while it is away, it gets later."""

    def __init__(self, broker: Broker, *options: str) -> None:
        self._broker, self._options = broker, options
        self._messages: list[Message] = []
        self._rest = b""

    def __enter__(self) -> Self:
        self._broker.publish("probe", "here", "-r", *self._options)
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self._broker.port), "-V", "mqttv5"]
        command += ["-q", "1", "-c", "-i", f"subscriber-{id(self)}", "-t", "#", "-F", r"%t\t%r\t%P\t%x"]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        eventually(lambda: self.on("probe"))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._out.close()

    def on(self, topic: str) -> list[Message]:
        """Everything that came on that topic, oldest first."""
        self._rest += self._out.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        self._messages += [_message(line.decode()) for line in lines]
        return [message for message in self._messages if message.topic == topic]

    def last_on(self, topic: str) -> bytes:
        """The payload that came last; empty before any."""
        messages = self.on(topic)
        return messages[-1].payload if messages else b""


def _message(line: str) -> Message:
    topic, retained, properties, payload = line.split("\t", 3)
    pairs = (pair.partition(":") for pair in properties.split(" ") if pair)
    return Message(topic, retained == "1", {key: value for key, _, value in pairs}, bytes.fromhex(payload))
