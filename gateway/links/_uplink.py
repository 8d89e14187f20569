"""The traffic of one MQTT connection: records and presence up, `tx` down, the first word and the last.

Promises: what comes down is written at most once, and never when it is old. Must not send anything beside
its Publisher.
"""

import asyncio
import logging
from asyncio import Future, Queue
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any, Never

from .. import __version__
from ..contracts import Sampled, Stream, Traced
from ..errors import GatewayError
from ..flow import Fan
from ..scope import Scope
from ..status import Life
from ._paho import Session
from ._publisher import Publisher
from ._terms import Ack, Message
from ._topics import Topics

_GOODBYE = 2.0  # seconds
log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Uplink:
    """One open connection in use."""

    life: Life
    mqtt: Session
    topics: Topics
    publisher: Publisher
    trace: Fan[Traced]

    async def serve(self, devices: Mapping[str, Sampled], ports: Mapping[str, Stream]) -> Never:
        """Until the connection is lost, or cancelled: then the broker is told. `ports` may be written to."""
        async with Scope() as scope:
            scope.start(self.mqtt.run())
            confirming = scope.start(self.publisher.confirm())
            try:
                await self._traffic(devices, ports)
            finally:
                task = asyncio.current_task()
                well = not (self.mqtt.lost.done() or confirming.done())
                if well and task is not None and task.cancelling():
                    await self._goodbye()
        raise AssertionError("a scope ends by an error")

    async def _traffic(self, devices: Mapping[str, Sampled], ports: Mapping[str, Stream]) -> Never:
        async with Scope() as scope:
            for port, stream in ports.items():
                granted, inbox = self.mqtt.subscribe(self.topics.tx(port))
                scope.start(self._receive(self.topics.tx(port), stream, granted, inbox))
            await self.publisher.publish(self.topics.online(time(), __version__))
            for name, device in devices.items():
                scope.start(self._presence(name, device))
            await self.publisher.records()
        raise AssertionError("a scope ends by an error")

    async def _presence(self, name: str, device: Sampled) -> Never:
        with device.presence.tap() as tap:
            if device.present:
                await self.publisher.publish(self.topics.available(name, device.present))
            while True:
                await self.publisher.publish(self.topics.available(name, (await tap.take())[-1]))

    async def _receive(self, topic: str, stream: Stream, granted: Future[Ack], inbox: Queue[Message]) -> None:
        answer = await granted
        if answer.refused:
            self.publisher.refusals.add(topic, f"broker refused {topic}: {answer.words}")
            return
        while True:
            message = await inbox.get()
            if self.trace.taps:
                self.trace.push(Traced(time(), "rx", message.payload, f"message {topic}"))
            refusal = _refusal(message)
            try:
                if not refusal and message.payload:
                    await stream.send(message.payload)
            except GatewayError as error:
                refusal = str(error)
            if refusal:
                log.warning("%s: message to %s not written: %s", self.life.name, topic, refusal)
            self.mqtt.ack(message)

    async def _goodbye(self) -> None:
        """The last word, then DISCONNECT. Acknowledgements of what was on its way still count."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                ends: list[Future[Any]] = [
                    self.mqtt.lost,
                    await self.publisher.publish(self.topics.offline("stopped")),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                await self.mqtt.disconnect()


def _refusal(message: Message) -> str:
    """Why this command must not reach the line; empty when it may."""
    if message.retained:
        return "it was retained, so nobody knows how old it is"
    if message.repeated:
        return "it is a repetition of one that was received before"
    if asyncio.get_running_loop().time() >= message.expires:
        return "it has expired"
    return ""
