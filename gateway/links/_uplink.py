"""The traffic of one MQTT connection: records and presence up, `tx` and `set` down, the first word and the
last.

Promises: what comes down is written at most once, and never when it is old; nobody's commands wait for those
of another device. Must not send anything beside its Publisher.
"""

import asyncio
import logging
from asyncio import Future, Queue, Semaphore
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any, Never

from .. import __version__
from ..contracts import Outcome, Sampled, Settable, Stream, Traced
from ..errors import GatewayError
from ..flow import Fan
from ..policy.episodes import Episodes
from ..scope import Scope
from ..status import Life
from ._commands import Commands, refusal
from ._paho import Session
from ._publisher import Publisher
from ._terms import Ack, Message, Reply
from ._topics import Topics

_GOODBYE = 2.0  # seconds
_COMMANDS = (
    64  # to one device, that were taken and whose answer is not under way; more than a device lets wait
)
_QUIET = 60.0  # seconds without a message that was not written, after which one is worth a line again
log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Uplink:
    """One open connection in use."""

    life: Life
    mqtt: Session
    topics: Topics
    publisher: Publisher
    commands: Commands
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
            for name, device in devices.items():
                if isinstance(device, Settable) and device.writable:
                    granted, inbox = self.mqtt.subscribe(self.topics.set(name), _COMMANDS)
                    scope.start(self._obey(name, device, granted, inbox))
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
        if not await self._subscribed(topic, granted):
            return
        told = Episodes(_QUIET, 1)
        while True:
            message = await self._next(inbox)
            why = refusal(message)
            try:
                if not why and message.payload:
                    await stream.send(message.payload)
            except GatewayError as error:
                why = str(error)
            if why and told.begins(topic, asyncio.get_running_loop().time()):
                log.warning("%s: message to %s not written: %s", self.life.name, topic, why)
            self.mqtt.ack(message)

    async def _obey(self, name: str, device: Settable, granted: Future[Ack], inbox: Queue[Message]) -> None:
        """A command is acknowledged when the device, or nobody, has it; its answer is a child of its own."""
        if not await self._subscribed(self.topics.set(name), granted):
            return
        room = Semaphore(_COMMANDS)
        async with Scope() as scope:
            while True:
                await room.acquire()
                message = await self._next(inbox)
                if message.payload:
                    answering = scope.start(self._answer(*self.commands.take(name, device, message)))
                    answering.add_done_callback(lambda _: room.release())
                else:  # that only clears a retained one
                    room.release()
                self.mqtt.ack(message)

    async def _answer(self, reply: Reply, outcome: Future[Outcome]) -> None:
        await asyncio.wait([outcome])  # which goes on without us
        what = self.topics.result(reply, outcome.result())
        await self.publisher.publish(what, told=f"answers to {self.topics.set(reply.device)}")

    async def _subscribed(self, topic: str, granted: Future[Ack]) -> bool:
        answer = await granted
        if answer.refused:
            self.publisher.refusals.add(topic, f"broker refused {topic}: {answer.words}")
        return not answer.refused

    async def _next(self, inbox: Queue[Message]) -> Message:
        message = await inbox.get()
        if self.trace.taps:
            self.trace.push(Traced(time(), "rx", message.payload, f"message {message.topic}"))
        return message

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
