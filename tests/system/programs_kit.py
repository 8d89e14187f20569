"""What can stand in the gateway's place in the lab: gatewayd, ser2net, and a client made of plain paho.

gatewayd is asked for its status. Of the others, as of any program, the kernel knows which connections are
left.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deaths_kit import Case, Death, Found, config
from ends_kit import Plant
from system_kit import Daemon, eventually
from wires_kit import Host, Wires

_OLD_KERNEL = (sys.executable, str(Path(__file__).with_name("old_kernel.py")))
_PAHO = """
import json, sys, threading, time
import paho.mqtt.client as paho

def publishes(client):
    while True:
        client.publish("lab/steady", "12.5 kg", 1)
        time.sleep(0.1)

clients = {}
for host, port, traffic in json.loads(sys.stdin.readline()):
    client = clients[port] = paho.Client(paho.CallbackAPIVersion.VERSION2)
    if traffic == "peer sends only":
        client.on_connect = lambda client, *_: client.subscribe("lab/port/quiet/tx")
    client.connect(host, port)
    client.loop_start()
    if traffic == "steady":
        threading.Thread(target=publishes, args=(client,), daemon=True).start()
for line in sys.stdin:
    clients[int(line)].publish("lab/late", "late", 1)
"""


class ByStatus:
    """A Program: what gatewayd itself says, as `gatewayctl --json status` has it."""

    def __init__(self, daemon: Daemon, plant: Plant) -> None:
        self._daemon = daemon
        self.write = plant.say
        self.look()

    def look(self) -> None:
        self._links: dict[str, Any] = self._daemon.status()["links"]
        self.at = time.time()

    def up_since(self, case: Case, caller: str, /) -> float | None:
        link = self._links[case.name]
        if case.kind.dials:
            return _seconds(link["since"]) if link["state"] == "up" else None
        return self.at if caller in [peer["address"] for peer in link["peers"]] else None

    def heard(self, case: Case, /) -> bool:
        return bool(self._links[case.name]["peers"][0]["rx_bytes"])

    def found(self, case: Case, caller: str, cut: float, /) -> Found | None:
        link = self._links[case.name]
        if case.death is Death.CONNECT:
            refused = "no answer" in link["reason"]
            return Found(self.at - cut, link["reason"], None) if refused else None
        if case.kind.dials:
            death = link["last_death"]
            return death and Found(_seconds(death["at"]) - cut, death["reason"], death["detected_after_s"])
        left = None if self.up_since(case, caller) else self._left(caller)
        return Found(self.at - cut, left, None) if left else None

    def _left(self, caller: str) -> str | None:
        """Why, as the log has it."""
        found = re.search(f"{re.escape(caller)} left: (.*)", self._daemon.log)
        return found[1] if found else None


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


class ByKernel:
    """A Program: which connections there are. What it thinks of them nobody knows."""

    def __init__(self, host: Host, write: Callable[[Case], None]) -> None:
        self._host, self.write = host, write
        self._first: dict[Case, tuple[int, int]] = {}
        self.look()

    def look(self) -> None:
        self._flows = self._host.flows()
        self.at = time.time()

    def up_since(self, case: Case, caller: str, /) -> float | None:
        flow = next((flow for flow in self._flows if case.port in flow), None)
        if flow is None:
            return None
        self._first.setdefault(case, flow)
        return self.at

    def heard(self, case: Case, /) -> bool:
        return True

    def found(self, case: Case, caller: str, cut: float, /) -> Found | None:
        return None if self._first[case] in self._flows else Found(self.at - cut, "", None)


@contextmanager
def gatewayd(
    cases: list[Case], wires: Wires, plant: Plant, *, old_kernel: bool = False
) -> Iterator[ByStatus]:
    before = (*wires.gateway.before, *(_OLD_KERNEL if old_kernel else ()))
    with Daemon(config(cases, plant.ttys), before=before) as daemon:
        yield ByStatus(daemon, plant)


@contextmanager
def ser2net(cases: list[Case], wires: Wires, plant: Plant) -> Iterator[ByKernel]:
    """As Debian has it: keep-alive is on, and the kernel's."""
    text = "%YAML 1.1\n---\n"
    for case in cases:
        text += f"connection: &{case.name}\n  accepter: tcp,0.0.0.0,{case.port}\n"
        text += f"  connector: serialdev(nouucplock=true),{plant.tty(case)},9600n81,local\n"
    with TemporaryDirectory(prefix="ser2net-") as folder:
        file = Path(folder) / "ser2net.yaml"
        file.write_text(text)
        with _running(wires.gateway, "ser2net", "-n", "-u", "-c", str(file)):
            eventually(lambda: {case.port for case in cases} <= wires.gateway.listening())
            yield ByKernel(wires.gateway, plant.say)


@contextmanager
def plain_paho(cases: list[Case], wires: Wires, plant: Plant) -> Iterator[ByKernel]:
    """Everything as it is by default: a keep-alive of 60 s."""
    with _running(wires.gateway, sys.executable, "-c", _PAHO) as process:
        _tell(process, json.dumps([(case.far, case.port, case.traffic) for case in cases]))
        yield ByKernel(wires.gateway, lambda case: _tell(process, case.port))


def _tell(process: subprocess.Popen[bytes], line: object) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()


@contextmanager
def _running(host: Host, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        [*host.before, *command], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
    ) as process:
        try:
            yield process
        finally:
            process.kill()
