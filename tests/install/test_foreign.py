"""The packages for ARM, emulated, on Debian 12 and 13: installed, checked, and serving a bus and a broker.

The bus, the broker and SCADA are out here.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container_kit import eventually
from debs_kit import deb
from foreign_kit import Foreign, foreign
from roots_kit import Recipe, run

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

pytest_plugins = ["machines_kit"]
pytestmark = [pytest.mark.install, pytest.mark.usefixtures("able")]

EMULATION = 120.0  # seconds for what takes ten
_CONFIG = """
[ports.meters]
tty = "{tty}"
mode = "modbus-rtu"
baudrate = 19200
format = "8E1"

[links.scada]
kind = "modbus-server"
listen = "127.0.0.1:{scada}"
port = "meters"

[links.cloud]
kind = "mqtt"
connect = "mqtt://127.0.0.1:{broker}"
prefix = "site"

[devices.main-meter]
port = "meters"
unit_id = 1
poll_interval = "1s"
points = {{ total = {{ holding = 0 }} }}
"""


@pytest.fixture(
    params=[Recipe(suite, arm) for suite in ("bookworm", "trixie") for arm in ("arm64", "armhf")], ids=str
)
def machine(able: None, request: pytest.FixtureRequest) -> Iterator[Foreign]:
    recipe = request.param
    with foreign(recipe) as running:
        running.install(deb(recipe.architecture))
        yield running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """mosquitto; its port."""
    port, file = free_port(), tmp_path / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    with ended(["mosquitto", "-c", str(file)], tmp_path / "mosquitto.log"):
        yield port


@contextmanager
def ended(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that runs meanwhile."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


@pytest.fixture
def bus() -> Iterator[Bus]:
    line = Bus({1: Registers(holding={0: 4711})}, Wire())
    with Lines(line):
        yield line


def test_it_installs_finds_its_sample_good_and_serves_a_bus_to_scada_and_to_a_broker(
    machine: Foreign, bus: Bus, broker: int, tmp_path: Path
) -> None:
    assert "gateway.toml" in machine.run("gatewayd", "--check")
    scada = free_port()
    machine.put("/etc/gateway/gateway.toml", _CONFIG.format(tty=bus.tty, scada=scada, broker=broker))
    machine.run("gatewayd", "--check")
    machine.run("mkdir", "-p", "/run/gateway", "/var/lib/gateway")
    log = tmp_path / "gatewayd.log"
    with ended([*machine.command("gatewayd")], log) as daemon:
        ask = f"mbpoll -m tcp -p {scada} -a 1 -0 -r 0 -t 4 -o 5 -1 -q 127.0.0.1".split()

        def read() -> str:
            assert daemon.poll() is None, log.read_text()
            return subprocess.run(ask, capture_output=True, text=True, check=False).stdout

        eventually(lambda: "4711" in read(), EMULATION)
        listen = f"mosquitto_sub -h 127.0.0.1 -p {broker} -t site/device/main-meter/state -C 1 -W 60".split()
        assert '"total":4711' in run(*listen)
        assert "cloud" in machine.run("gatewayctl", "buffer")
    assert daemon.returncode == 0, log.read_text()
