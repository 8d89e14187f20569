"""A link that either listens or connects: which keys go with which, and its connection, if it connects."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Protocol

from ..contracts import Traced
from ..flow import Fan
from ..host.connection import Connection
from ..host.net import connect
from ..host.threads import in_thread
from ..scope import Scope
from ..settings import Listening, Liveness, Reconnect
from ..status import Life
from ..values import Connect, Fault, Listen
from ._failover import Failover
from ._tls import Tls


class Ends(Protocol):
    """The Config of such a link."""

    @property
    def listen(self) -> Listen | None: ...

    @property
    def connect(self) -> Connect | None: ...

    @property
    def tls(self) -> Tls | None: ...

    @property
    def liveness(self) -> Liveness: ...

    @property
    def reconnect(self) -> Reconnect: ...

    @property
    def heartbeats(self) -> bool:
        """Its own heartbeat comes often enough to tell in time that the far end is dead."""

    @property
    def model_fields_set(self) -> set[str]: ...


def who_dials(config: Ends, dialling: Iterable[str]) -> Iterator[Fault]:
    """What does not fit together of these keys; those in `dialling` go with connect alone."""
    if config.listen is not None and config.connect is not None:
        yield Fault(("connect",), "a link listens or connects, not both")
    elif config.listen is None and config.connect is None:
        yield Fault((), 'who dials? write listen = "address:port" or connect = "host:port"')
    if config.connect is not None:
        yield from _misplaced(config, Listening.model_fields, "listen")
    elif config.listen is not None:
        yield from _misplaced(config, dialling, "connect")
        if config.tls is not None and not (config.tls.cert and config.tls.key):
            yield Fault(("tls",), 'who listens shows a certificate: { cert = "...", key = "..." }')


def over_udp(config: Ends, dialling: Iterable[str]) -> Iterator[Fault]:
    """The same for transport = "udp", which listens, and knows no connections."""
    for key in ("connect", "tls", "kick_old_client", *dialling):
        if key in config.model_fields_set:
            yield Fault((key,), f'{key} goes with transport = "tcp"')
    if config.listen is None and config.connect is None:
        yield Fault((), 'where does it listen? write listen = "address:port"')


def _misplaced(config: Ends, keys: Iterable[str], where: str) -> Iterator[Fault]:
    return (Fault((key,), f"{key} goes with {where}") for key in keys if key in config.model_fields_set)


@asynccontextmanager
async def dialled(
    config: Ends, failover: Failover, life: Life, trace: Fan[Traced]
) -> AsyncIterator[Connection]:
    """To the far end whose turn it is, until that ends, or a better one is back."""
    assert config.connect is not None
    bounds = config.liveness.bounds(speaks=config.heartbeats)
    tls = None if config.tls is None else await in_thread(config.tls.for_dialling, f"{life.name}: files")
    async with (
        failover.turn(config.connect, life) as end,
        connect(end, bounds, trace, tls) as connection,
        Scope() as scope,
    ):
        scope.start(failover.preferred(config.connect[0], bounds, config.reconnect))
        yield connection
