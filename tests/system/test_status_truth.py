"""What the daemon says of itself: the record has the shape of the interface page, and it is true."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from peers_kit import Broker, Scada
from record_kit import LINKS, RECORD, TEXT, WHEN, misfits
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, raw_port, table

from gateway import __version__
from gateway.demo.bus import Bus, with_crc
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale

READ = "03 0000 0001"


@dataclass
class Plant:
    """Everything at work, each kind and mode once."""

    bus: Bus
    scale: Scale
    scada: Scada
    daemon: Daemon


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    bus, scale = Bus({1: Registers(holding={0: 7})}, Wire(baudrate=19200)), Scale(0.1)
    with ExitStack() as stack:
        stack.enter_context(Lines(bus, scale))
        broker = stack.enter_context(Broker())
        far = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports = free_port(), free_port()
        config = (
            table("gateway", name="pump-house-7")
            + modbus_port("meters", bus.tty)
            + raw_port("scale", scale.tty)
            + modbus_server("scada", ports[0], port="meters")
            + table("links.console", kind="tcp", listen=f"127.0.0.1:{ports[1]}", port="scale")
            + table("links.far", kind="tcp", connect=f"127.0.0.1:{far.getsockname()[1]}", port="scale")
            + mqtt("cloud", broker.port)
            + table("devices.meter", port="meters", unit_id=1, poll_interval="200ms")
            + table("devices.meter.points", count={"holding": 0, "type": "uint16"})
        )
        daemon = stack.enter_context(Daemon(config))
        scada = stack.enter_context(Scada(ports[0]))
        stack.enter_context(socket.create_connection(("127.0.0.1", ports[1])))
        eventually(lambda: daemon.ctl("status", "--strict").returncode == 0)
        eventually(lambda: all(link["peers"] for link in daemon.status()["links"].values()))
        yield Plant(bus, scale, scada, daemon)


pytestmark = pytest.mark.needs("mosquitto")


def test_the_record_has_the_shape_of_the_interface(plant: Plant) -> None:
    assert list(misfits(plant.daemon.status(), RECORD)) == []


def test_the_record_says_who_and_what_runs(plant: Plant) -> None:
    gateway = plant.daemon.status()["gateway"]
    assert (gateway["name"], gateway["version"]) == ("pump-house-7", __version__)
    assert (gateway["pid"], gateway["config"]) == (plant.daemon.pid, str(plant.daemon.file))
    assert gateway["state"] == "ok"
    record = plant.daemon.status()
    assert {name: port["state"] for name, port in record["ports"].items()} == {
        "meters": "open",
        "scale": "open",
    }
    assert [record["links"][name]["state"] for name in LINKS] == ["listening", "listening", "up", "up"]
    assert record["devices"]["meter"]["state"] == "ok"


def test_what_is_counted_is_what_was_on_the_wire(plant: Plant) -> None:
    before, seen = plant.daemon.part("ports.meters"), plant.bus.count.requests
    peer = plant.daemon.part("links.scada")["peers"][0]
    for _ in range(10):
        assert plant.scada.ask(1, READ) == "03 02 00 07"
    assert plant.scada.ask(1, "03 0001 0001") == "83 02"
    after = plant.daemon.part("ports.meters")
    polls = plant.bus.count.requests - seen - 11  # the device's own
    assert 0 <= polls <= 5
    unit = {key: after["units"]["1"][key] - before["units"]["1"][key] for key in ("requests", "answers")}
    assert 11 <= unit["answers"] <= unit["requests"] <= 11 + polls + 1
    assert after["errors"]["exceptions"] == before["errors"]["exceptions"] + 1
    assert after["tx_bytes"] - before["tx_bytes"] == 8 * unit["requests"]
    now = plant.daemon.part("links.scada")["peers"][0]
    assert now["requests"] == peer["requests"] + 11
    assert (now["rx_bytes"] - peer["rx_bytes"], now["tx_bytes"] - peer["tx_bytes"]) == (11 * 12, 10 * 11 + 9)
    assert plant.daemon.part("devices.meter")["values"] == {"count": 7}


def test_gatewayctl_prints_the_record_for_programs(plant: Plant) -> None:
    for arguments in (["--json", "status"], ["status", "--json"], ["--json", "st"]):
        done = plant.daemon.ctl(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert list(misfits(json.loads(done.stdout), RECORD)) == []
    one = json.loads(plant.daemon.ctl("--json", "status", "scale").stdout)
    assert (list(one["ports"]), one["links"], one["devices"]) == (["scale"], {}, {})


def test_gatewayctl_draws_all_that_there_is(plant: Plant) -> None:
    done = plant.daemon.ctl("status")
    assert done.returncode == 0
    assert done.stdout.startswith("pump-house-7: ok, all 7 up; ")
    for name in ("meters", "scale", "scada", "console", "far", "cloud", "meter"):
        assert f"\n  {name} " in done.stdout
        assert name in plant.daemon.ctl("status", name).stdout


def test_strict_tells_by_its_exit_code_whether_all_is_up(plant: Plant) -> None:
    daemon = plant.daemon
    good = daemon.file.read_text()
    assert daemon.ctl("status", "--strict").returncode == 0
    try:
        daemon.file.write_text(good + raw_port("lost", "/dev/no-such-tty"))
        assert daemon.ctl("reload").returncode == 0
        daemon.comes_to("ports.lost", "waiting")
        assert daemon.ctl("status").returncode == 0
        assert daemon.ctl("status", "--strict").returncode == 1
        assert daemon.ctl("status", "lost", "--strict").returncode == 1
        assert daemon.ctl("status", "scada", "--strict").returncode == 0
        assert daemon.status()["gateway"]["state"] == "degraded"
    finally:
        daemon.file.write_text(good)
        daemon.ctl("reload")


def test_a_name_that_nobody_has_and_a_socket_that_nobody_has(plant: Plant) -> None:
    done = plant.daemon.ctl("status", "metres")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ('gatewayctl: no port, link or device is called "metres"; did you mean "meters"?\n')
    assert plant.daemon.ctl("--socket", str(plant.daemon.folder / "none"), "status").returncode == 3


def test_a_trace_shows_the_bytes_on_the_line_and_what_they_mean(plant: Plant) -> None:
    with plant.daemon.trace("meters") as printed:
        eventually(lambda: plant.scada.ask(1, READ) and printed().count("read holding 0") > 1)
        eventually(lambda: plant.scada.ask(1, "06 0000 0007") and "write holding 0 = 7" in printed())
    lines = [line.split(" ", 1)[1] for line in printed().splitlines()]
    assert "tx 01 03 00 00 00 01 84 0a   unit 1: read holding 0" in lines
    assert "rx unit 1: 1 register: 7" in lines
    heard = " ".join(line[3:] for line in lines if line.startswith("rx ") and "unit" not in line)
    assert "01 03 02 00 07 f9 86" in heard
    written = with_crc(bytes.fromhex("01 06 0000 0007")).hex(" ")
    assert any(line.startswith(f"tx {written}   unit 1: write ") for line in lines)


def test_a_trace_for_programs_is_json_line_by_line(plant: Plant) -> None:
    with plant.daemon.trace("--json", "scale") as printed:
        eventually(lambda: len(printed().splitlines()) > 3)
    for line in printed().splitlines():
        seen = json.loads(line)
        assert list(misfits(seen, {"at": WHEN, "way": TEXT, "hex": TEXT, "text": TEXT})) == []
        assert seen["way"] == "rx"
        assert bytes.fromhex(seen["hex"])


def test_a_trace_of_a_link_shows_each_peer(plant: Plant) -> None:
    address = plant.daemon.part("links.scada")["peers"][0]["address"]
    with plant.daemon.trace("scada") as printed:
        eventually(lambda: plant.scada.ask(1, READ) and "unit 1: 1 register: 7" in printed())
    assert printed().count(address) >= 2
    assert "00 00 00 06 01 03 00 00 00 01" in printed()
