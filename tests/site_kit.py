"""A site whose parts only write down what they live: configs, the parts that they build, and the diary."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal, Never

from buffer_kit import Store, rules

from gateway.buffer import Rules
from gateway.config import Tree
from gateway.config.sections import Gateway
from gateway.contracts import Frame, Part, Request, Settings, Stream, Traced, Transactor, failed
from gateway.devices.model import DeviceConfig
from gateway.errors import LineDown, LinkDown
from gateway.flow import Fan
from gateway.scope import Scope
from gateway.settings import Identity, LinkConfig, Need, PortConfig, Reconnect, Wiring
from gateway.site import Site
from gateway.status import Life, PartStatus
from gateway.values import Names

ME = Identity("here", "host", "02:00:00:00:00:01")
DIARY: list[str] = []  # "+ports.meters 9600": its session began; "-ports.meters 9600": it ended


@dataclass(eq=False)
class Diarist:
    """A part whose session begins, waits and ends, and says so. A stubborn one does not end at once."""

    name: str
    config: Any
    state: str
    stubborn_for: float = 0.0
    trace: Fan[Traced] = field(default_factory=Fan)

    async def session(self, life: Life, /) -> Never:
        entry = f"{self.name} {self.config.tag}".strip()
        DIARY.append(f"+{entry}")
        life.up(state=self.state)
        try:
            await asyncio.get_running_loop().create_future()
            raise AssertionError
        finally:
            await asyncio.shield(asyncio.sleep(self.stubborn_for))
            DIARY.append(f"-{entry}")

    def status(self) -> PartStatus:
        return {"present": self.config.tag}


@dataclass(eq=False)
class Line(Diarist):
    """A port: a Stream and a Transactor both, but its config says as which it may be used."""

    away: str = "the port is not open yet"

    chunks: Fan[bytes] = field(default_factory=Fan)
    frames: Fan[Frame] = field(default_factory=Fan)
    presence: Fan[bytes] = field(default_factory=Fan)
    unfinished: int = 0
    rate: float = 960.0

    def offer(self, data: bytes, /) -> bool:
        return False

    async def send(self, data: bytes, /) -> None:
        raise LineDown("it is only a test")

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        return failed(LineDown(self.away))

    @property
    def settings(self) -> Settings:
        return Settings(self.config.baudrate, self.config.format)

    def unnoticed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def elsewhere(self, settings: Settings, /) -> AbstractAsyncContextManager[Transactor]:
        return nullcontext(self)


class RawPort(PortConfig):
    offers: ClassVar[Mapping[str, type]] = {"": Stream}
    mode: Literal["raw"] = "raw"
    tty: str = "/dev/null"
    baudrate: int = 9600
    format: str = "8N1"
    tag: str = ""
    stubborn_for: float = 0.0

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Line(f"ports.{name}", self, "open", self.stubborn_for)


class BusPort(RawPort):
    offers: ClassVar[Mapping[str, type]] = {"": Transactor}
    mode: Literal["bus"] = "bus"  # type: ignore[assignment]


class LiveLink(LinkConfig):
    """Uses ports and keeps nothing."""

    wants: ClassVar[type] = Stream
    kind: Literal["live"] = "live"
    ports: Names = ()
    buses: Names = ()
    tag: str = ""

    def needs(self) -> Iterator[Need]:
        for name in self.ports:
            yield Need(("ports",), name, Stream)
        for name in self.buses:
            yield Need(("buses",), name, Transactor)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        used = [*map(wiring.stream, self.ports), *map(wiring.transactor, self.buses)]
        BUILT[name] = wiring.identity.name, used
        return Diarist(f"links.{name}", self, "up")


class KeepingLink(LiveLink):
    """Keeps what its ports and devices say."""

    kind: Literal["keeping"] = "keeping"  # type: ignore[assignment]
    devices: Names = ()
    keeps: ClassVar[Rules] = rules()  # type: ignore[misc]

    def samples(self) -> Names:
        return self.devices

    def build(self, name: str, wiring: Wiring, /) -> Part:
        ports = {f"port/{port}": wiring.stream(port).frames for port in self.ports}
        devices = {f"device/{device}": wiring.device(device).frames for device in self.devices}
        BUFFERS[name] = wiring.buffer(name, ports | devices)
        return super().build(name, wiring)


class Unreachable(Diarist):
    """Tries, says so and fails."""

    async def session(self, life: Life, /) -> Never:
        DIARY.append(f"{self.name} tries")
        raise LinkDown("network unreachable")


class LostLink(LiveLink):
    """Nobody is there, and the next try is far away."""

    kind: Literal["lost"] = "lost"  # type: ignore[assignment]
    reconnect: Reconnect = Reconnect.model_validate({"first": "1h", "max": "1h"})

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Unreachable(f"links.{name}", self, "up")


class LostPort(RawPort):
    mode: Literal["lost"] = "lost"  # type: ignore[assignment]

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Unreachable(f"ports.{name}", self, "open")


BUILT: dict[str, tuple[str, list[object]]] = {}  # of each link the last: for whom, and with which ports
BUFFERS: dict[str, Any] = {}


def tree(**parts: Any) -> Tree:
    """Of ports, devices and links; what each is, its type says."""

    def of(kind: type) -> dict[str, Any]:
        return {name: part for name, part in parts.items() if isinstance(part, kind)}

    return Tree(
        gateway=Gateway(name="here"), ports=of(PortConfig), links=of(LinkConfig), devices=of(DeviceConfig)
    )


def device(port: str, unit: int = 1) -> DeviceConfig:
    point = {"holding": 0, "type": "uint16"}
    return DeviceConfig.model_validate({"port": port, "unit_id": unit, "points": {"x": point}})


@asynccontextmanager
async def a_site(store: Store | None = None) -> AsyncIterator[Site]:
    for memory in (DIARY, BUILT, BUFFERS):
        memory.clear()
    async with Scope() as scope:
        site = Site(scope, Random(1), store or Store())
        yield site
        await site.stop()


def written() -> list[str]:
    """What is new in the diary."""
    entries = list(DIARY)
    DIARY.clear()
    return entries
