"""What the daemon's ends are connected to in many tests, as fixtures: `pytest_plugins = ["plant_kit"]`."""

from collections.abc import Iterator

import pytest
from peers_kit import PASSWORD, Broker

from gateway.demo.bus import Bus
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers


@pytest.fixture
def bus() -> Iterator[Bus]:
    """Units 1 and 2, whose first holding register is 7 and 14, on a line without wire time."""
    line = Bus({unit: Registers(holding={0: 7 * unit}) for unit in (1, 2)}, Wire(baudrate=0))
    with Lines(line):
        yield line


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """mosquitto, which wants USER and PASSWORD."""
    with Broker(PASSWORD) as running:
        yield running
