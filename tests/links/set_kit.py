"""Devices that take commands, without a bus, and commands as a broker passes them on."""

import asyncio
import json
from asyncio import Future
from collections.abc import Mapping
from math import inf
from typing import Any

from mqtt_kit import Device, Publish, ScriptedBroker, World

from gateway.contracts import Outcome

TOPIC = "gateway/gw/device/valve/set"
RESULT = f"{TOPIC}/result"


class Settable(Device):
    """It does what it is told at once, or, while it is `slow`, when the test says `finish`."""

    def __init__(self, *writable: str) -> None:
        super().__init__()
        self.writable = writable
        self.told: list[Mapping[str, object]] = []
        self.expires: list[float] = []
        self.slow = False
        self.refuses = ""  # at once
        self._under_way: list[tuple[Future[Outcome], Mapping[str, Any]]] = []

    def write(self, values: Mapping[str, Any], expires: float = inf, /) -> Future[Outcome]:
        loop = asyncio.get_running_loop()
        outcome: Future[Outcome] = loop.create_future()
        if self.refuses:
            outcome.set_result(Outcome(error=self.refuses))
            return outcome
        self.told.append(dict(values))
        self.expires.append(expires)
        if self.slow:
            self._under_way.append((outcome, values))
        else:
            loop.call_soon(outcome.set_result, Outcome(values=values))
        return outcome

    def finish(self, error: str = "") -> None:
        """The first of those under way."""
        outcome, values = self._under_way.pop(0)
        outcome.set_result(
            Outcome(error=error, errors=dict.fromkeys(values, error)) if error else Outcome(values=values)
        )


class Plant(World):
    """Two devices that take commands beside the meter, which does not."""

    def __init__(self) -> None:
        super().__init__()
        self.valve, self.pump = Settable("open", "level"), Settable("speed")
        self.dumb = Settable()

    def device(self, name: str, /) -> Device:
        return {"meter": self.meter, "valve": self.valve, "pump": self.pump, "dumb": self.dumb}[name]

    def link(self, *args: Any, **keys: Any) -> Any:
        return super().link(*args, **{"devices": ["meter", "valve", "pump", "dumb"]} | keys)


def give(broker: ScriptedBroker, topic: str = TOPIC, **command: object) -> None:
    """`mqtt` has what goes beside the payload; the rest is the command."""
    how: Any = command.pop("mqtt", {})
    broker.message(topic, json.dumps(command).encode(), **how)


def asks_for(topic: str, correlation: bytes = b"") -> bytes:
    """The MQTT 5 properties of a request (MQTT 5.0, 3.3.2.3)."""
    length = len(topic).to_bytes(2, "big")
    properties = b"\x08" + length + topic.encode()
    return properties + (b"\x09" + len(correlation).to_bytes(2, "big") + correlation if correlation else b"")


def answers(broker: ScriptedBroker, topic: str = RESULT) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in broker.on(topic)]


def published(broker: ScriptedBroker, topic: str = RESULT) -> list[Publish]:
    return [publish for publish in broker.published if publish.topic == topic]
