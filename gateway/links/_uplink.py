"""The traffic of one MQTT connection: records and presence up, `tx` down, the first word and the last.

Promises: everything goes up in order and within one window, and a record leaves the buffer only when the
broker has it (or refuses it for good). What comes down is written at most once, and never when it is old.
"""

import asyncio
import logging
from asyncio import Future, Queue
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any, Never

from .. import __version__
from ..buffer import Buffer
from ..contracts import Sampled, Stream, Traced
from ..errors import GatewayError, LinkDown
from ..flow import Fan
from ..scope import Scope
from ..status import Life
from ._paho import Session
from ._terms import QUOTA_EXCEEDED, Ack, Message, Publication
from ._topics import Topics

_WINDOW = 100  # publications on their way: what may arrive twice after a broken connection
_BATCH = 16  # of them in one turn of the loop: half a millisecond
_GOODBYE = 2.0  # seconds
log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Uplink:
    """One open connection in use. `counts` has "sent", "confirmed", "refused" and outlives it."""

    life: Life
    mqtt: Session
    topics: Topics
    buffer: Buffer
    counts: Counter[str]
    trace: Fan[Traced]
    _flying: Queue[tuple[str, int, Future[Ack]]] = field(default_factory=Queue)  # the window bounds it
    _refusing: set[str] = field(default_factory=set)  # topics that the broker did not take last time

    def __post_init__(self) -> None:
        self._window = asyncio.Semaphore(min(_WINDOW, self.mqtt.limits.in_flight))

    async def serve(self, devices: Mapping[str, Sampled], ports: Mapping[str, Stream]) -> Never:
        """Until the connection is lost, or cancelled: then the broker is told. `ports` may be written to."""
        async with Scope() as scope:
            scope.start(self.mqtt.run())
            confirming = scope.start(self._confirm())
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
            await self._publish(self.topics.online(time(), __version__))
            for name, device in devices.items():
                scope.start(self._presence(name, device))
            await self._records()
        raise AssertionError("a scope ends by an error")

    async def _records(self) -> Never:
        read = 0
        while True:
            for record in await self.buffer.read(read, _BATCH):
                read = record.number
                self.counts["sent"] += 1
                await self._publish(self.topics.of(record), record.number)
            await asyncio.sleep(0)  # a serial line is waiting, too

    async def _presence(self, name: str, device: Sampled) -> Never:
        with device.presence.tap() as tap:
            if device.present:
                await self._publish(self.topics.available(name, device.present))
            while True:
                await self._publish(self.topics.available(name, (await tap.take())[-1]))

    async def _publish(self, what: Publication, number: int = 0) -> Future[Ack]:
        await self._window.acquire()
        if not self.mqtt.limits.qos:
            await self.mqtt.drained()  # nothing will be acknowledged: this alone holds us back
        if self.trace.taps:
            self.trace.push(Traced(time(), "tx", what.payload, f"publish {what.topic}"))
        ack = self.mqtt.publish(what)
        self._flying.put_nowait((what.topic, number, ack))
        return ack

    async def _confirm(self) -> Never:
        """In order, as brokers acknowledge."""
        while True:
            topic, number, ack = await self._flying.get()
            outcome = await ack
            self._window.release()
            if outcome.code == QUOTA_EXCEEDED:
                raise LinkDown(f"broker refused {topic}: {outcome.words}")
            if number:
                self.buffer.confirm(number)
                self.counts["refused" if outcome.refused else "confirmed"] += 1
            if outcome.refused:
                self._complain(topic, outcome.words)
            elif topic in self._refusing:
                self._refusing.discard(topic)
                if not self._refusing:
                    self.life.label("up")

    def _complain(self, topic: str, words: str) -> None:
        if topic not in self._refusing:
            self._refusing.add(topic)
            reason = f"broker refused {topic}: {words}"
            self.life.label("up", reason)
            log.warning("%s: %s", self.life.name, reason)

    async def _receive(self, topic: str, stream: Stream, granted: Future[Ack], inbox: Queue[Message]) -> None:
        answer = await granted
        if answer.refused:
            self._complain(topic, answer.words)
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
                    await self._publish(self.topics.offline("stopped")),
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
