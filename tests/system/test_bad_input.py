"""Lines, addresses and brokers that cannot be had, and garbage from control clients: a clear word each."""

import grp
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from peers_kit import USER, Broker, Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, nowhere, raw_port, table

from gateway.demo import bus as faults
from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale

READ, SEVEN = "03 0000 0001", "03 02 00 07"


# ---------------------------------------------------------------- the tty


def test_a_device_that_is_not_there_is_named_and_the_rest_works() -> None:
    port = free_port()
    config = modbus_port("meters", "/dev/no-such-tty") + modbus_server("scada", port, port="meters")
    with Daemon(config) as daemon:
        record = daemon.comes_to("ports.meters", "waiting")
        assert record["reason"] == "no such device /dev/no-such-tty"
        assert 0 <= record["next_try_s"] <= 1
        assert "no such device /dev/no-such-tty; " in daemon.ctl("status").stdout
        with Scada(port) as scada:
            assert scada.ask(1, READ) == "83 0a"


def test_what_is_no_serial_line_is_named() -> None:
    with Daemon(raw_port("scale", "/dev/null")) as daemon:
        assert daemon.comes_to("ports.scale", "waiting")["reason"] == "/dev/null is not a serial device"


def test_a_line_that_another_program_has_is_taken_when_it_is_free() -> None:
    line = Scale(0.1, printing=False)
    config = raw_port("scale", line.tty)
    with Lines(line), serial.Serial(line.tty, exclusive=True) as ours, Daemon(config) as daemon:
        reason = daemon.comes_to("ports.scale", "waiting")["reason"]
        assert reason.startswith(f"{line.tty} is in use by ")
        assert reason.endswith(f"(pid {os.getpid()})")
        ours.close()
        daemon.comes_to("ports.scale", "open")


@pytest.mark.needs("setpriv")
def test_without_permission_it_names_the_group_that_has_it() -> None:
    line = Scale(0.1, printing=False)
    with Lines(line):
        os.chmod(line.tty, 0)
        group = grp.getgrgid(os.stat(line.tty).st_gid).gr_name
        with Daemon(raw_port("scale", line.tty), before=ordinary()) as daemon:
            reason = daemon.comes_to("ports.scale", "waiting")["reason"]
            assert reason == f"no permission on {line.tty}: add the user to group {group}"
            os.chmod(line.tty, 0o600)
            daemon.comes_to("ports.scale", "open")


def ordinary() -> list[str]:
    """What takes the right to open everything from root."""
    return [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_tty_that_vanishes_in_a_transaction_comes_back_behind_the_same_link(tmp_path: Path) -> None:
    units = {unit: Registers(holding={0: 7}) for unit in (1, 2)}
    bus = Bus(units, Wire(baudrate=0), link=tmp_path / "usb-meters", fault=faults.late(60.0))
    port = free_port()
    line = modbus_port("meters", bus.tty, response_timeout="60s", request_timeout="60s")
    with Lines(bus) as lines, Daemon(line + modbus_server("scada", port, port="meters")) as daemon:
        daemon.comes_to("ports.meters", "open")
        gone = os.path.realpath(bus.tty)
        with Scada(port) as scada:
            tids = {scada.request(1, READ), scada.request(2, READ)}
            eventually(lambda: bus.count.requests)
            lines.call(bus.unplug)
            answers = [scada.answer(), scada.answer()]
            assert {answer.tid for answer in answers if answer} == tids
            assert {answer.pdu.hex(" ") for answer in answers if answer} == {"83 0a"}
            eventually(lambda: not [each for each in daemon.descriptors() if each.startswith(gone)])
            assert daemon.comes_to("ports.meters", "waiting")["reason"].startswith(str(bus.tty))
            assert scada.ask(1, READ) == "83 0a"

            taken, free = os.openpty()  # so that the number of the old one is not free any more
            bus.fault = None
            lines.call(bus.plug)
            assert os.path.realpath(bus.tty) != gone
            record = daemon.comes_to("ports.meters", "open")
            assert scada.ask(1, READ) == SEVEN
            assert (record["deaths"], record["reconnects"]) == (1, 1)
            os.close(taken)
            os.close(free)


def test_raw_clients_stay_while_the_line_is_away_and_nothing_is_written_late(tmp_path: Path) -> None:
    scale = Scale(0.05, link=tmp_path / "usb-scale")
    port = free_port()
    config = raw_port("scale", scale.tty) + table(
        "links.console", kind="tcp", listen=f"127.0.0.1:{port}", port="scale"
    )
    with Lines(scale) as lines, Daemon(config) as daemon:
        daemon.comes_to("ports.scale", "open")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            assert client.recv(100)
            lines.call(scale.unplug)
            daemon.comes_to("ports.scale", "waiting")
            client.sendall(b"OLD\r\n")
            eventually(lambda: daemon.part("ports.scale")["dropped_bytes"] == 5)
            lines.call(scale.plug)
            daemon.comes_to("ports.scale", "open")
            client.sendall(b"T\r\n")
            eventually(lambda: scale.commands)
            assert scale.commands == [b"T"]
            said = b""
            while b"OK,T" not in said:
                said += client.recv(1000)


# ---------------------------------------------------------------- addresses, brokers, the control socket


def test_an_address_that_another_program_has_is_taken_when_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = raw_port("scale", "/dev/no-such-tty") + table(
            "links.console",
            kind="tcp",
            listen=f"127.0.0.1:{port}",
            port="scale",
            reconnect={"first": "100ms", "max": "200ms"},
        )
        with Daemon(config) as daemon:
            reason = daemon.comes_to("links.console", "waiting")["reason"]
            assert reason == f"cannot listen on 127.0.0.1:{port}: another program uses this address"
            other.close()
            daemon.comes_to("links.console", "listening")
            socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.needs("mosquitto", "mosquitto_pub")
def test_a_broker_that_refuses_is_told_in_words_and_left_alone_for_a_minute() -> None:
    with Broker("right") as broker:
        config = raw_port("scale", "/dev/no-such-tty") + mqtt(
            "cloud", broker.port, username=USER, password="wrong"
        )
        with Daemon(config) as daemon:
            record = daemon.comes_to("links.cloud", "waiting")
            assert record["reason"] == "broker refused: not authorized"
            assert 50 < record["next_try_s"] <= 90
            assert "broker refused: not authorized; next try in " in daemon.log


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon(nowhere()) as running:
        yield running
        assert "Traceback" not in running.log
        assert "internal error" not in running.log


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff" * 50 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * 60_000 + b"\n",
        b"x" * 70_000,
        b'{"verb": 1}\n',
        b'{"verb": "stat"}\n',
        b'{"verb": "status", "name": ["scada"]}\n',
        b'{"verb": "status", "name": "nobody"}\n',
        b'{"verb": "trace"}\n',
    ],
    ids=["binary", "HTTP", "deep", "long", "number", "unknown", "list", "nobody", "incomplete"],
)
def test_garbage_on_the_control_socket_gets_an_error_and_does_no_harm(data: bytes, daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(30)
        control.connect(str(daemon.socket))
        control.sendall(data)
        assert control.makefile("rb").readline().startswith(b'{"ok":false,"error":"')
    assert daemon.status()["ok"]
