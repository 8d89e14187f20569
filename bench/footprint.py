"""Rows: memory after the traffic of an hour, and what it costs to start."""

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from statistics import median

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import Gatewayd, free_port
from gateway.demo.line import Wire
from gateway.demo.scale import Scale

from . import daemon, peers
from .load import ModbusLoad, RawLoad, one_each
from .modbus import CLIENTS, UNITS, limit
from .simulator import Flood, Simulator
from .table import Effort, Row

HOUR = 3600
TRANSACTIONS = round(HOUR * limit(Wire(baudrate=9600)))  # a bus at 9600 that never rests
RAW_BYTES = HOUR * 960  # each way on each raw port: a line at 9600 that never rests
LINES = HOUR * 10  # of the scale, to the broker
LINES_A_SECOND = 2000.0  # as they are pushed here
FLOODS, SCALE = (1, 2), 3  # lines of the simulator; 0 is the bus
UNPACED = Wire(baudrate=0, bits=10)


def memory(_effort: Effort) -> Iterator[Row]:
    """Four ports, four links, two polled devices, and an hour's worth of traffic pushed through them."""
    figure, required = "memory, 4 ports, 4 links, 1 h traffic", "<= 40 MB resident"
    try:
        broker = peers.mosquitto(free_port())
    except peers.Absent as absent:
        yield Row(figure=figure, required=required, measured=str(absent))
        return
    ports = [free_port() for _ in range(3)]
    with broker, _lines() as lines, Gatewayd(_config(lines, ports, broker.port)) as gateway:
        lines.call(SCALE, "begin")
        _modbus_hour(ports[0])
        _raw_hour(lines, ports[1:])
        confirmed = _mqtt_hour(gateway)
        resident, peak = daemon.memory(gateway.pid)
    yield Row(
        figure=figure,
        required=required,
        measured=f"{resident:.1f} MB, at most {peak:.1f} MB",
        ok=resident <= 40,
    )
    yield Row(
        figure="  scale lines confirmed by the broker",
        required=f"{LINES}",
        measured=f"{min(confirmed, LINES)}",
        ok=confirmed >= LINES,
    )


def start(effort: Effort) -> Iterator[Row]:
    """CPU from exec to READY with the same config; the broker is away."""
    spent = []
    with _lines() as lines:
        for _ in range(effort.runs):
            with Gatewayd(_config(lines, [free_port() for _ in range(3)], free_port())) as gateway:
                spent.append(daemon.cpu_seconds(gateway.pid))
    cpu = median(spent)
    yield Row(figure="start to READY, CPU", required="<= 0.7 s", measured=f"{cpu:.2f} s", ok=cpu <= 0.7)


def _lines() -> Simulator:
    scale = partial(Scale, 1 / LINES_A_SECOND, UNPACED, printing=False, most=LINES)
    flood = partial(Flood, UNPACED)
    return Simulator(partial(Bus, UNITS, Wire(baudrate=0)), flood, flood, scale)


def _config(lines: Simulator, ports: list[int], broker: int) -> str:
    bus, *raws, scale = lines.ttys
    return daemon.site(bus, raws, scale, ports, broker)


def _modbus_hour(port: int) -> None:
    with closing(ModbusLoad(port, one_each(CLIENTS))) as clients:
        clients.run(600, TRANSACTIONS)


def _raw_hour(lines: Simulator, ports: list[int]) -> None:
    with closing(RawLoad(ports)) as clients:
        for number in FLOODS:
            lines.call(number, "begin", True)
        while min(flow.received for flow in clients.flows) < RAW_BYTES:
            clients.run(0.1)
        clients.drain([lines.call(number, "finish").sent for number in FLOODS])
        while min(flow.sent for flow in clients.flows) < RAW_BYTES:
            clients.run(0.1, rate=None)


def _mqtt_hour(gateway: Gatewayd) -> int:
    """Messages confirmed, once nothing more comes."""
    confirmed, before = 0, -1
    while confirmed > before:
        time.sleep(1)
        before, confirmed = confirmed, gateway.status()["links"]["cloud"]["confirmed"]
        if confirmed >= LINES:
            break
    return confirmed
