"""Device values in the registers of a foreign Modbus TCP server, which goes away and comes back."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from system_kit import Daemon, eventually, modbus_port, table
from upstream_kit import Upstream

from gateway.demo.bus import Bus, only, silent
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers, float_words

EVERY = 0.1  # seconds between two polls


class Counter(Registers):
    """A meter whose holding register 9 is one more each time that it is read."""

    def answer(self, pdu: bytes) -> bytes:
        self.holding[9] += 1
        return super().answer(pdu)


@pytest.fixture
def bus() -> Iterator[Bus]:
    voltage = Registers(inputs=dict(enumerate(float_words(231.5))), coils={3: True})
    line = Bus({1: voltage, 2: Counter(holding={9: 0})}, Wire(baudrate=0))
    with Lines(line):
        yield line


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(free_port()) as server:
        yield server


def config(bus: Bus, upstream: Upstream, push: dict[str, Any], **keys: Any) -> str:
    link = {
        "kind": "modbus-client",
        "connect": f"127.0.0.1:{upstream.tcp_port}",
        "alive": {"holding": 99},
        "liveness": {"detect_within": "3s"},
        "reconnect": {"first": "100ms", "max": "300ms"},
    }
    poll = f"{EVERY * 1000:g}ms"
    return (
        modbus_port("meters", bus.tty, response_timeout="300ms")
        + table("devices.main-meter", port="meters", unit_id=1, poll_interval=poll)
        + table(
            "devices.main-meter.points",
            voltage={"input": 0, "type": "float32"},
            relay={"coil": 3},
        )
        + table("devices.counter", port="meters", unit_id=2, poll_interval=poll)
        + table("devices.counter.points", number={"holding": 9})
        + table("links.plant", **link | keys)
        + table("links.plant.push", **{json.dumps(name): target for name, target in push.items()})
    )


def test_the_newest_values_stand_in_the_server_whenever_it_is_there(bus: Bus, upstream: Upstream) -> None:
    push = {
        "main-meter.voltage": {"holding": 100, "type": "float32"},
        "counter.number": {"holding": 102, "type": "uint32"},
        "main-meter.relay": {"coil": 7},
    }
    meter = bus.slaves[1]
    assert isinstance(meter, Registers)
    with Daemon(config(bus, upstream, push)) as daemon:
        eventually(lambda: daemon.part("links.plant").get("alive"))
        assert upstream.number(100, "FLOAT32") == 231.5
        assert upstream.coil(7)
        upstream.stop()
        gone = daemon.comes_to("links.plant", "waiting")
        assert "connection refused" in gone["reason"] or "closed" in gone["reason"]
        meter.inputs |= dict(enumerate(float_words(99.5)))
        polls = daemon.part("devices.main-meter")["polls"]
        eventually(lambda: daemon.part("devices.main-meter")["polls"] > polls + 3)
        before = len(upstream.taken)
        upstream.start()
        daemon.comes_to("links.plant", "up")
        first = eventually(lambda: [write for write in upstream.taken[before:] if write.address == 100])[0]
        assert len(first.values) == 4  # all that were kept, in one write, and the newest of each
        assert first.values[:2] == float_words(99.5)
        assert upstream.number(100, "FLOAT32") == 99.5

        bus.fault = only(1, silent)
        stopped = eventually(lambda: daemon.part("links.plant")["reason"])
        assert stopped.startswith("not read: main-meter.")
        alive, number = upstream.number(99), upstream.number(102, "UINT32")
        eventually(lambda: upstream.number(102, "UINT32") > number)
        assert upstream.number(99) == alive
        bus.fault = None
        eventually(lambda: upstream.number(99) != alive)


def test_every_sample_arrives_in_its_order_over_an_absence_and_a_kill(bus: Bus, upstream: Upstream) -> None:
    push = {"counter.number": {"holding": 102}}
    keys = {"keep": "all", "timestamp": {"holding": 100, "type": "uint32"}}
    began = time.time()
    with Daemon(config(bus, upstream, push, **keys)) as daemon:
        eventually(lambda: len(upstream.taken) > 10)
        upstream.stop()
        daemon.comes_to("links.plant", "waiting")
        eventually(lambda: daemon.part("links.plant")["buffer"]["records"] > 10)
        kept = daemon.part("links.plant")["buffer"]["records"]
        daemon.kill(signal.SIGKILL)
        daemon.ended()
        daemon.start()
        eventually(lambda: daemon.part("links.plant")["buffer"]["records"] > kept + 5)
        upstream.start()
        eventually(lambda: daemon.part("links.plant")["buffer"]["records"] == 0)
        assert daemon.stop() == 0
    values = [write.values for write in upstream.taken if write.address == 100]
    numbers = [number for _, _, number in values]
    times = [high << 16 | low for high, low, _ in values]
    assert numbers == sorted(numbers)
    assert len(numbers) - len(set(numbers)) <= 1  # the write whose answer was lost when the server stopped
    lost = set(range(numbers[0], numbers[-1])) - set(numbers)
    assert len(lost) <= 3, lost  # of the 100 ms before the kill, and what was asked for in that moment
    assert times == sorted(times)
    assert began - 1 <= times[0] <= times[-1] <= time.time() + 1
