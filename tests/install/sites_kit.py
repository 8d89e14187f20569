"""Config files for the machines of these tests, and what stands at the other ends of their links."""

import json
from typing import Any

from container_kit import PUBLIC, Machine, eventually

METERS = """
[ports.meters]
tty = "/dev/ttyUSB0"
mode = "modbus-rtu"
baudrate = 19200
format = "8E1"

[links.scada]
kind = "modbus-server"
listen = ":502"
port = "meters"
"""

SCALE = """
[ports.scale]
tty = "/dev/ttyUSB1"
mode = "raw"
baudrate = 9600
format = "8N1"
frame = { delimiter = { text = "\\r\\n" }, strip = true }
"""

CLOUD = """
[links.cloud]
kind = "mqtt"
connect = "mqtt://127.0.0.1:1884"
prefix = "site"
payload = "json"
reconnect = { first = "200ms", max = "1s" }
"""

BAD = "[links.scada]\nknd = 1\n"

OPEN = "listener 1884\nallow_anonymous true\nmax_queued_messages 0\n"
SCALES_TOPIC = "--host 127.0.0.1 --port 1884 --topic site/port/scale/rx"
_WITNESS = f"mosquitto_sub {SCALES_TOPIC} --qos 1 --id witness --disable-clean-session"


def start_instruments(box: Machine) -> None:
    """See instruments.py; they end with the machine."""
    program = f"python3 -B {PUBLIC}/tests/install/instruments.py"
    box.sh(f"systemd-run --quiet --unit=instruments --setenv=PYTHONPATH={PUBLIC} {program}")
    eventually(lambda: box.has("/dev/ttyUSB3"))


def start_broker(box: Machine, settings: str = OPEN) -> None:
    box.put("/etc/mosquitto/conf.d/test.conf", settings, 0o644)
    box.sh("systemctl start mosquitto")


def promise_a_witness(box: Machine) -> None:
    """From now on the broker keeps all that the scale says, also over its own stops."""
    box.sh(f"{_WITNESS} -E")


def witnessed(box: Machine, count: int) -> list[dict[str, Any]]:
    """The first messages that the broker has kept for the witness."""
    return list(map(json.loads, box.sh(f"{_WITNESS} -C {count} -W 60", within=90).splitlines()))


def read_registers(box: Machine, port: int = 502) -> str:
    """What mbpoll prints of the first holding register of unit 1, which is 4711; nothing when that fails."""
    asked = box.run(*f"mbpoll -m tcp -p {port} -a 1 -0 -r 0 -t 4 -1 -q 127.0.0.1".split(), good=None)
    return asked.stdout if asked.returncode == 0 else ""


def link_is(box: Machine, name: str, state: str) -> bool:
    return bool(box.status()["links"][name]["state"] == state)


def kept(box: Machine, link: str) -> list[dict[str, Any]]:
    """What a link keeps, oldest first."""
    box.sh(f"rm -f /tmp/kept; gatewayctl buffer export {link} /tmp/kept")
    return list(map(json.loads, box.sh("cat /tmp/kept").splitlines()))


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["seq"] for record in records]
