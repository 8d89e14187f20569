"""The running set of parts: start and reload are one function, stop has an order.

Birth: ports, devices, links. Death: links (they say goodbye), devices, ports; each step ends before the next
begins and has a bound. A reload touches only what changed: the same shape keeps the part and runs its next
session with the new config; another shape builds it anew, and with it whatever holds a reference to it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from random import Random
from time import localtime, strftime, time
from typing import NamedTuple, Never, Protocol

from .buffer import Buffer, Rules
from .config import Tree
from .contracts import (
    Asking,
    Closable,
    Counted,
    Frame,
    Measuring,
    Part,
    Sampled,
    Scannable,
    Stream,
    Traced,
    Transactor,
)
from .devices.model import DeviceConfig
from .devices.poller import Device
from .errors import GatewayError
from .flow import Fan
from .host.netlink import News
from .host.watch import at as watch_at
from .policy.backoff import Backoff
from .policy.episodes import Episodes
from .scope import Scope
from .settings import Identity, LinkConfig, PortConfig
from .status import Life
from .store.buffers import Name
from .supervise import Hold, supervise

PORT_RETRY = 1.0  # seconds: a tty that is back should be used at once
_GOODBYE = 2.5  # seconds that each group of parts has to end
_GROUPS = ("ports", "devices", "links")  # in the order of birth
_TRYING = {"ports": "waiting", "devices": "unknown", "links": "connecting"}
_AT_WORK = frozenset({"up", "listening", "idle", "open", "ok"})
_QUIET = 60.0  # seconds: a network that comes and goes is told once
log = logging.getLogger(__name__)

Config = PortConfig | DeviceConfig | LinkConfig


class Key(NamedTuple):
    """Which part: ports.meters, devices.main-meter, links.cloud."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}.{self.name}"


class Store(Protocol):
    """What a site needs of `store.buffers`."""

    async def prepare(self, wanted: Mapping[Name, Rules], total: int, /) -> None: ...
    def of(self, name: Name, /) -> Buffer: ...


class Site:
    """Also the Wiring that links are built with. Lives inside the block of the Scope that it is given."""

    identity: Identity

    def __init__(self, scope: Scope, random: Random, buffers: Store) -> None:
        self._scope, self._random, self._buffers = scope, random, buffers
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._configs: dict[Key, Config] = {}
        self._parts: dict[Key, Part] = {}
        self._lives: dict[Key, Life] = {}
        self._tasks: dict[Key, asyncio.Task[Never]] = {}
        self._holds: dict[Key, Hold] = {}  # ports that are kept closed, and why
        self._changing = asyncio.Lock()
        self._way_back = asyncio.Event()
        self._told = Episodes(_QUIET, 16)  # interfaces that are back, in the log

    async def apply(self, tree: Tree, identity: Identity) -> list[str]:
        """Makes the site what `tree` says. Returns the names of what was started, stopped or changed.

        Each part has begun then: a link that can have its (numeric) address listens.
        """
        async with self._changing:
            return await self._apply(tree, identity)

    async def _apply(self, tree: Tree, identity: Identity) -> list[str]:
        wanted = _wanted(tree)
        changed = {key for key in {*self._configs, *wanted} if self._configs.get(key) != wanted.get(key)}
        rebuilt = self._to_rebuild(wanted, changed)
        if self._configs and identity != self.identity:
            rebuilt |= set(self._of("links"))  # their topics and texts hold the name
        self.identity = identity
        await self._end(changed | rebuilt)
        await self._buffers.prepare(_kept(tree.links), tree.gateway.buffer_total)
        for key in rebuilt:  # from here to the next births nothing waits, so that no record is missed
            self._parts.pop(key, None)
            if isinstance(old := self._configs[key], LinkConfig) and old.keeps is not None:
                self._buffers.of(Name(key.name, old.kind)).fill_from({})
            if key not in wanted:
                del self._lives[key]
        self._configs = wanted
        for key in _in_order_of_birth(wanted):
            self._begin(key, wanted[key])
        await asyncio.sleep(0)  # every session's first step: binding an address waits for nothing
        return [str(key) for key in sorted(changed | rebuilt)]

    def _to_rebuild(self, wanted: Mapping[Key, Config], changed: Iterable[Key]) -> set[Key]:
        """What is gone or has another shape, and what holds a reference to such a part."""
        rebuilt: set[Key] = set()
        for key in _in_order_of_birth(self._configs):
            config = self._configs[key]
            gone = key in changed and (key not in wanted or wanted[key].shape != config.shape)
            if gone or any(used in rebuilt for used in _uses(config)):
                rebuilt.add(key)
        return rebuilt

    def _begin(self, key: Key, config: Config) -> None:
        if key in self._tasks:
            return
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = self._build(key.name, config)
        part.config = config
        life = self._lives.get(key)
        if life is None:
            life = self._lives[key] = Life(str(key), _TRYING[key.group], self._now, time)
        self._tasks[key] = self._scope.start(self._lived(key, part, life), str(key))

    async def _lived(self, key: Key, part: Part, life: Life) -> Never:
        while (hold := self._holds.get(key)) is not None:
            _keep_closed(part, hold.reason)
            life.label("paused", hold.reason, hold.until)
            await hold.over()
            del self._holds[key]
            _keep_closed(part, "the port is not open yet")
        way_back = self._way_back if key.group == "links" else None
        with self._answering(part):
            await supervise(part, life, self._backoff(part.config), way_back)

    @contextmanager
    def _answering(self, part: Part) -> Iterator[None]:
        """A link that stands for units on a port does so while its far end is away, too."""
        with ExitStack() as claimed:
            for claim in part.config.claims() if isinstance(part.config, LinkConfig) else ():
                port = self._parts[Key("ports", claim.port)]
                assert isinstance(port, Asking)
                assert isinstance(part, Transactor)
                claimed.enter_context(port.answered_by(part, claim.units))
            yield

    def _build(self, name: str, config: Config) -> Part:
        match config:
            case PortConfig():
                return config.build(name, self)
            case DeviceConfig():
                return Device(name, config, self.transactor(config.port))
            case LinkConfig():
                return config.build(name, self)

    def _backoff(self, config: Config) -> Backoff:
        if isinstance(config, LinkConfig):
            again = config.reconnect
            return Backoff(again.first, again.max, again.stable, self._random)
        return Backoff(PORT_RETRY, PORT_RETRY, 0.0, self._random)

    def heard(self, news: News) -> None:
        """What the kernel says of the network, for connections and for those that wait."""
        for watch in watch_at(news.addresses):
            match news.what:
                case "address gone":
                    watch.die(f"our address {watch.address} is gone")
                case "carrier lost":
                    watch.hurry()
                case "carrier back":
                    watch.calm()
        if news.what in ("carrier back", "way back"):
            if self._told.begins(news.interface, self._now()):
                log.info("the network is back%s", f" on {news.interface}" if news.interface else "")
            self.way_back()

    def way_back(self) -> None:
        """An address, a carrier or a route came back: each link that waits makes one early try."""
        self._way_back.set()
        self._way_back.clear()  # it is for those who wait now, not for those who will

    async def stop(self) -> None:
        await self._end(self._tasks)

    async def _end(self, keys: Iterable[Key]) -> None:
        for group in reversed(_GROUPS):
            tasks = [self._tasks.pop(key) for key in tuple(keys) if key.group == group and key in self._tasks]
            for task in tasks:
                task.cancel()
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=_GOODBYE)
                for task in late:
                    log.error("%s does not end", task.get_name())

    # Ports that are let go of for a while

    async def pause(self, port: str, seconds: float) -> None:
        """Closes its tty, and opens it again after so long; whoever needs it is told so meanwhile.

        GatewayError while it is scanned.
        """
        until = strftime("%H:%M:%S", localtime(time() + seconds))
        hold = Hold(f"paused until {until} by gatewayctl", self._now() + seconds)
        await self._close(Key("ports", port), hold)

    def resume(self, port: str) -> None:
        """Before that. GatewayError when it is not paused."""
        hold = self._holds.get(Key("ports", port))
        if hold is None or hold.until is None:
            raise GatewayError(f"{port} is {hold.reason if hold else 'not paused'}")
        hold.release()

    @asynccontextmanager
    async def lent(self, port: str) -> AsyncIterator[Scannable]:
        """Its tty is closed, for the caller to open it, while the block lasts.

        GatewayError when it is paused, or lent already.
        """
        hold, line = Hold("being scanned by gatewayctl"), self.line(port)
        try:
            await self._close(Key("ports", port), hold)
            yield line
        finally:
            hold.release()

    async def _close(self, key: Key, hold: Hold) -> None:
        async with self._changing:
            if key not in self._configs:
                raise GatewayError(f"{key.name} has just left the config")
            held = self._holds.get(key)
            if held is not None and None in (held.until, hold.until):  # only a pause may follow a pause
                raise GatewayError(f"{key.name} is {held.reason}")
            self._holds[key] = hold
            _keep_closed(self._parts[key], hold.reason)
            log.info("%s: %s", key, hold.reason)
            try:
                await self._end((key,))
            finally:
                self._begin(key, self._configs[key])
            await asyncio.sleep(0)  # now its state says so

    def line(self, port: str) -> Scannable:
        """Where its unit ids can be asked. GatewayError when it has none, or its master asks them."""
        config, part = self._configs[Key("ports", port)], self._parts[Key("ports", port)]
        assert isinstance(config, PortConfig)
        if config.contract is Transactor and isinstance(part, Scannable):
            return part
        why = "a raw port has no unit ids"
        if getattr(config, "role", None) == "server":
            why = 'its role is "server": the master on this line asks, not we'
        raise GatewayError(f"{port} cannot be asked: {why}")

    # The Wiring

    def stream(self, port: str, /) -> Stream:
        part = self._parts[Key("ports", port)]
        assert isinstance(part, Stream)
        return part

    def transactor(self, port: str, /) -> Transactor:
        part = self._parts[Key("ports", port)]
        assert isinstance(part, Transactor)
        return part

    def counted(self, port: str, /) -> Counted:
        part = self._parts[Key("ports", port)]
        assert isinstance(part, Counted)
        return part

    def uptime(self) -> float:
        return self._now() - self._began

    def device(self, name: str, /) -> Sampled:
        part: object = self._parts.get(Key("devices", name)) or self._parts[Key("ports", name)]
        sampled = part.values if isinstance(part, Measuring) else part
        assert isinstance(sampled, Sampled)
        return sampled

    def buffer(self, link: str, fans: Mapping[str, Fan[Frame] | Fan[bytes]], /) -> Buffer:
        config = self._configs[Key("links", link)]
        assert isinstance(config, LinkConfig)
        buffer = self._buffers.of(Name(link, config.kind))
        buffer.fill_from(fans)
        return buffer

    # What is seen from outside

    def status(self) -> dict[str, dict[str, dict[str, object]]]:
        """By group and name."""
        record: dict[str, dict[str, dict[str, object]]] = {group: {} for group in _GROUPS}
        for key in self._configs:
            life, part = self._lives[key].status(), self._parts[key].status()
            reason = life["reason"] or part.get("reason", "")
            record[key.group][key.name] = {**life, **part, "reason": reason}
        return record

    def traces(self) -> Mapping[str, Fan[Traced]]:
        """By name, a link's before a device's before a port's where they share it, and as "ports.meters"."""
        named = {key.name: self._parts[key].trace for group in _GROUPS for key in self._of(group)}
        return named | {str(key): self._parts[key].trace for key in self._configs}

    def _of(self, group: str) -> Iterator[Key]:
        return (key for key in self._configs if key.group == group)


def _keep_closed(part: Part, reason: str) -> None:
    assert isinstance(part, Closable)
    part.away = reason


def at_work(status: Mapping[str, Mapping[str, Mapping[str, object]]]) -> bool:
    """By a site's status: everything that is configured does what it is for, and what it keeps is safe."""
    things = [thing for group in status.values() for thing in group.values()]
    return all(thing["state"] in _AT_WORK and not _in_trouble(thing.get("buffer")) for thing in things)


def _in_trouble(buffer: object) -> bool:
    return isinstance(buffer, dict) and bool(buffer["trouble"])


def _wanted(tree: Tree) -> dict[Key, Config]:
    groups: tuple[tuple[str, Mapping[str, Config]], ...] = (
        ("ports", tree.ports),
        ("devices", tree.devices),
        ("links", tree.links),
    )
    return {Key(group, name): config for group, tables in groups for name, config in tables.items()}


def _in_order_of_birth(configs: Mapping[Key, Config]) -> list[Key]:
    """By group; inside one, ports that others answer for behind those."""

    def rank(key: Key) -> tuple[int, bool]:
        return _GROUPS.index(key.group), any(used.group == key.group for used in _uses(configs[key]))

    return sorted(configs, key=rank)


def _kept(links: Mapping[str, LinkConfig]) -> dict[Name, Rules]:
    return {Name(name, link.kind): link.keeps for name, link in links.items() if link.keeps is not None}


def _uses(config: Config) -> Iterator[Key]:
    """The parts that this one's part holds a reference to."""
    match config:
        case PortConfig():
            yield from (Key("ports", need.port) for need in config.needs())
        case DeviceConfig():
            yield Key("ports", config.port)
        case LinkConfig():
            yield from (Key("ports", need.port) for need in config.needs())
            yield from (Key(group, name) for name in config.samples() for group in ("devices", "ports"))
