"""One MQTT connection on the loop: paho's packets and bookkeeping, without its threads, sockets and queues.

Promises: CONNACK, PUBACK, SUBACK and the loss are futures, messages wait in bounded queues; nothing else
leaves this file. Every code of a broker arrives in plain words. A Session is never used again: paho would
send its old messages on the next connection.
Must not be imported before a session begins: paho costs 5 MB.
"""

import asyncio
import logging
import struct
from asyncio import Future, Queue
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any, Never

from . import _no_proxies  # noqa: F401  # isort: skip  (before paho)
import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ..errors import LinkDown
from ..host import tls
from ..host.channel import Channel, Socket
from ..host.threads import in_thread
from ..host.watch import Watch
from ..policy.episodes import Episodes
from ..policy.liveness import Echo, profile
from ..scope import whose
from ..status import PeerStatus
from . import _terms
from ._mqtt5 import Packed
from ._terms import TAKEN, Ack, Hello, Limits, Message, Publication

_INBOX = 20  # messages; MQTT 5 brokers are told so, and stop there
_LARGEST_MESSAGE = 1024 * 1024  # bytes, down
_QUIET, _TOPICS = 60.0, 16  # seconds, and topics that are told apart, in the log
_OVERHEAD = 10  # bytes of a PUBLISH: fixed header 5, topic length 2, packet id 2, property length 1
log = logging.getLogger(__name__)


class _Client(paho.Client):
    """Runs over the channel that it is given, and pings when it is told to.

    The private methods of paho that this needs are all here, pinned by a test.
    """

    channel: Channel
    on_pong: Callable[[], None]

    def _create_socket_connection(self) -> Any:
        return self.channel

    def _sock_recv(self, bufsize: int) -> bytes:
        return self._open().recv(bufsize)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        return self._open().send(buf)

    def _open(self) -> "paho.SocketLike":
        """Paho would ask ssl here what an error means, and so load it; the channel has translated it."""
        sock = self.socket()
        if sock is None:
            raise ConnectionError
        return sock

    def ping(self) -> None:
        self._send_pingreq()

    def _handle_pingresp(self) -> MQTTErrorCode:
        self.on_pong()
        return super()._handle_pingresp()


@asynccontextmanager
async def connect(sock: Socket, watch: Watch, hello: Hello) -> AsyncIterator["Session"]:
    """From a dialled socket, which it takes over, to CONNACK. LinkDown in words when that fails."""
    client = _client(hello)
    work = partial(_shake_hands, client, sock, watch, hello)
    try:
        async with asyncio.timeout(hello.timeout):
            await in_thread(work, f"mqtt {hello.host}", late=Channel.release)
    except TimeoutError:
        raise LinkDown(f"no answer to the TLS or websocket handshake within {hello.timeout:g} s") from None
    try:
        session = Session(client, hello)
        await session.connack(hello.timeout)
        yield session
    finally:
        client.channel.release()


def _client(hello: Hello) -> _Client:
    client = _Client(
        CallbackAPIVersion.VERSION2,
        hello.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if hello.version == "5" else MQTTProtocolVersion.MQTTv311,
        transport="websockets" if hello.path else "tcp",
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.max_inflight_messages_set(0)  # the window is ours: paho's scans all of it at each PUBACK
    client.will_set(hello.will.topic, hello.will.payload, 1, hello.will.retain)
    if hello.username is not None:
        client.username_pw_set(hello.username, hello.password)
    if hello.path:
        scheme = "http" if hello.tls is None else "https"
        client.ws_set_options(hello.path, {"Origin": f"{scheme}://{_url_host(hello)}:{hello.port}"})
        client.connect_timeout = hello.timeout
    return client


def _shake_hands(client: _Client, sock: Socket, watch: Watch, hello: Hello) -> Channel:
    """In a thread, because it blocks. Afterwards CONNECT waits in the channel."""
    sock.settimeout(hello.timeout)
    secured = sock if hello.tls is None else tls.handshake(hello.tls, sock, hello.host)
    channel = client.channel = Channel(secured, watch)
    try:
        if hello.version == "5":
            client.connect(
                _url_host(hello), hello.port, hello.keepalive, clean_start=True, properties=_ours()
            )
        else:
            client.connect(_url_host(hello), hello.port, hello.keepalive)
    except (OSError, LookupError, ValueError):  # only the websocket handshake can fail here
        channel.release()
        fault = LinkDown(f"what answers there does not speak MQTT over websockets at {hello.path}")
        raise channel.trouble or fault from None
    return channel


def _url_host(hello: Hello) -> str:
    return f"[{hello.host}]" if ":" in hello.host else hello.host


def _ours() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = _INBOX
    properties.MaximumPacketSize = _LARGEST_MESSAGE
    return properties


class Session:
    """An open connection. `lost` is why it ended; `run()` raises that."""

    def __init__(self, client: _Client, hello: Hello) -> None:
        self._loop = asyncio.get_running_loop()
        self._client, self._channel, self._hello = client, client.channel, hello
        self.limits = Limits()
        self.hung_up = False  # the broker closed or reset the connection and said no word
        self.objected = False  # by the way it ended it may be that the broker could not stand what we sent
        self.lost: Future[Exception] = self._loop.create_future()
        self._greeted: Future[None] = self._loop.create_future()
        self._acks: dict[int, Future[Ack]] = {}
        self._inboxes: dict[str, Queue[Message]] = {}
        self._name, self._told = whose(), Episodes(_QUIET, _TOPICS)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_subscribe = self._on_publish, self._on_subscribe
        client.on_message, client.on_pong = self._on_message, self._answered
        self._echo = Echo(hello.bounds, self._loop.time())
        self._channel.attach(self._readable, self._lose)

    async def connack(self, timeout: float) -> None:
        ends: list[Future[Any]] = [self._greeted, self.lost]
        await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            raise self.lost.result()
        if not self._greeted.done():
            raise LinkDown(f"{self._unanswered} within {timeout:g} s")

    async def run(self) -> Never:
        """Asks whether the broker is still there; raises why it ended. A sibling of whoever publishes."""
        tick = profile(self._hello.bounds).tick
        while not self.lost.done():
            now = self._loop.time()
            if silence := self._echo.silence(now):
                why = f"the broker does not answer: no PINGRESP or PUBACK for {silence:.1f} s"
                self._lose(self._channel.watch.unanswered(silence, why))
            elif self._echo.ask(now):
                self._client.ping()
            await asyncio.wait([self.lost], timeout=tick)
        raise self.lost.result()

    def publish(self, what: Publication) -> Future[Ack]:
        """With the broker's best QoS up to 1. At QoS 0 it is answered when the bytes are on their way."""
        ack: Future[Ack] = self._loop.create_future()
        extra = self._hello.version == "5" and (what.properties or what.correlation)
        packed = Packed(what.properties, what.correlation) if extra else None
        size = (
            _OVERHEAD + len(what.topic.encode()) + len(what.payload) + (len(packed.pack()) if packed else 0)
        )
        if size > self.limits.packet:
            too_large = f"{size} bytes are more than the {self.limits.packet} that it takes"
            ack.set_result(Ack(_terms.TOO_LARGE, too_large))
            return ack
        retain = what.retain and self.limits.retain
        sent = self._client.publish(what.topic, what.payload, self.limits.qos, retain, packed)
        if self.limits.qos:
            self._acks[sent.mid] = ack
        else:
            ack.set_result(TAKEN)
        return ack

    def subscribe(self, topic: str, room: int = _INBOX) -> tuple[Future[Ack], Queue[Message]]:
        """The broker's answer, and where the messages will be: `room` of them, more are dropped."""
        inbox = self._inboxes[topic] = Queue(room)
        granted: Future[Ack] = self._loop.create_future()
        _, mid = self._client.subscribe(topic, self.limits.qos)
        if mid is not None:  # else the connection was lost this moment
            self._acks[mid] = granted
        return granted, inbox

    def ack(self, message: Message) -> None:
        """The message was dealt with: the broker may send the next."""
        self._client.ack(message.mid, message.qos)

    async def drained(self) -> None:
        """Until the kernel has all that was published."""
        await self._channel.drained()

    async def disconnect(self) -> None:
        """Says DISCONNECT, so that the broker does not publish the will. The caller bounds it."""
        self._client.on_disconnect = None  # it is we who leave: nothing is lost
        self._client.disconnect()
        await self._channel.drained()

    def status(self) -> PeerStatus:
        return self._channel.status()

    def _readable(self) -> None:
        try:
            self._client.loop_read()
            while self._channel.pending and not self.lost.done():
                self._client.loop_read()
        except (LookupError, ValueError, struct.error, MQTTException) as error:
            self.objected = True
            self._lose(LinkDown(f"the broker sent what is not MQTT: {error}"))
        except Exception as bug:
            self._lose(bug)

    def _lose(self, error: Exception) -> None:
        self._channel.detach()
        if not self.lost.done():
            self.lost.set_result(error)

    # paho's callbacks, all on the loop

    def _on_connect(self, client: object, data: object, flags: object, code: ReasonCode, given: Any) -> None:
        if code.is_failure:
            self._lose(_terms.down("broker refused", code.value, _words(code, given)))
            return
        self.limits = Limits(
            in_flight=getattr(given, "ReceiveMaximum", Limits().in_flight),
            packet=getattr(given, "MaximumPacketSize", Limits().packet),
            qos=min(1, getattr(given, "MaximumQoS", 1)),
            retain=bool(getattr(given, "RetainAvailable", True)),
        )
        self._answered()
        if not self._greeted.done():
            self._greeted.set_result(None)

    def _on_disconnect(self, client: object, data: object, flags: Any, code: ReasonCode, given: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.objected = code.value in _terms.OBJECTIONS
            self._lose(_terms.down("the broker ended the session", code.value, _words(code, given)))
        else:
            self.objected, self.hung_up = True, code != "Protocol error"
            self._lose(self._channel.trouble or self._why(code))

    def _why(self, code: ReasonCode) -> LinkDown:
        if code == "Protocol error" and not self._greeted.done():
            return _terms.no_mqtt(self._hello.version)
        if code == "Protocol error":
            return LinkDown("the broker sent what is not MQTT")
        if not self._greeted.done():
            return LinkDown(f"{self._unanswered} and closed the connection")
        return LinkDown("the broker closed the connection")

    @property
    def _unanswered(self) -> str:
        return f"the broker did not answer CONNECT for MQTT {self._hello.version}"

    def _answered(self) -> None:
        self._echo.heard(self._loop.time())

    def _on_publish(self, client: object, data: object, mid: int, code: ReasonCode, given: Any) -> None:
        ack = self._acks.pop(mid, None)
        if ack is None:  # at QoS 0 paho says this of what nobody has received yet
            return
        self._answered()
        if not ack.done():
            ack.set_result(Ack(code.value, _words(code, given)) if code.is_failure else TAKEN)

    def _on_subscribe(
        self, client: object, data: object, mid: int, codes: list[ReasonCode], given: Any
    ) -> None:
        self._on_publish(client, data, mid, codes[0], given)

    def _on_message(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        expires = inf
        if (left := getattr(message.properties, "MessageExpiryInterval", None)) is not None:
            expires = self._loop.time() + left
        ours = Message(
            topic=message.topic,
            payload=bytes(message.payload),
            retained=message.retain,
            repeated=message.dup,
            expires=expires,
            qos=message.qos,
            mid=message.mid,
            answer_to=getattr(message.properties, "ResponseTopic", ""),
            correlation=getattr(message.properties, "CorrelationData", b""),
        )
        inbox = self._inboxes.get(ours.topic)
        if inbox is None or inbox.full():
            if self._told.begins(ours.topic, self._loop.time()):
                why = "not subscribed" if inbox is None else "too many"
                log.warning("%s: message to %s dropped: %s", self._name, ours.topic, why)
            self._loop.call_soon(self.ack, ours)  # paho would not send it out of its own callback
        else:
            inbox.put_nowait(ours)


def _words(code: ReasonCode, given: Any) -> str:
    return _terms.words(
        code.value, str(code), getattr(given, "ReasonString", ""), getattr(given, "ServerReference", "")
    )
