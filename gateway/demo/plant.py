"""Everything the demo needs, put together and taken apart again.

meters 1 and 2 ==RS-485== gatewayd --Modbus TCP-- SCADA
scale ----------RS-232--- gatewayd --MQTT--cable--broker-- subscriber
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from ..scope import Scope
from .broker import Broker, Cable
from .bus import Bus
from .gatewayd import Gatewayd, GatewaydError, free_port
from .line import Lines, Wire
from .meters import ENERGY, POWER, RELAY, SETPOINT, VOLTAGE, Meter
from .scada import Scada
from .scale import Scale
from .subscriber import Subscriber

BAUDRATE = 19200
PRINT_EVERY = 0.2  # seconds between two lines of the scale
ONLINE_WITHIN = 20.0  # seconds

CONFIG = """\
[gateway]
name = "demo"

[ports.meters]
tty      = "{meters}"
mode     = "modbus-rtu"
baudrate = {baudrate}
format   = "8E1"

[ports.scale]
tty      = "{scale}"
mode     = "raw"
baudrate = 9600
format   = "8N1"
frame    = {{ delimiter = {{ text = "\\r\\n" }}, strip = true }}

[links.scada]
kind   = "modbus-server"
listen = "127.0.0.1:{scada}"
port   = "meters"

[links.console]
kind   = "tcp"
listen = "127.0.0.1:{console}"
port   = "scale"

[links.cloud]
kind      = "mqtt"
connect   = "mqtt://127.0.0.1:{broker}"
version   = "3.1.1"
allow_tx  = ["scale"]
liveness  = {{ detect_within = "5s" }}
reconnect = {{ first = "500ms", max = "2s" }}

[models.meter.points]
voltage  = {{ input = {VOLTAGE}, type = "float32", unit = "V" }}
power    = {{ input = {POWER}, type = "float32", unit = "W" }}
energy   = {{ input = {ENERGY}, type = "float32", unit = "kWh", decimals = 3 }}
setpoint = {{ holding = {SETPOINT}, type = "uint16", unit = "%" }}
relay    = {{ coil = {RELAY} }}

[devices.main-meter]
port          = "meters"
unit_id       = 1
model         = "meter"
poll_interval = "2s"

[devices.sub-meter]
port          = "meters"
unit_id       = 2
model         = "meter"
poll_interval = "2s"
"""


@dataclass
class Plant:
    """What the story plays with and the screen shows."""

    meters: dict[int, Meter]
    bus: Bus
    scale: Scale
    cable: Cable
    gateway: Gatewayd
    scada: Scada
    subscriber: Subscriber
    console_port: int
    status: str = ""  # what `gatewayctl status` printed last


@asynccontextmanager
async def plant() -> AsyncIterator[Plant]:
    """All of it, running; the scale begins to print when the gateway has its broker."""
    meters = {1: Meter(0.0), 2: Meter(2.0)}
    bus = Bus(meters, Wire(baudrate=BAUDRATE))
    scale = Scale(PRINT_EVERY, printing=False)
    async with AsyncExitStack() as stack:
        stack.enter_context(Lines(bus, scale))
        broker = await stack.enter_async_context(Broker())
        cable = await stack.enter_async_context(Cable(broker.port))
        subscriber = await stack.enter_async_context(Subscriber(broker.port, "gateway/demo"))
        scada, console = Scada(free_port(), meters), free_port()
        gateway = Gatewayd(_config(bus, scale, scada.port, console, cable.port))
        # in a thread: while it ends it talks to the broker, which lives in this loop
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        gateway.start()
        whole = Plant(meters, bus, scale, cable, gateway, scada, subscriber, console)
        life = await stack.enter_async_context(Scope())
        life.start(_move(whole))
        life.start(_watch(whole))
        await _online(whole)
        life.start(scada.run())
        scale.printing = True
        yield whole


def _config(bus: Bus, scale: Scale, scada: int, console: int, broker: int) -> str:
    return CONFIG.format(
        meters=bus.tty,
        scale=scale.tty,
        baudrate=BAUDRATE,
        scada=scada,
        console=console,
        broker=broker,
        VOLTAGE=VOLTAGE,
        POWER=POWER,
        ENERGY=ENERGY,
        SETPOINT=SETPOINT,
        RELAY=RELAY,
    )


async def _online(whole: Plant) -> None:
    """Until all ports are open, all links up, and the subscriber knows that the gateway is there."""
    deadline = time.monotonic() + ONLINE_WITHIN
    while time.monotonic() < deadline:
        record = await asyncio.to_thread(whole.gateway.status)
        states = {part["state"] for part in (*record["ports"].values(), *record["links"].values())}
        if states <= {"open", "up", "listening"} and whole.subscriber.online:
            return
        await asyncio.sleep(0.1)
    raise GatewaydError(f"the gateway did not reach its broker:\n{whole.gateway.last_words()}")


async def _move(whole: Plant) -> None:
    """The meters' values change."""
    start = time.monotonic()
    while True:
        for meter in whole.meters.values():
            meter.step(time.monotonic() - start)
        await asyncio.sleep(0.5)


async def _watch(whole: Plant) -> None:
    """`gatewayctl status`, again and again."""
    while True:
        whole.gateway.check()
        whole.status = await asyncio.to_thread(whole.gateway.ctl, "status")
        await asyncio.sleep(1.5)
