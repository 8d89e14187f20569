"""Commands for devices, from mosquitto_pub to the registers of a slave on a line, and their answers."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from peers_kit import Broker, Subscriber
from system_kit import PATIENCE, Daemon, eventually, modbus_port, mqtt, table

from gateway.demo.bus import Bus, late, only, silent
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

pytestmark = pytest.mark.needs("mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr")
DEVICE = "gateway/gw/device/heater"
SET, RESULT = f"{DEVICE}/set", f"{DEVICE}/set/result"
POINTS: dict[str, dict[str, Any]] = {
    "relay": {"coil": 3, "writable": True},
    "setpoint": {
        "holding": 9,
        "type": "int32",
        "byte_order": "CDAB",
        "scale": 0.1,
        "writable": True,
        "max": 60,
    },
    "elsewhere": {"holding": 500, "writable": True},
    "fixed": {"holding": 9},
}


@pytest.fixture
def bus() -> Iterator[Bus]:
    heater = Registers(holding={9: 0, 10: 0}, coils={3: False})
    line = Bus({1: heater, 2: Registers(coils={0: False})}, Wire(baudrate=0))
    with Lines(line):
        yield line


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


def config(bus: Bus, broker: Broker, points: dict[str, dict[str, Any]] = POINTS) -> str:
    return (
        table("gateway", name="gw")
        + modbus_port("meters", bus.tty, response_timeout="300ms")
        + modbus_port("away", "/dev/no-such-line")
        + table("devices.heater", port="meters", unit_id=1, poll_interval="1m")
        + table("devices.heater.points", **points)
        + table("devices.fan", port="meters", unit_id=2, poll_interval="1m")
        + table("devices.fan.points", on={"coil": 0, "writable": True})
        + table("devices.pump", port="away", unit_id=1, poll_interval="1m")
        + table("devices.pump.points", on={"coil": 0, "writable": True})
        + mqtt("cloud", broker.port)
    )


def listening(heard: Subscriber, times: int = 1) -> None:
    """Until the gateway has said so often that it is online, which it does when it has subscribed."""

    def online() -> bool:
        said = [json.loads(message.payload)["state"] for message in heard.on("gateway/gw/status")]
        return said.count("online") == times and said[-1] == "online"

    eventually(online)


def heater(bus: Bus) -> Registers:
    found = bus.slaves[1]
    assert isinstance(found, Registers)
    return found


def writes(bus: Bus) -> list[bytes]:
    return [request for request in bus.seen if request[1] in (5, 6, 15, 16, 22)]


def answers(heard: Subscriber, topic: str = RESULT) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in heard.on(topic)]


def answer(broker: Broker, heard: Subscriber, command: str, topic: str = SET) -> dict[str, Any]:
    """What comes back on the result topic."""
    before = len(answers(heard, f"{topic}/result"))
    broker.publish(topic, command)
    return eventually(lambda: answers(heard, f"{topic}/result")[before:])[0]


def test_a_command_stands_in_the_slave_and_is_answered_and_shows_soon(bus: Bus, broker: Broker) -> None:
    with Daemon(config(bus, broker)) as daemon, Subscriber(broker) as heard:
        listening(heard)
        told = answer(broker, heard, '{"relay":true,"setpoint":21.5,"id":"a-1"}')
        assert told == {"ok": True, "id": "a-1", "values": {"relay": True, "setpoint": 21.5}}
        assert heater(bus).coils[3] is True
        assert (heater(bus).holding[9], heater(bus).holding[10]) == (215, 0)
        assert [request[1] for request in writes(bus)] == [5, 16]

        def shown() -> bool:
            states = [json.loads(message.payload)["values"] for message in heard.on(f"{DEVICE}/state")]
            return {"relay": True, "setpoint": 21.5}.items() <= (states or [{}])[-1].items()

        eventually(shown)
        assert not any(message.retained for message in heard.on(RESULT))
        assert daemon.part("links.cloud")["commands"] == {"done": 1, "refused": 0, "repeated": 0}


def test_the_same_id_is_written_once_and_answered_twice(bus: Bus, broker: Broker) -> None:
    with Daemon(config(bus, broker)), Subscriber(broker) as heard:
        listening(heard)
        first = answer(broker, heard, '{"relay":true,"id":7}')
        second = answer(broker, heard, '{"relay":true,"id":7}')
        third = answer(broker, heard, '{"relay":true,"id":8}')
    assert first == {"ok": True, "id": 7, "values": {"relay": True}}
    assert second == first | {"repeated": True}
    assert third == first | {"id": 8}
    assert len(writes(bus)) == 2


def test_why_nothing_was_written_is_told_in_words(bus: Bus, broker: Broker) -> None:
    with Daemon(config(bus, broker)), Subscriber(broker) as heard:
        listening(heard)
        refused = answer(broker, heard, '{"elsewhere":1,"relay":true}')
        assert refused["error"] == "elsewhere: illegal data address (2)"
        assert refused["errors"] == {"elsewhere": "illegal data address (2)", "relay": "not tried"}
        assert [request[1] for request in writes(bus)] == [6]

        for command, why in (
            ('{"relay":true,"setpoint":61}', "setpoint: 61 is more than 60 (max)"),
            ('{"fixed":1}', "fixed: it can only be read"),
            ("on", 'a command is a JSON object such as {"relay":true}'),
        ):
            assert answer(broker, heard, command)["error"] == why
        assert len(writes(bus)) == 1

        bus.fault = only(1, silent)
        late = answer(broker, heard, '{"relay":true}')
        assert late["error"] == "relay: unit 1 did not answer within 0.3 s"
        fan = answer(broker, heard, '{"on":true}', "gateway/gw/device/fan/set")
        assert fan == {"ok": True, "values": {"on": True}}

        pump = answer(broker, heard, '{"on":true}', "gateway/gw/device/pump/set")
        assert pump["error"] == "on: no such device /dev/no-such-line"


def test_a_flood_for_one_device_is_answered_and_holds_up_no_other(bus: Bus, broker: Broker) -> None:
    bus.fault = only(1, late(0.1))
    flood = "".join(f'{{"relay":true,"id":{number}}}\n' for number in range(40))
    with Daemon(config(bus, broker)), Subscriber(broker) as heard:
        listening(heard)
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", SET, "-l"]
        subprocess.run(command, input=flood, text=True, timeout=PATIENCE, check=True)
        assert answer(broker, heard, '{"on":true}', "gateway/gw/device/fan/set")["ok"]
        done_by_then = len([told for told in answers(heard) if told["ok"]])
        eventually(lambda: len(answers(heard)) == 40)
        told = answers(heard)
    busy = [one for one in told if one.get("error") == "busy: 16 commands wait for this device"]
    done = [one for one in told if one["ok"]]
    assert sorted(one["id"] for one in told) == list(range(40))
    assert (len(done) + len(busy), len(done)) == (40, len([write for write in writes(bus) if write[0] == 1]))
    assert done_by_then < len(done)
    assert busy


def test_nothing_is_written_that_was_said_while_we_were_away(bus: Bus, broker: Broker) -> None:
    with Daemon(config(bus, broker)) as daemon, Subscriber(broker) as heard:
        listening(heard)
        assert daemon.stop() == 0
        broker.publish(SET, '{"setpoint":11}')
        broker.publish(SET, '{"setpoint":12,"id":"kept"}', "-r")
        try:
            daemon.start()
            eventually(lambda: answers(heard))
            listening(heard, 2)
            assert answer(broker, heard, '{"setpoint":13}')["ok"]
            told = answers(heard)
        finally:
            broker.publish(SET, "", "-r")
    why = "it was retained, so nobody knows how old it is"
    assert told[0] == {"ok": False, "id": "kept", "error": why}
    assert heater(bus).holding[9] == 130
    assert len(writes(bus)) == 1


def test_a_request_of_mqtt_5_is_answered_where_it_wants_it(bus: Bus, broker: Broker) -> None:
    with Daemon(config(bus, broker)), Subscriber(broker) as heard:
        listening(heard)
        command = ["mosquitto_rr", "-V", "mqttv5", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1"]
        command += ["-t", SET, "-e", "hmi/answers", "-m", '{"setpoint":21}', "-F", "%D %p", "-W", "10"]
        command += ["-D", "publish", "correlation-data", "c-17"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == 'c-17 {"ok":true,"values":{"setpoint":21.0}}\n'


def test_a_point_may_be_written_once_the_config_says_so(bus: Bus, broker: Broker) -> None:
    read_only = {"relay": {"coil": 3}}
    with Daemon(config(bus, broker, read_only)) as daemon, Subscriber(broker) as heard:
        listening(heard)
        for points in (POINTS, {"relay": POINTS["relay"] | {"map": {"0": "open", "1": "closed"}}}):
            daemon.file.write_text(config(bus, broker, points))
            daemon.reload_by_signal()
            listening(heard, 2)  # the first time it begins anew, the second it goes on
            told = answer(broker, heard, '{"relay":true}')
        assert told["error"] == "relay: true is none of open, closed"
        assert len(writes(bus)) == 1
