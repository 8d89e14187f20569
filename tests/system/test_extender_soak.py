"""Two gateways as a cable extender, for as long as an issue asks for (`make soak`)."""

import os
from pathlib import Path

import pytest
from extender_kit import pull_and_replug, send_both_ways

BYTES = 64 << 20  # each way
RATE = 92_160  # bytes a second: 921600 8N1


@pytest.mark.soak
def test_64_megabytes_each_way_at_921600_baud_are_exact(tmp_path: Path) -> None:
    send_both_ways(tmp_path, os.urandom(2 * BYTES), RATE, within=3 * BYTES / RATE)


@pytest.mark.soak
def test_a_minute_of_pulled_lines_loses_what_was_on_the_wire_and_nothing_else(tmp_path: Path) -> None:
    pull_and_replug(tmp_path, 60)
