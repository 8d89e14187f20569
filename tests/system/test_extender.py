"""Two gateways as a cable extender: every byte, both ways, and what is missing after a pull is what was on
the wire. Longer ones: `test_extender_soak`.
"""

import json
import os
from pathlib import Path

from extender_kit import pull_and_replug, send_both_ways
from parts_kit import Instrument
from system_kit import Daemon, eventually, raw_port, table

from gateway.demo.line import Lines

MEGABYTE = 1 << 20


def test_every_byte_goes_both_ways_as_fast_as_it_can(tmp_path: Path) -> None:
    send_both_ways(tmp_path, os.urandom(12 * MEGABYTE), rate=0, within=50)


def test_lines_that_are_pulled_lose_what_was_on_the_wire_and_nothing_else(tmp_path: Path) -> None:
    pull_and_replug(tmp_path, 15)


def test_two_ports_of_one_gateway_are_joined_over_a_pull_and_a_reload(tmp_path: Path) -> None:
    panel, machine = Instrument(tmp_path / "panel"), Instrument(tmp_path / "machine")
    cable = table("links.through", kind="serial", ports=["panel", "machine"])
    ports = raw_port("panel", panel.tty) + raw_port("machine", machine.tty, baudrate=115200, format="7E1")
    with Lines(panel, machine) as lines, Daemon(ports + cable) as daemon:

        def arrives(text: bytes) -> None:
            eventually(lambda: panel.opened and machine.opened)
            lines.call(lambda: panel.say(text, 0.0))
            lines.call(lambda: machine.say(text, 0.0))
            eventually(lambda: panel.told.endswith(text) and machine.told.endswith(text))

        daemon.comes_to("links.through", "up")
        arrives(b"one")
        lines.call(machine.unplug)
        away = eventually(lambda: daemon.part("links.through")["reason"])
        assert away == f"machine: {machine.tty}: unplugged"
        lines.call(machine.plug)
        daemon.comes_to("links.through", "up")
        arrives(b"two")
        daemon.file.write_text(ports.replace("9600", "19200") + cable)
        daemon.reload_by_ctl()
        daemon.comes_to("ports.panel", "open")
        daemon.comes_to("links.through", "up")
        arrives(b"three")
        record = json.loads(daemon.ctl("--json", "status", "through").stdout)["links"]["through"]
        assert (record["state"], record["ways"]["panel"]["bytes"]) == ("up", len(b"onetwothree"))
