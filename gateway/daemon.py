"""gatewayd: arguments, signals, the states that systemd is told, exit codes. Makes the Site.

Exit codes: 0 after a clean stop; 1 when there is no usable config, another gatewayd is running, or a bug
could not be contained. A bad file at start falls back to the last good one; a bad file at reload changes
nothing.
"""

from . import _no_openssl  # noqa: F401  # isort: skip  (before asyncio)
import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from . import __version__, config, control, lastgood
from .config import Loaded, Tree
from .contracts import Scannable, Traced
from .control import Event, Events, Kept, Reloaded
from .errors import GatewayError
from .flow import Fan
from .host import clock, netlink
from .host.identity import identity
from .host.loop import new_event_loop
from .host.systemd import Notifier, log_to_stderr, run_directory, state_directory
from .host.threads import in_thread
from .scope import Scope
from .site import Site, at_work
from .status import Record, timestamp
from .store.buffers import Buffers, Name
from .store.clock import Clock

CONFIG = Path("/etc/gateway/gateway.toml")
_STOP_WITHIN = 5.0  # seconds
log = logging.getLogger("gateway")


class Start(NamedTuple):
    """What to begin with: the file's own tree, or the last good one and what is wrong with the file."""

    tree: Tree
    problems: list[str]


class Gateway:
    """The running daemon as the control socket sees it: one site and one config file."""

    def __init__(
        self, path: Path, start: Start, site: Site, buffers: Buffers, notifier: Notifier, events: Events
    ) -> None:
        self._path, self._site, self._buffers, self._notifier = path, site, buffers, notifier
        self._events = events
        self._tree, self._problems = start.tree, start.problems
        self._began, self._loaded_at = time.monotonic(), time.time()
        self._reloading = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Reads the file again. With problems it changes nothing."""
        async with self._reloading:
            self._notifier.reloading()
            try:
                return await self._reload()
            finally:
                self._notifier.ready(self._summary())

    async def _reload(self) -> Reloaded:
        loaded = await in_thread(partial(config.load, self._path, os.environ), "config")
        self._problems = [str(problem) for problem in loaded.problems]
        warnings = [str(warning) for warning in loaded.warnings]
        if loaded.tree is None:
            log.error("%s is not used, the config in force stays", self._path)
            _log_all(logging.ERROR, self._problems)
            return Reloaded(self._problems, warnings, [])
        for key in ("run_dir", "state_dir"):
            if getattr(loaded.tree.gateway, key) != getattr(self._tree.gateway, key):
                warnings.append(f"{self._path}: gateway.{key}: counts from the next start on")
        _log_all(logging.WARNING, warnings)
        await in_thread(partial(_remember, self._path, loaded), "last good config")
        changed = await self._site.apply(loaded.tree, identity(loaded.tree.gateway.name))
        self._tree, self._loaded_at = loaded.tree, time.time()
        log.info("%s loaded again; changed: %s", self._path, ", ".join(changed) or "nothing")
        return Reloaded([], warnings, changed)

    def status(self) -> Record:
        parts = self._site.status()
        return {
            "gateway": {
                "name": self._tree.gateway.name,
                "version": __version__,
                "pid": os.getpid(),
                "uptime_s": round(time.monotonic() - self._began, 1),
                "config": str(self._path),
                "config_loaded_at": timestamp(self._loaded_at),
                "config_problems": self._problems,
                "state": "ok" if at_work(parts) and not self._problems else "degraded",
            },
            "ports": parts["ports"],
            "links": parts["links"],
            "devices": parts["devices"],
        }

    def events(self) -> list[Event]:
        return self._events.told()

    def trace(self, name: str, /) -> Fan[Traced]:
        traces = self._site.traces()
        if name not in traces:
            raise control.no_such("port, link or device", name, traces)
        return traces[name]

    def line(self, port: str, /) -> Scannable:
        return self._site.line(self._known(port))

    def lent(self, port: str, /) -> AbstractAsyncContextManager[Scannable]:
        return self._site.lent(self._known(port))

    async def pause(self, port: str, seconds: float, /) -> None:
        await self._site.pause(self._known(port), seconds)

    def resume(self, port: str, /) -> None:
        self._site.resume(self._known(port))

    def _known(self, port: str) -> str:
        if port not in (ports := self._site.status()["ports"]):
            raise control.no_such("port", port, ports)
        return port

    def buffers(self) -> Mapping[str, Kept]:
        return dict(map(self._kept, self._buffers.names()))

    def _kept(self, name: Name) -> tuple[str, Kept]:
        buffers, wanted = self._buffers, self._buffers.is_wanted(name)
        kept = Kept(buffers.of(name), name.link, name.kind, wanted, buffers.written_today(name))
        return name.link if wanted else str(name), kept

    def _summary(self) -> str:
        if self._problems:
            return f"running with an earlier config; problems in {self._path}: {len(self._problems)}"
        tree = self._tree
        return f"ports: {len(tree.ports)}, links: {len(tree.links)}, devices: {len(tree.devices)}"

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop`."""
        await self._site.apply(self._tree, identity(self._tree.gateway.name))
        gc.collect()
        self._notifier.ready(self._summary())
        log.info("gatewayd %s is ready: %s", __version__, self._summary())
        await stop.wait()
        self._notifier.stopping()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_WITHIN):
                await self._site.stop()


async def _serve(path: Path, start: Start, events: Events) -> None:
    notifier = Notifier(os.environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Scope() as scope:
        scope.start(notifier.feed_watchdog(), "watchdog")
        run = start.tree.gateway.run_dir or run_directory(os.environ)
        state = start.tree.gateway.state_dir or state_directory(os.environ)
        buffers = Buffers(state / "buffers", run / "buffers", _clock(loop))
        site = Site(scope, Random(), buffers)
        gateway = Gateway(path, start, site, buffers, notifier, events)
        scope.start(netlink.follow(site.heard), "netlink")
        loop.add_signal_handler(signal.SIGHUP, lambda: scope.start(gateway.reload(), "reload"))
        async with control.serve(run / "control.sock", gateway):
            scope.start(buffers.run(), "buffers")
            await gateway.run(stop)
        with suppress(TimeoutError):  # a disk that hangs: the journals have it
            async with asyncio.timeout(_STOP_WITHIN):
                await buffers.close()
    log.info("gatewayd has stopped")


def _clock(loop: asyncio.AbstractEventLoop) -> Clock:
    return Clock(loop.time, time.time, clock.Setting().known, time.time_ns() // 1_000_000)


def _start(path: Path) -> Start | None:
    """None, with everything said, when there is nothing to run with."""
    loaded = config.load(path, os.environ)
    problems = [str(problem) for problem in loaded.problems]
    _log_all(logging.WARNING, [str(warning) for warning in loaded.warnings])
    _log_all(logging.ERROR, problems)
    if loaded.tree is not None:
        _remember(path, loaded)
        return Start(loaded.tree, [])
    for state in _state_directories(loaded):
        last = lastgood.recall(path, state, os.environ)
        if last is not None and last.tree is not None:
            log.error("%s cannot be used: starting with the last good one", path)
            return Start(last.tree, problems)
    log.error("%s cannot be used, and there is no earlier good one", path)
    return None


def _check(path: Path) -> int:
    loaded = config.load(path, os.environ)
    print(loaded.report(path))
    return 1 if loaded.problems else 0


def _remember(path: Path, loaded: Loaded) -> None:
    for state in _state_directories(loaded):
        lastgood.remember(path, state)


def _state_directories(loaded: Loaded) -> list[Path]:
    """What the file says, and where to look when it cannot be read any more."""
    usual = state_directory(os.environ)
    return list(dict.fromkeys((loaded.state_dir or usual, usual)))


def _log_all(level: int, lines: Sequence[str]) -> None:
    for line in lines:
        log.log(level, "%s", line)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gatewayd", description="Serial server and edge gateway.")
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help=f"default: {CONFIG}")
    parser.add_argument("--check", action="store_true", help="say what is wrong with the file, and exit")
    parser.add_argument("--version", action="version", version=f"gatewayd {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    if options.check:
        return _check(options.config)
    log_to_stderr()
    events = Events()
    logging.getLogger().addHandler(events)
    start = _start(options.config)
    if start is None:
        return 1
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(options.config, start, events))
    except GatewayError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
