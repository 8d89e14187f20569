"""The life of the daemon: signals, what systemd hears, and that there is one of it."""

import os
import signal
import socket
import time

import pytest
from peers_kit import PASSWORD, USER, Broker, Scada, Subscriber
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, nowhere, raw_port, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines
from gateway.demo.scale import Scale

READ, SEVEN = "03 0000 0001", "03 02 00 07"
pytest_plugins = ["plant_kit"]


# ---------------------------------------------------------------- signals and systemd


@pytest.mark.needs("mosquitto", "mosquitto_sub")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(number: signal.Signals, bus: Bus, broker: Broker) -> None:
    port = free_port()
    config = (
        modbus_port("meters", bus.tty)
        + nowhere()
        + modbus_server("scada", port, port="meters")
        + table("links.console", kind="tcp", listen=f"127.0.0.1:{free_port()}", port="nowhere")
        + mqtt("cloud", broker.port, prefix=number.name, username=USER, password=PASSWORD)
    )
    with Subscriber(broker, "-u", USER, "-P", PASSWORD) as subscriber, Daemon(config) as daemon:
        daemon.comes_to("links.cloud", "up")
        daemon.comes_to("ports.meters", "open")
        with Scada(port) as scada:
            assert scada.ask(1, READ) == SEVEN
            assert daemon.stop(number) == 0
            assert scada.answer() is None
        assert daemon.said("STOPPING")
        assert not daemon.socket.exists()
        eventually(lambda: b"stopped" in subscriber.last_on(f"{number.name}/status"))


@pytest.mark.needs("mosquitto")
def test_a_broker_that_hangs_does_not_hold_up_the_end() -> None:
    with Broker() as hung, Daemon(nowhere() + mqtt("cloud", hung.port)) as daemon:
        daemon.comes_to("links.cloud", "up")
        hung.freeze()
        assert daemon.stop() == 0


def test_a_line_that_takes_no_bytes_does_not_hold_up_the_end() -> None:
    master, slave = os.openpty()  # nobody reads from the master
    port = free_port()
    config = raw_port("scale", os.ttyname(slave)) + table(
        "links.console", kind="tcp", listen=f"127.0.0.1:{port}", port="scale"
    )
    with Daemon(config) as daemon, socket.create_connection(("127.0.0.1", port)) as client:
        daemon.comes_to("ports.scale", "open")
        client.sendall(b"x" * 100_000)
        eventually(lambda: daemon.part("links.console")["peers"][0]["rx_bytes"] > 60_000)
        assert daemon.part("ports.scale")["tx_bytes"] < 100_000
        assert daemon.stop() == 0
    os.close(master)
    os.close(slave)


def test_systemd_hears_what_it_does() -> None:
    with Daemon(nowhere()) as daemon:
        (ready,) = daemon.said("READY")
        assert ready["STATUS"] == "ports: 1, links: 0, devices: 0"
        before = time.monotonic_ns() // 1000
        daemon.kill(signal.SIGHUP)
        eventually(lambda: len(daemon.said("READY")) == 2)
        (reloading,) = daemon.said("RELOADING")
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert daemon.stop() == 0
        assert daemon.said("STOPPING")
        states = [key for notice in daemon.notices for key in notice if key not in ("STATUS", "WATCHDOG")]
        assert states == ["READY", "RELOADING", "MONOTONIC_USEC", "READY", "STOPPING"]


def test_it_feeds_the_watchdog_of_systemd() -> None:
    with Daemon(nowhere(), WATCHDOG_USEC="200000") as daemon:
        eventually(lambda: len(daemon.said("WATCHDOG")) >= 5)


def test_without_systemd_it_runs_as_well() -> None:
    with Daemon(nowhere(), begun=False, NOTIFY_SOCKET="") as daemon:
        daemon.spawn()
        eventually(lambda: "is ready" in daemon.log)
        assert daemon.status()["ok"]


# ---------------------------------------------------------------- one instance


def test_a_second_daemon_is_refused_and_the_first_one_goes_on() -> None:
    with (
        Daemon(nowhere()) as first,
        Daemon(nowhere(), begun=False, RUNTIME_DIRECTORY=str(first.folder)) as second,
    ):
        second.spawn()
        assert second.ended() == 1
        assert f"another gatewayd is running (pid {first.pid}) on {first.socket}" in second.log
        assert first.status()["gateway"]["pid"] == first.pid


def test_where_it_cannot_have_its_socket_it_says_so_and_ends() -> None:
    with Daemon(nowhere(), begun=False, RUNTIME_DIRECTORY="/proc/none") as daemon:
        daemon.spawn()
        assert daemon.ended() == 1
        assert "cannot open the socket /proc/none/control.sock: " in daemon.log
        assert "Traceback" not in daemon.log


def test_after_a_kill_9_the_next_one_cleans_up_and_starts() -> None:
    with Daemon(nowhere()) as daemon:
        daemon.kill(signal.SIGKILL)
        assert daemon.ended() == -signal.SIGKILL
        assert daemon.socket.is_socket()
        daemon.start()
        assert daemon.status()["gateway"]["pid"] == daemon.pid


@pytest.mark.needs("mosquitto", "mosquitto_sub")
def test_after_a_kill_9_the_broker_tells_its_last_will_and_numbers_jump_forward() -> None:
    scale = Scale(0.05)
    with Lines(scale), Broker() as broker, Subscriber(broker) as subscriber:
        config = raw_port("scale", scale.tty) + mqtt("cloud", broker.port, prefix="gw")
        with Daemon(config) as daemon:
            before = eventually(lambda: subscriber.on("gw/port/scale/rx")[2:])
            daemon.kill(signal.SIGKILL)
            assert daemon.ended() == -signal.SIGKILL
            eventually(lambda: b"connection lost" in subscriber.last_on("gw/status"))
            known = len(subscriber.on("gw/port/scale/rx"))
            daemon.start()
            after = eventually(lambda: subscriber.on("gw/port/scale/rx")[known + 2 :])
            eventually(lambda: b"online" in subscriber.last_on("gw/status"))
        assert int(after[0].properties["seq"]) > int(before[-1].properties["seq"]) + 1
