"""RS-485 and direction with the real gatewayd: on ttys that have none of it, and with a driver that has."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Pty
from driver_kit import CHIP, ENABLED, Driver, Event, built
from peers_kit import Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server, raw_port, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

READ, SEVEN = "03 0000 0001", "03 02 00 07"
REQUEST = 8  # bytes of a read on the wire
CHARACTER = 11 / 19200  # seconds, as modbus_port has its lines
pytest_plugins = ["plant_kit"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Driver:
    return Driver(library, tmp_path / "driver")


def console(listen: int, port: str) -> str:
    return table("links.console", kind="tcp", listen=f"127.0.0.1:{listen}", port=port)


# Ttys that have none of it


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"rs485": {}}, 'the driver of {} knows no RS-485 mode: try direction = "rts"'),
        ({"rs485": {"delay_before": "1ms"}}, 'the driver of {} knows no RS-485 mode: try direction = "rts"'),
        (
            {"direction": "rts"},
            "the driver of {} knows no RTS: try direction = {{ gpio = ... }}, or an adapter that has it",
        ),
        ({"direction": {"gpio": "gpiochip77:4"}}, "no such GPIO chip /dev/gpiochip77"),
    ],
)
def test_what_a_driver_cannot_is_one_plain_reason_and_the_others_work(
    pty: Pty, bus: Bus, keys: dict[str, object], reason: str
) -> None:
    port = free_port()
    config = raw_port("scale", pty.path, **keys) + modbus_port("meters", bus.tty)
    with Daemon(config + modbus_server("scada", port, port="meters")) as daemon:
        assert daemon.comes_to("ports.scale", "waiting")["reason"] == reason.format(pty.path)
        with Scada(port) as scada:
            eventually(lambda: scada.ask(1, READ) == SEVEN)
        assert "Traceback" not in daemon.log
        daemon.file.write_text(raw_port("scale", pty.path))
        daemon.reload_by_ctl()
        record = daemon.comes_to("ports.scale", "open")
        assert (record["rs485"], record["reason"]) == (None, "")


# The driver's own mode


@pytest.mark.needs("gcc")
def test_the_mode_is_shown_as_the_driver_took_it_and_ends_with_its_key(pty: Pty, driver: Driver) -> None:
    asked = {"rts_on_send": False, "rx_during_tx": True, "delay_before": "50ms", "delay_after": "2ms"}
    with Daemon(raw_port("scale", pty.path, rs485=asked), **driver.environment) as daemon:
        record = daemon.comes_to("ports.scale", "open")
        assert record["rs485"] == {
            "rts_on_send": False,
            "rts_after_send": True,
            "rx_during_tx": False,
            "delay_before_ms": 5,
            "delay_after_ms": 2,
        }
        assert driver.rs485 == (ENABLED | 4, 5, 2)
        shown = daemon.ctl("status", "scale").stdout
        assert "by the driver: RTS off while we send, on after, 5 ms before, 2 ms behind" in shown

        daemon.file.write_text(raw_port("scale", pty.path))
        daemon.reload_by_ctl()
        eventually(lambda: daemon.part("ports.scale")["state"] == "open" and not driver.rs485[0] & ENABLED)
        assert daemon.part("ports.scale")["rs485"] is None


@pytest.mark.needs("gcc")
def test_the_mode_ends_with_the_daemon(pty: Pty, driver: Driver) -> None:
    with Daemon(raw_port("scale", pty.path, rs485={}), **driver.environment) as daemon:
        daemon.comes_to("ports.scale", "open")
        assert driver.rs485[0] & ENABLED
        assert daemon.stop() == 0
    assert not driver.rs485[0] & ENABLED


@pytest.mark.needs("gcc")
def test_a_mode_that_a_killed_daemon_left_behind_is_seen_and_ends_with_its_key(
    pty: Pty, driver: Driver
) -> None:
    with Daemon(raw_port("scale", pty.path, rs485={}), **driver.environment) as daemon:
        daemon.comes_to("ports.scale", "open")
        daemon.kill(signal.SIGKILL)
        daemon.ended()
        assert driver.rs485[0] & ENABLED
        daemon.file.write_text(raw_port("scale", pty.path))
        daemon.start()
        assert daemon.comes_to("ports.scale", "open")["rs485"]["rts_on_send"] is True
        daemon.file.write_text(raw_port("scale", pty.path, rs485={}))
        daemon.reload_by_ctl()
        eventually(lambda: len([one for one in driver.events if one.what == "rs485"]) == 2)
        daemon.file.write_text(raw_port("scale", pty.path))
        daemon.reload_by_ctl()
        eventually(lambda: not driver.rs485[0] & ENABLED)


@pytest.mark.needs("gcc")
def test_a_pause_lets_go_of_the_mode_too(pty: Pty, driver: Driver) -> None:
    with Daemon(raw_port("scale", pty.path, rs485={}), **driver.environment) as daemon:
        daemon.comes_to("ports.scale", "open")
        assert daemon.ctl("pause", "scale", "--for", "10m").returncode == 0
        eventually(lambda: not driver.rs485[0] & ENABLED)
        assert daemon.ctl("resume", "scale").returncode == 0
        eventually(lambda: driver.rs485[0] & ENABLED)


# Direction by a line of ours


@pytest.fixture
def slow_bus() -> Iterator[Bus]:
    """Unit 1, whose first holding register is 7, on a line with the wire time of modbus_port."""
    line = Bus({1: Registers(holding={0: 7})}, Wire(baudrate=19200))
    with Lines(line):
        yield line


def rts(driver: Driver) -> list[int]:
    return [event.value for event in driver.events if event.what == "rts"]


def episodes(events: Sequence[Event], line: str) -> list[list[Event]]:
    """From one switching on to the next switching off; nothing is written outside of them."""
    found: list[list[Event]] = []
    on = False
    for event in events:
        if event.what == line:
            on = bool(event.value)
            if on:
                found.append([])
            elif not found:
                continue  # when it was opened
            found[-1].append(event)
        elif event.what == "write":
            assert on, "written without the transmitter"
            found[-1].append(event)
    return found


@pytest.mark.needs("gcc")
@pytest.mark.parametrize(
    ("direction", "line"), [("rts", "rts"), ({"gpio": f"{CHIP}:17", "delay_before": "2ms"}, "gpio")]
)
def test_requests_are_sent_with_the_transmitter_on_and_it_is_off_for_the_answer(
    slow_bus: Bus, driver: Driver, direction: object, line: str
) -> None:
    port = free_port()
    config = modbus_port("meters", slow_bus.tty, direction=direction)
    with (
        Daemon(config + modbus_server("scada", port, port="meters"), **driver.environment) as daemon,
        Scada(port) as scada,
    ):
        daemon.comes_to("ports.meters", "open")
        for _ in range(20):
            assert scada.ask(1, READ) == SEVEN
        assert daemon.part("ports.meters")["errors"]["timeout"] == 0
    sent = [one for one in episodes([*driver.events], line) if len(one) == 3]
    assert len(sent) == 20
    for on, write, off in sent:
        assert (on.value, write.value, off.value) == (1, REQUEST, 0)
        assert off.at - write.at >= REQUEST * CHARACTER
        assert write.at - on.at >= (0.002 if line == "gpio" else 0.0)


@pytest.mark.needs("gcc")
def test_a_transmitter_is_let_go_of_when_the_daemon_stops_in_the_middle_of_a_long_write(
    pty: Pty, driver: Driver
) -> None:
    listen = free_port()
    config = raw_port("scale", pty.path, baudrate=300, direction="rts") + console(listen, "scale")
    with Daemon(config, **driver.environment) as daemon, Scada(listen) as client:
        daemon.comes_to("ports.scale", "open")
        client.send(bytes(3000))
        eventually(lambda: pty.heard())
        assert rts(driver)[-1] == 1
        assert daemon.stop() == 0
    assert rts(driver)[-1] == 0


# What the driver tells


@pytest.mark.needs("gcc")
def test_a_baud_rate_that_the_driver_does_not_hit_is_named_in_the_status_and_once_in_the_log(
    pty: Pty, driver: Driver
) -> None:
    driver.makes(240000)
    with Daemon(raw_port("scale", pty.path, baudrate=250000), **driver.environment) as daemon:
        record = daemon.comes_to("ports.scale", "open")
        words = "the driver makes 240000 of baudrate 250000, which is 4.0 % off"
        assert (record["real_baudrate"], record["reason"]) == (240000, words)
        daemon.ctl("pause", "scale", "--for", "10m")
        daemon.ctl("resume", "scale")
        daemon.comes_to("ports.scale", "open")
        assert daemon.log.count(f"ports.scale: {words}") == 1

        driver.makes(246000)
        daemon.file.write_text(raw_port("scale", pty.path, baudrate=250001))
        daemon.reload_by_ctl()
        eventually(lambda: daemon.part("ports.scale")["line"].startswith("250001"))
        record = daemon.comes_to("ports.scale", "open")
        assert (record["real_baudrate"], record["reason"]) == (246000, "")


def test_a_custom_baud_rate_is_what_the_tty_has(pty: Pty) -> None:
    with Daemon(raw_port("scale", pty.path, baudrate=31250)) as daemon:
        assert daemon.comes_to("ports.scale", "open")["real_baudrate"] == 31250


@pytest.mark.needs("gcc")
def test_the_counters_of_the_driver_count_from_the_opening(pty: Pty, driver: Driver) -> None:
    driver.counts(framing=100, overrun=100, parity=100)
    with Daemon(raw_port("scale", pty.path), **driver.environment) as daemon:
        daemon.comes_to("ports.scale", "open")
        driver.counts(framing=101, overrun=102, parity=103, **{"break": 4})
        errors = daemon.part("ports.scale")["errors"]
        assert [errors[key] for key in ("framing", "overrun", "parity", "break")] == [1, 2, 3, 4]
