"""RFC 2217 with the real gatewayd and a driver that has modem lines.

Pyserial's own client sees and sets them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from conftest import Pty
from driver_kit import Driver, built
from system_kit import Daemon, eventually, raw_port, table

from gateway.demo.gatewayd import free_port

pytestmark = [
    pytest.mark.needs("gcc"),
    pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning"),  # pyserial's own
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Driver:
    return Driver(library, tmp_path / "driver")


@pytest.fixture
def line(driver: Driver, pty: Pty) -> Iterator[serial.Serial]:
    """Opened through the gateway."""
    listen = free_port()
    link = table("links.remote", kind="tcp", listen=f"127.0.0.1:{listen}", port="scale", rfc2217=True)
    with Daemon(raw_port("scale", pty.path) + link, **driver.environment) as daemon:
        daemon.comes_to("links.remote", "listening")
        with serial.serial_for_url(f"rfc2217://127.0.0.1:{listen}", timeout=30) as opened:
            yield opened


def of(driver: Driver, what: str) -> list[int]:
    return [event.value for event in driver.events if event.what == what]


def test_the_lines_of_the_device_are_seen_as_they_change(line: serial.Serial, driver: Driver) -> None:
    assert (line.cts, line.dsr, line.ri, line.cd) == (False,) * 4
    driver.raises("cts", "cd")
    eventually(lambda: line.cts and line.cd)
    assert not line.dsr
    driver.raises("dsr", "ri")
    eventually(lambda: line.dsr and line.ri)
    assert not line.cts
    assert not line.cd


def test_our_own_lines_and_a_break_reach_the_driver(line: serial.Serial, driver: Driver) -> None:
    line.rts = False
    assert of(driver, "rts")[-1] == 0
    line.rts = True
    assert of(driver, "rts")[-1] == 1
    line.dtr = False
    assert of(driver, "dtr")[-1] == 0
    line.break_condition = True
    assert of(driver, "break") == [1]
    line.break_condition = False
    assert of(driver, "break") == [1, 0]


def test_who_leaves_in_a_break_with_dtr_off_leaves_neither(line: serial.Serial, driver: Driver) -> None:
    line.dtr = False
    line.break_condition = True
    line.close()
    eventually(lambda: of(driver, "break") == [1, 0])
    eventually(lambda: of(driver, "dtr")[-1] == 1)


def test_an_rts_that_says_who_sends_is_not_the_clients(driver: Driver, pty: Pty) -> None:
    listen = free_port()
    link = table("links.remote", kind="tcp", listen=f"127.0.0.1:{listen}", port="scale", rfc2217=True)
    port = raw_port("scale", pty.path, direction="rts")
    with Daemon(port + link, **driver.environment) as daemon:
        daemon.comes_to("links.remote", "listening")
        with serial.serial_for_url(f"rfc2217://127.0.0.1:{listen}", timeout=30) as opened:
            before = of(driver, "rts")
            with pytest.raises(ValueError, match="rejected"):
                opened.rts = False
            with pytest.raises(ValueError, match="rejected"):
                opened.rtscts = True
            assert of(driver, "rts") == before
