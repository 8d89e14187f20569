"""The gateway under test: configs for each line of the table, and what the kernel knows of its cost."""

import time
from collections.abc import Sequence
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU time of that process so far, all its threads, to the nanosecond.

    /proc/PID/stat has the same in ticks of 10 ms; this is its clock, as clock_getcpuclockid(3) makes it.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> tuple[float, float]:
    """Resident memory now and at its peak, in MB of 1024 * 1024 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {
        name: int(rest.split()[0]) / 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("VmRSS", "VmHWM")
    }
    return sizes["VmRSS"], sizes["VmHWM"]


def modbus(tty: str, baudrate: int, listen: int, *, keys: str = "", polled: str = "") -> str:
    """One bus, one modbus-server link. Unpaced (baudrate 0): no silence is kept.

    `keys` are more lines of the port's table. `polled` is how often its unit 1 is read as a device, too.
    """
    device = POLLED.format(interval=polled) if polled else ""
    return GATEWAY + _modbus(tty, baudrate, listen, keys) + device


def crowd(tty: str, listen: int, clients: int, detect_within: float) -> str:
    """One bus at 9600 with room for so many clients."""
    return modbus(tty, 9600, listen) + (
        f'max_clients = {clients}\nliveness = {{ detect_within = "{detect_within:g}s" }}\n'
    )


def raw(ttys: Sequence[str], baudrate: int, listen: Sequence[int]) -> str:
    """A raw port and a listening tcp link for each."""
    tables = (
        _raw(number, tty, baudrate, port) for number, (tty, port) in enumerate(zip(ttys, listen, strict=True))
    )
    return GATEWAY + "".join(tables)


def site(bus: str, raws: Sequence[str], scale: str, listen: Sequence[int], broker: int) -> str:
    """Four ports, four links (modbus, tcp, tcp, mqtt) and two polled devices."""
    scada, *tcp = listen
    return raw(raws, 9600, tcp) + _modbus(bus, 0, scada) + SCALE.format(tty=scale, broker=broker) + DEVICES


GATEWAY = """
[gateway]
name = "bench"
"""

SCALE = """
[ports.scale]
tty = "{tty}"
mode = "raw"
baudrate = 115200
format = "8N1"
frame = {{ delimiter = {{ text = "\\r\\n" }} }}
[links.cloud]
kind = "mqtt"
connect = "mqtt://127.0.0.1:{broker}"
ports = ["scale"]
"""

DEVICES = """
[models.meter.points]
first = { holding = 0, type = "uint16" }
second = { holding = 1, type = "float32" }
[devices.one]
port = "line"
unit_id = 1
model = "meter"
poll_interval = "1s"
[devices.two]
port = "line"
unit_id = 2
model = "meter"
poll_interval = "1s"
"""

POLLED = """
[devices.one]
port = "line"
unit_id = 1
poll_interval = "{interval}"
[devices.one.points]
first = {{ holding = 0, type = "uint16" }}
last = {{ holding = 9, type = "uint16" }}
"""


def _modbus(tty: str, baudrate: int, listen: int, keys: str = "") -> str:
    return f"""
[ports.line]
tty = "{tty}"
mode = "modbus-rtu"
baudrate = {baudrate or 115200}
format = "8E1"
frame_gap = {'"auto"' if baudrate else '"0s"'}
{keys}
[links.scada]
kind = "modbus-server"
listen = "127.0.0.1:{listen}"
port = "line"
"""


def _raw(number: int, tty: str, baudrate: int, listen: int) -> str:
    return f"""
[ports.raw{number}]
tty = "{tty}"
mode = "raw"
baudrate = {baudrate}
format = "8N1"
[links.tcp{number}]
kind = "tcp"
listen = "127.0.0.1:{listen}"
port = "raw{number}"
"""
