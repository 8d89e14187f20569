"""The main job, end to end: a Modbus bus and two raw instruments reach SCADA and a broker.

The peers are foreign programs (mbpoll, mosquitto and its clients); the lines are simulated and keep the time
of a wire.
"""

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from peers_kit import Broker, Message, Scada, Subscriber
from system_kit import PATIENCE, Daemon, eventually, modbus_port, modbus_server, mqtt, raw_port, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers, float_words
from gateway.demo.scale import Scale, number_of

pytestmark = pytest.mark.needs("mosquitto")

VOLTAGE = 231.5  # of unit 1; unit 2 has one more


@dataclass
class Plant:
    """What is connected to the gateway on either side."""

    meters: dict[int, Registers]
    bus: Bus
    scale: Scale  # may be written to through MQTT
    printer: Scale  # may not
    scada: int  # TCP port
    broker: Broker
    subscriber: Subscriber
    daemon: Daemon

    def states(self) -> list[dict[str, object]]:
        return [json.loads(message.payload) for message in self.subscriber.on("plant/status")]

    def is_online(self) -> bool:
        """The gateway has subscribed, too: that comes first."""
        up = self.daemon.part("links.cloud")["state"] == "up"
        return up and self.states()[-1:] != [] and self.states()[-1]["state"] == "online"

    def lines(self) -> list[Message]:
        """What the scale printed, as it came; its acknowledgements left out."""
        messages = self.subscriber.on("plant/port/scale/rx")
        return [each for each in messages if number_of(each.payload) is not None]


def number(message: Message) -> int:
    """Of the line that it carries."""
    found = number_of(message.payload)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    meters = {unit: meter(VOLTAGE + unit - 1) for unit in (1, 2)}
    bus, scale, printer = Bus(meters, Wire(baudrate=19200)), Scale(0.1), Scale(0.1, printing=False)
    port = free_port()
    with Lines(bus, scale, printer), Broker() as broker, Subscriber(broker) as subscriber:
        config = (
            modbus_port("meters", bus.tty)
            + raw_port("scale", scale.tty)
            + raw_port("printer", printer.tty)
            + modbus_server("scada", port, port="meters")
            + mqtt("cloud", broker.port, prefix="plant", allow_tx=["scale"])
            + table("devices.main-meter", port="meters", unit_id=1, poll_interval="500ms")
            + table("devices.main-meter.points", voltage={"input": 0, "type": "float32", "unit": "V"})
        )
        with Daemon(config) as daemon:
            for name in ("ports.meters", "ports.scale", "ports.printer"):
                daemon.comes_to(name, "open")
            yield Plant(meters, bus, scale, printer, port, broker, subscriber, daemon)


def meter(voltage: float) -> Registers:
    return Registers(inputs=dict(enumerate(float_words(voltage))), holding=dict.fromkeys(range(10), 7))


def mbpoll(plant: Plant, *options: str) -> str:
    command = ["mbpoll", "-m", "tcp", "-p", str(plant.scada), "-0", "-1", "-q", *options]
    done = subprocess.run([*command, "127.0.0.1"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def from_mbpoll(printed: str) -> list[str]:
    """The values of "[0]: \t231.5" and the like."""
    return [line.partition(":")[2].strip() for line in printed.splitlines() if line.startswith("[")]


@pytest.mark.needs("mbpoll")
def test_a_foreign_modbus_client_reads_the_right_values_of_each_unit(plant: Plant) -> None:
    for unit in plant.meters:
        read = mbpoll(plant, "-a", str(unit), "-t", "3:float", "-B", "-r", "0")
        assert from_mbpoll(read) == [f"{VOLTAGE + unit - 1:g}"]


@pytest.mark.needs("mbpoll")
def test_a_foreign_modbus_client_writes_through_to_the_device(plant: Plant) -> None:
    command = ["mbpoll", "-m", "tcp", "-p", str(plant.scada), "-0", "-q", "-a", "2", "-r", "5"]
    done = subprocess.run([*command, "127.0.0.1", "4711", "815"], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout
    assert [plant.meters[2].holding[address] for address in (4, 5, 6, 7)] == [7, 4711, 815, 7]
    assert from_mbpoll(mbpoll(plant, "-a", "2", "-t", "4", "-r", "5", "-c", "2")) == ["4711", "815"]


def test_all_it_asks_keeps_the_rules_of_the_bus(plant: Plant) -> None:
    with Scada(plant.scada) as scada:
        for unit in (1, 2) * 10:
            assert scada.ask(unit, "04 0000 0002").startswith("04 04 43")
    seen = plant.bus.count
    assert (seen.bad_crc, seen.overlaps, seen.pauses) == (0, 0, 0)


def test_each_line_of_the_scale_is_a_message_with_its_number_and_time(plant: Plant) -> None:
    lines = eventually(lambda: plant.lines()[3:])
    for before, after in pairwise(lines):
        assert number(after) == number(before) + 1
        assert int(after.properties["seq"]) > int(before.properties["seq"])
        assert after.properties["ts"] > before.properties["ts"]
    assert lines[0].properties["ts"].endswith("Z")
    assert not lines[0].payload.endswith(b"\r")


def test_polled_values_are_json_with_seq_and_time(plant: Plant) -> None:
    messages = eventually(lambda: plant.subscriber.on("plant/device/main-meter/state")[2:])
    states = [json.loads(message.payload) for message in messages]
    assert all(state["values"] == {"voltage": VOLTAGE} for state in states)
    assert all(after["seq"] == before["seq"] + 1 for before, after in pairwise(states))
    assert all(after["ts"] > before["ts"] for before, after in pairwise(states))
    assert plant.subscriber.last_on("plant/device/main-meter/available") == b"online"


def test_who_comes_later_finds_the_status_retained(plant: Plant) -> None:
    eventually(plant.is_online)
    with Subscriber(plant.broker) as latecomer:
        status = eventually(lambda: latecomer.on("plant/status"))
        assert status[0].retained
        assert json.loads(status[0].payload)["state"] == "online"


def test_a_message_reaches_the_line_that_permits_it_and_no_other(plant: Plant) -> None:
    eventually(plant.is_online)
    plant.broker.publish("plant/port/printer/tx", "T\r\n")
    plant.broker.publish("plant/port/scale/tx", "T\r\n")
    eventually(lambda: plant.scale.commands)
    assert plant.scale.commands == [b"T"]
    assert plant.printer.commands == []
    eventually(
        lambda: [each for each in plant.subscriber.on("plant/port/scale/rx") if each.payload == b"OK,T"]
    )


def test_what_the_line_says_while_the_broker_is_away_arrives_afterwards_in_order(plant: Plant) -> None:
    plant.daemon.comes_to("links.cloud", "up")
    plant.broker.stop()
    plant.daemon.comes_to("links.cloud", "waiting")
    printed = plant.scale.printed
    eventually(lambda: plant.scale.printed >= printed + 5)
    plant.broker.start()
    last = plant.scale.printed
    eventually(lambda: number(plant.lines()[-1]) >= last)
    unique = {int(message.properties["seq"]): message for message in plant.lines()}
    numbers = [number(message) for message in unique.values()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert list(unique) == sorted(unique)
    assert len(plant.lines()) - len(unique) <= 5  # only what was on its way may come twice
    assert plant.daemon.part("links.cloud")["buffer"]["dropped"] == 0


def test_a_retained_command_is_written_when_it_is_sent_and_never_again(plant: Plant) -> None:
    eventually(plant.is_online)
    plant.broker.publish("plant/port/scale/tx", "Z\r\n", "-r")
    eventually(lambda: b"Z" in plant.scale.commands)
    plant.broker.stop()
    plant.daemon.comes_to("links.cloud", "waiting")
    plant.broker.start()
    eventually(lambda: "it was retained" in plant.daemon.log)
    plant.broker.publish("plant/port/scale/tx", "Q\r\n")
    eventually(lambda: plant.scale.commands[-1] == b"Q")
    assert plant.scale.commands.count(b"Z") == 1


def test_whom_it_dials_gets_what_the_line_said_before_he_was_there() -> None:
    scale, port = Scale(0.05), free_port()
    soon = {"first": "100ms", "max": "200ms"}
    config = raw_port("scale", scale.tty) + table(
        "links.far", kind="tcp", connect=f"127.0.0.1:{port}", port="scale", reconnect=soon
    )
    with Lines(scale), Daemon(config) as daemon:
        eventually(lambda: daemon.part("ports.scale")["rx_bytes"] > 200)
        kept = scale.printed - 1  # the newest may be on its way still
        assert daemon.part("links.far")["reason"].startswith(f"127.0.0.1:{port}: connection refused")
        with socket.create_server(("127.0.0.1", port)) as far:
            far.settimeout(PATIENCE)
            connection, _ = far.accept()
            with connection, connection.makefile("rb") as lines:
                connection.settimeout(PATIENCE)
                lines.readline()  # the gateway may have come in the middle of the first
                numbers = [number_of(lines.readline()) or 0 for _ in range(kept + 10)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] <= kept


def test_when_it_ends_the_broker_knows(plant: Plant) -> None:
    """The last of this file: the daemon is gone afterwards."""
    plant.daemon.comes_to("links.cloud", "up")
    assert plant.daemon.stop() == 0
    eventually(lambda: plant.states()[-1] == {"state": "offline", "reason": "stopped"})
