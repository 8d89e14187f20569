"""kind = "mqtt": what the buffer holds goes up at least once and in order; `tx` and `set` come down at most
once.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from time import time
from typing import Annotated, ClassVar, Literal, NamedTuple, Never, Self

from pydantic import BeforeValidator, Field

from ..buffer import Buffer, Rules
from ..contracts import Frame, Part, Sampled, Stream, Traced
from ..errors import LinkDown
from ..flow import Fan
from ..host import clock, credentials, net, tls
from ..host.identity import machine_part
from ..host.threads import in_thread
from ..policy.liveness import Bounds, profile
from ..policy.traffic import Heartbeat, ping
from ..scope import Scope
from ..settings import Buffering, Identity, LinkConfig, Need, PortConfig, Wiring
from ..status import Life, PartStatus, PeerStatus
from ..values import ONE_OR_MORE, Endpoint, Fault, FilePath, Names, endpoint, one_or_more
from ._commands import Commands
from ._failover import Failover
from ._reading import NewestFirst, OldestFirst
from ._terms import Hello, Memory, Rivalry
from ._tls import Tls
from ._topics import Topics

_DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Broker(NamedTuple):
    """Where `connect` leads: mqtt://host[:port], mqtts://, ws://host[:port]/path, wss://.

    Websockets have a `path`, the others none.
    """

    scheme: str
    endpoint: Endpoint
    path: str

    @property
    def tls(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.endpoint}{self.path}"


def _broker(value: object) -> Broker:
    found = re.fullmatch(r"(mqtts?|wss?)://(\[[^\]]+\]|[^:/\[\]]+)(:\d+)?(/\S*)?", str(value))
    if not found:
        raise ValueError(
            'a broker is "mqtt://host:1883", "mqtts://host:8883", "ws://host/path" or "wss://host/path"'
        )
    scheme, host, port, path = found.groups(default="")
    if path and scheme.startswith("mqtt"):
        raise ValueError("only ws:// and wss:// have a path; topics begin with prefix")
    if scheme.startswith("ws"):
        path = path or "/mqtt"
    return Broker(scheme, endpoint(host + (port or f":{_DEFAULT_PORT[scheme]}")), path)


class Config(LinkConfig):
    """[links.NAME] with kind = "mqtt"."""

    wants: ClassVar[type] = Stream
    kind: Literal["mqtt"]
    connect: Annotated[
        tuple[Broker, ...],
        BeforeValidator(one_or_more(_broker)),
        ONE_OR_MORE,
        Field(description='the broker, such as "mqtts://broker.example.com:8883"'),
    ]
    client_id: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: FilePath | None = None
    password_credential: str | None = None
    version: Literal["5", "3.1.1"] = "5"
    ports: Names | None = None
    devices: Names | None = None
    prefix: Annotated[
        str, Field(min_length=1, pattern=r"^[^#+\x00]+$", description="a topic without # and +")
    ] = "gateway/{name}"
    payload: Literal["bytes", "json"] = "bytes"
    allow_tx: Names = ()
    retain: bool = False
    replay_rate: Annotated[
        int | None, Field(ge=1, description="records a second, of those that waited for the broker")
    ] = None
    order: Literal["oldest-first", "newest-first"] = "oldest-first"
    buffer: Annotated[Buffering, Field(description='{ size = "64MB", age = "7d" }')] = Buffering()
    tls: Tls = Tls()

    def faults(self) -> Iterator[Fault]:
        secrets = [key for key in ("password", "password_file", "password_credential") if getattr(self, key)]
        for key in secrets[1:]:
            yield Fault((key,), f"one password is enough: {secrets[0]} or {key}")
        if secrets and not self.username:
            yield Fault((secrets[0],), f"{secrets[0]} goes with username")
        for place, name in enumerate(self.allow_tx):
            if self.ports is not None and name not in self.ports:
                yield Fault(("allow_tx", place), f'"{name}" is not in ports: this link does not use it')
        if self.tls != Tls() and not any(broker.tls for broker in self.connect):
            yield Fault(
                ("tls",), f'tls goes with "mqtts://" or "wss://", not with "{self.connect[0].scheme}://"'
            )

    @property
    def idle_traffic(self) -> Heartbeat:
        every = profile(self.liveness.bounds(speaks=True)).heartbeat
        return ping(every, tls=self.connect[0].tls, websocket=bool(self.connect[0].path))

    @property
    def keeps(self) -> Rules:
        return self.buffer.rules

    def completed(self, ports: Mapping[str, PortConfig], devices: Collection[str]) -> Self:
        raw = [name for name, port in ports.items() if port.contract is Stream]
        return self.model_copy(
            update={
                "ports": tuple(raw) if self.ports is None else self.ports,
                "devices": tuple(devices) if self.devices is None else self.devices,
            }
        )

    def needs(self) -> Iterator[Need]:
        for key in ("ports", "allow_tx"):
            for place, name in enumerate(getattr(self, key) or ()):
                yield Need((key, place), name, Stream)

    def samples(self) -> Collection[str]:
        return self.devices or ()

    def build(self, name: str, wiring: Wiring, /) -> Part:
        ports = {port: wiring.stream(port) for port in (*(self.ports or ()), *self.allow_tx)}
        devices = {device: wiring.device(device) for device in self.devices or ()}
        fans: dict[str, Fan[Frame] | Fan[bytes]] = {
            **{f"port/{port}": ports[port].frames for port in self.ports or ()},
            **{f"device/{device}": sampled.frames for device, sampled in devices.items()},
        }
        return Link(self, name, wiring.identity, ports, devices, wiring.buffer(name, fans))


class Link:
    """One broker. `ports` are those whose frames go up and those that may be written to."""

    def __init__(
        self,
        config: Config,
        name: str,
        identity: Identity,
        ports: Mapping[str, Stream],
        devices: Mapping[str, Sampled],
        buffer: Buffer,
    ) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self._name, self._identity = name, identity
        self._ports, self._devices, self._buffer = ports, devices, buffer
        self._memory, self._rivalry, self._failover = Memory(), Rivalry(), Failover()
        self._commands = Commands(name, clock.Setting().known)
        self._peer: Callable[[], PeerStatus] | None = None

    async def session(self, life: Life, /) -> Never:
        async with self._failover.turn(self.config.connect, life) as broker:
            await self._serve(broker, life)
        raise AssertionError

    async def _serve(self, broker: Broker, life: Life) -> Never:
        config, bounds = self.config, self.config.liveness.bounds(speaks=True)
        now = asyncio.get_running_loop().time
        rivalry, self._rivalry = self._rivalry, Rivalry()  # over if the broker cannot be had this time
        password, context = await in_thread(partial(self._files, broker), f"{self._name}: files")
        from ._paho import connect
        from ._publisher import Publisher
        from ._uplink import Uplink

        topics = Topics(self._identity.fill(config.prefix), config.payload, config.retain)
        hello = self._hello(broker, bounds, topics, password, context)
        async with (
            net.dial(broker.endpoint, bounds) as (sock, watch),
            connect(sock, watch, hello) as mqtt,
            Scope() as scope,
        ):
            life.up()
            began, self._peer, self._rivalry = now(), mqtt.status, rivalry
            scope.start(self._failover.preferred(config.connect[0].endpoint, bounds, config.reconnect))
            publisher = Publisher(
                life=life,
                mqtt=mqtt,
                topics=topics,
                buffer=self._buffer,
                memory=self._memory,
                reader=(OldestFirst if config.order == "oldest-first" else NewestFirst)(self._buffer),
                replay_rate=config.replay_rate,
                trace=self.trace,
            )
            uplink = Uplink(
                life=life,
                mqtt=mqtt,
                topics=topics,
                publisher=publisher,
                commands=self._commands,
                trace=self.trace,
            )
            try:
                await uplink.serve(self._devices, {port: self._ports[port] for port in config.allow_tx})
            except LinkDown as down:
                if mqtt.objected and (blamed := publisher.blamed(down)):
                    raise blamed from None
                raise rivalry.judged(down, now() - began, mqtt.hung_up, hello.client_id) from None
            finally:
                self._peer = None
        raise AssertionError("a scope ends by an error")

    def _hello(
        self,
        broker: Broker,
        bounds: Bounds,
        topics: Topics,
        password: str | None,
        context: tls.Context | None,
    ) -> Hello:
        config = self.config
        return Hello(
            host=broker.endpoint.host,
            port=broker.endpoint.port,
            path=broker.path,
            tls=context,
            version=config.version,
            client_id=self._client_id(),
            username=config.username,
            password=password,
            will=topics.offline("connection lost"),
            bounds=bounds,
        )

    def _client_id(self) -> str:
        """By default as short as 3.1.1 promises to take (3.1.3.1), and no two links or machines have one."""
        if self.config.client_id is not None:
            return self._identity.fill(self.config.client_id)
        return f"{self._identity.name[:14]}-{machine_part(self._name)}"

    def _files(self, broker: Broker) -> tuple[str | None, tls.Context | None]:
        """What must be read or computed beside the loop. Again for each session: secrets are rotated."""
        from . import _uplink  # noqa: F401  the import of paho alone takes 30 ms, and 5 MB that others save

        config = self.config
        password = config.password
        if config.password_file is not None:
            password = credentials.from_file(config.password_file)
        elif config.password_credential is not None:
            password = credentials.from_systemd(config.password_credential)
        if not broker.tls:
            return password, None
        return password, tls.context(config.tls.ca, config.tls.cert, config.tls.key)

    def status(self) -> PartStatus:
        config = self.config
        return {
            "kind": config.kind,
            "direction": "connect",
            "ports": list(config.ports or ()),
            "devices": list(config.devices or ()),
            "endpoint": self._failover.now(config.connect),
            "detect_within_s": config.liveness.detect_within,
            "peers": [] if self._peer is None else [self._peer()],
            "refused": self._memory.counts["refused"],
            "buffer": self._buffer.status(time()),
            "sent": self._memory.counts["sent"],
            "confirmed": self._memory.counts["confirmed"],
            "commands": self._commands.status(),
        }
