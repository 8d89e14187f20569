"""mosquitto, which may end in any way, and a witness behind it who knows all that it has acknowledged."""

import json
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from accounts_kit import Arrival, Ledger
from ledger_kit import Stage, stage
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from system_kit import PATIENCE, eventually, mqtt, raw_port
from wires_kit import FAR, Wires

from gateway.demo.gatewayd import free_port

LOCAL = "127.0.0.1"
LINK = "links.cloud"
EVERY = 0.001  # seconds from one line to the next


class Broker:
    """mosquitto, which remembers nothing, and its witness.

    It writes a message to a subscriber at QoS 0 before it acknowledges it, and queues without bound: what it
    has acknowledged has been given to whoever was there, however it ends.
    """

    def __init__(self, port: int, address: str = LOCAL, before: Sequence[str] = ()) -> None:
        self.port = port
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._door = Path(self._folder.name) / "door"  # the witness need not be on the same network
        file = Path(self._folder.name) / "mosquitto.conf"
        lines = ["user root", "allow_anonymous true", "max_queued_messages 0"]
        lines += [f"listener {port} {address}", f"listener 0 {self._door}"]
        file.write_text("\n".join(lines) + "\n")
        self._command = [*before, "mosquitto", "-c", str(file)]
        self._process: subprocess.Popen[bytes] | None = None
        self.witness = Witness(self._door)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)
        self._folder.cleanup()

    def start(self) -> None:
        """The witness is there when this returns; whoever must not be earlier should sleep meanwhile."""
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
        eventually(self._opens)
        self.witness.attend()

    def _opens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._door)) == 0

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """By that signal."""
        assert self._process is not None
        self.tell(number)
        self._process.wait(PATIENCE)
        self._process = None
        self.witness.leave()


class Witness:
    """A subscriber, played by paho, who hears everything from `attend` until the broker ends."""

    def __init__(self, door: Path) -> None:
        self._door = door
        self._payloads: list[bytes] = []
        self._subscribed, self._gone = threading.Event(), threading.Event()
        self._client: Client | None = None

    def attend(self) -> None:
        """Until he has subscribed."""
        self._subscribed.clear()
        self._gone.clear()
        client = Client(CallbackAPIVersion.VERSION2, transport="unix", reconnect_on_failure=False)
        client.on_connect = lambda client, *_: client.subscribe("+/port/+/rx")
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._heard
        client.on_disconnect = lambda *_: self._gone.set()
        client.connect(str(self._door))
        client.loop_start()
        self._client = client
        assert self._subscribed.wait(PATIENCE)

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        """In paho's thread."""
        self._payloads.append(message.payload)

    def leave(self) -> None:
        """The broker has ended: until all that it wrote has been read."""
        if self._client is not None:
            assert self._gone.wait(PATIENCE)
            self._client.loop_stop()

    @property
    def count(self) -> int:
        return len(self._payloads)

    def arrivals(self) -> list[Arrival]:
        return [_arrival(json.loads(payload)) for payload in list(self._payloads)]


def _arrival(told: dict[str, Any]) -> Arrival:
    at = datetime.fromisoformat(told["ts"]).timestamp()
    return Arrival("port/source", told["seq"], at, int(told["text"].removeprefix("N")))


@contextmanager
def witnessed(
    buffer: dict[str, str], wires: Wires | None = None, before: Sequence[str] = (), **environment: str
) -> Iterator[tuple[Stage, Broker]]:
    """gatewayd with one link, LINK, to a broker, here or at the far end of `wires`. Lines get there.

    `before` is a command that runs gatewayd, if it has no host on the wires.
    """
    port, address = (10_000, FAR) if wires else (free_port(), LOCAL)
    link = mqtt(
        "cloud",
        port,
        connect=f"mqtt://{address}:{port}",
        prefix="ledger",
        payload="json",
        liveness={"detect_within": "3s"},
        buffer=buffer,
    )
    config = raw_port("source", "{tty}") + link
    near, far = (wires.gateway.before, wires.far.before) if wires else (before, ())
    with Broker(port, address, far) as broker, stage(EVERY, config, LINK, near, **environment) as started:
        eventually(lambda: broker.witness.count > 50)
        yield started, broker


def closed(stage: Stage, broker: Broker, outages: int) -> Ledger:
    """The books, when the line is silent and everything has arrived that will."""
    stage.end()
    source, witness = stage.source, broker.witness
    last = max(source.said_at.keys() - source.excused)
    eventually(lambda: any(arrival.number == last for arrival in witness.arrivals()))
    return Ledger(source.said_at, source.excused, witness.arrivals(), stage.deaths + outages)
