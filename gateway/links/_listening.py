"""A link that listens, seen from outside: its half of the status record, and its clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..contracts import Traced
from ..flow import Fan
from ..host import net
from ..host.listener import Listener, Places
from ..host.threads import in_thread
from ..settings import Listening, Liveness
from ..status import Life, PartStatus
from ..values import Endpoint
from ._tls import Tls

_IDLE = 60.0  # seconds


class Clients:
    """The peers of the listener that is open now, if one is. What is counted, is over all of them."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._refused = self._not_allowed = 0

    @asynccontextmanager
    async def listening(
        self,
        liveness: Liveness,
        endpoint: Endpoint,
        config: Listening,
        life: Life,
        trace: Fan[Traced],
        tls: Tls | None = None,
        *,
        speaks: bool = False,
    ) -> AsyncIterator[Listener]:
        """Bound, and said so. `speaks`: each client is sent a heartbeat, often enough to find it dead."""
        context = None if tls is None else await in_thread(tls.for_listening, f"{life.name}: files")
        places = Places(
            config.places,
            _IDLE if config.when_full_clients == "drop-idle" else None,
            config.kick_old_client,
            config.allow,
        )
        async with net.listen(endpoint, liveness.bounds(speaks=speaks), places, trace, context) as listener:
            self._listener = listener
            life.up(state="listening")
            try:
                yield listener
            finally:
                self._refused += listener.refused
                self._not_allowed += listener.gate.not_allowed
                self._listener = None

    def status(self) -> PartStatus:
        status: PartStatus = {
            "direction": "listen",
            "peers": [],
            "refused": self._refused,
            "not_allowed": self._not_allowed,
        }
        if (listener := self._listener) is not None:
            status["peers"] = [peer.status() for peer in listener.peers.values()]
            status["refused"] += listener.refused
            status["not_allowed"] += listener.gate.not_allowed
        return status
