"""Whoever sits behind the broker, played by paho-mqtt: receives everything and sends commands to the scale.

Scale lines are counted by their number: which arrived, which twice (at least once is what MQTT promises), and
whether any is missing or came before its turn.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from .scale import number_of


@dataclass
class Subscriber:
    """`async with Subscriber(port, prefix)`: connected to the broker from then on."""

    port: int
    prefix: str
    latest: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=6))  # topic, text
    online: bool = False  # what the gateway, or its last will, said last
    wills: int = 0  # last wills that came
    arrived: int = 0  # different scale lines
    last_line: int = 0  # number of the newest
    twice: int = 0  # scale lines that came again
    out_of_turn: int = 0  # scale lines that left a gap before them
    polled: int = 0  # voltages in device states

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscribed = asyncio.Event()
        self._news = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber")
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = self._listening
        self._client.on_message = self._arrived

    async def __aenter__(self) -> Self:
        self._client.connect_async("127.0.0.1", self.port)
        self._client.loop_start()
        async with asyncio.timeout(10):
            await self._subscribed.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def tare(self) -> None:
        """A command for the scale, down through the broker and the gateway."""
        self._client.publish(f"{self.prefix}/port/scale/tx", b"T\r\n", qos=1)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Looks again with each message that comes."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    def _listening(self, *_: Any) -> None:
        """In paho's thread, as the next."""
        self._loop.call_soon_threadsafe(self._subscribed.set)

    def _arrived(self, _client: Client, _user: Any, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._take, message.topic, bytes(message.payload))

    def _take(self, topic: str, payload: bytes) -> None:
        short = topic.removeprefix(f"{self.prefix}/")
        self._news.set()
        self.latest.append((short, payload.decode(errors="replace").strip()))
        if short == "status":
            self.online = json.loads(payload)["state"] == "online"
            self.wills += not self.online
        elif short == "port/scale/rx" and (number := number_of(payload)) is not None:
            self._line(number)
        elif short.startswith("device/") and short.endswith("/state"):
            self.polled += "voltage" in json.loads(payload)["values"]

    def _line(self, number: int) -> None:
        if number <= self.last_line:
            self.twice += 1
            return
        self.out_of_turn += number != self.last_line + 1
        self.arrived += 1
        self.last_line = number
