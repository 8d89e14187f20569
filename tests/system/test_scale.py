"""A scale on a line that is asked for its weight, up to a broker, a PLC and the status."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from peers_kit import Broker, Subscriber
from system_kit import PATIENCE, Daemon, eventually, mqtt, raw_port, table
from upstream_kit import Upstream

from gateway.demo.gatewayd import free_port
from gateway.demo.line import Line, Lines, Wire

pytestmark = pytest.mark.needs("mosquitto", "mosquitto_pub", "mosquitto_sub")
SI = b"SI\r\n"
STATE, AVAILABLE = "gateway/gw/device/scale/state", "gateway/gw/device/scale/available"
ASK = {"text": "SI\r\n", "every": "500ms", "timeout": "400ms"}  # a busy machine answers within that, too


class Scale(Line):
    """Answers SI with its weight, T with OK, and what it does not understand with ES."""

    def __init__(self) -> None:
        super().__init__(Wire(baudrate=9600, bits=10))
        self.weight = 12.5
        self.off = False
        self.told: list[bytes] = []  # lines
        self._heard = b""

    def heard(self, data: bytes, now: float) -> None:
        *lines, self._heard = (self._heard + data).split(b"\r\n")
        self.told += lines
        for line in [] if self.off else lines:
            weight = b"S S %+9.3f kg\r\n" % self.weight
            self.say({b"SI": weight, b"T": b"OK\r\n"}.get(line, b"ES\r\n"), now)


@pytest.fixture
def scale() -> Iterator[Scale]:
    line = Scale()
    with Lines(line):
        yield line


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


def config(scale: Scale, broker: Broker, console: int, **keys: Any) -> str:
    by_line = {"delimiter": {"text": "\r\n"}}
    return (
        table("gateway", name="gw")
        + raw_port("scale", scale.tty, frame=by_line, ask=ASK, **keys)
        + table("ports.scale.values", weight={"regex": "([-+]? *[0-9.]+) kg", "unit": "kg"})
        + table("links.console", kind="tcp", listen=f"127.0.0.1:{console}", port="scale")
        + mqtt("cloud", broker.port, ports=[])
    )


def weights(heard: Subscriber) -> list[float]:
    """Those that came, oldest first."""
    samples = [json.loads(message.payload)["values"] for message in heard.on(STATE)]
    return [values["weight"] for values in samples if values]


def test_what_a_scale_weighs_goes_up_and_stands_in_the_status(scale: Scale, broker: Broker) -> None:
    with Subscriber(broker) as heard, Daemon(config(scale, broker, free_port())) as daemon:
        assert eventually(lambda: weights(heard)[-1:]) == [12.5]
        scale.weight = -0.25
        eventually(lambda: weights(heard)[-1:] == [-0.25])
        assert set(weights(heard)) == {12.5, -0.25}
        first, second = (json.loads(message.payload) for message in heard.on(STATE)[:2])
        assert second["seq"] == first["seq"] + 1
        assert first["ts"].endswith("Z")
        assert heard.last_on(AVAILABLE) == b"online"
        assert heard.on("gateway/gw/port/scale/rx") == []
        port = daemon.part("ports.scale")
        assert port["values"] == {"weight": -0.25}
        assert port["last_good"] is not None
        assert port["errors"]["timeout"] == 0
        assert "weight -0.25" in daemon.ctl("status").stdout
        assert "weight -0.25" in daemon.ctl("status", "scale").stdout


def test_a_scale_that_is_switched_off_is_missed_and_found_again(scale: Scale, broker: Broker) -> None:
    with Subscriber(broker) as heard, Daemon(config(scale, broker, free_port())) as daemon:
        eventually(lambda: heard.last_on(AVAILABLE) == b"online")
        scale.off = True
        eventually(lambda: heard.last_on(AVAILABLE) == b"offline")
        record = json.loads(heard.last_on(STATE))
        assert (record["values"], record["errors"]) == ({}, {"weight": "no answer within 0.4 s"})
        port = daemon.part("ports.scale")
        assert port["state"] == "open"
        assert port["reason"].startswith("no answer to the last ")
        assert port["errors"]["timeout"] >= 3
        scale.off = False
        eventually(lambda: heard.last_on(AVAILABLE) == b"online")
        assert daemon.part("ports.scale")["reason"] == ""


def test_a_client_may_write_between_two_asks_and_each_reaches_the_scale_whole(
    scale: Scale, broker: Broker
) -> None:
    console = free_port()
    with Subscriber(broker) as heard, Daemon(config(scale, broker, console)):
        eventually(lambda: weights(heard))
        with socket.create_connection(("127.0.0.1", console), timeout=PATIENCE) as client:
            answers = client.makefile("rb")
            for _ in range(20):
                client.sendall(b"T\r\n")
                while answers.readline() != b"OK\r\n":
                    pass  # an answer to an ask: clients see them
        before = len(weights(heard))
        eventually(lambda: len(weights(heard)) > before + 2)
    assert scale.told.count(b"T") == 20
    assert set(scale.told) == {b"T", b"SI"}


def test_a_weight_stands_in_the_registers_of_a_plc(scale: Scale, broker: Broker) -> None:
    plc = free_port()
    push = (
        table("links.plc", kind="modbus-client", connect=f"127.0.0.1:{plc}", alive={"holding": 99})
        + '[links.plc.push]\n"scale.weight" = { holding = 100, type = "float32" }\n'
    )
    with Upstream(plc) as upstream, Daemon(config(scale, broker, free_port()) + push) as daemon:
        eventually(lambda: upstream.number(100, "FLOAT32") == 12.5)
        scale.weight = 20.25
        eventually(lambda: upstream.number(100, "FLOAT32") == 20.25)
        scale.off = True
        eventually(
            lambda: daemon.part("links.plc")["reason"] == "not read: scale.weight: no answer within 0.4 s"
        )
        alive = daemon.part("links.plc")["alive"]
        assert alive > 0
        asked = len(scale.told)
        eventually(lambda: len(scale.told) >= asked + 5)
        assert daemon.part("links.plc")["alive"] == alive


def test_a_reload_can_make_the_values_go_up_more_seldom(scale: Scale, broker: Broker) -> None:
    console = free_port()
    with Subscriber(broker) as heard, Daemon(config(scale, broker, console)) as daemon:
        eventually(lambda: len(weights(heard)) >= 3)
        asked = len(scale.told)
        daemon.file.write_text(config(scale, broker, console, publish={"on_change": True}))
        daemon.reload_by_ctl()
        eventually(lambda: len(scale.told) >= asked + 5)
        scale.weight = 20.0
        eventually(lambda: weights(heard)[-1:] == [20.0])
        times = len(weights(heard))
        asked = len(scale.told)
        eventually(lambda: len(scale.told) >= asked + 5)
        assert len(weights(heard)) == times


def test_a_reload_can_take_the_values_away_and_bring_them_back(scale: Scale, broker: Broker) -> None:
    console = free_port()
    whole = config(scale, broker, console)
    without = whole.replace("[ports.scale.values]", "[models.none.points]").replace(
        'weight = { regex = "([-+]? *[0-9.]+) kg", unit = "kg" }', "x = { holding = 1 }"
    )
    with Subscriber(broker) as heard, Daemon(whole) as daemon:
        eventually(lambda: weights(heard))
        daemon.file.write_text(without)
        daemon.reload_by_ctl()
        assert "values" not in daemon.part("ports.scale")
        times = len(weights(heard))
        daemon.file.write_text(whole)
        daemon.reload_by_ctl()
        eventually(lambda: len(weights(heard)) > times)
