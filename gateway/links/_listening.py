"""A link that listens, seen from outside: its half of the status record, and its clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..contracts import Traced
from ..flow import Fan
from ..host import net
from ..settings import Endpoint, LinkConfig
from ..status import Life, PartStatus


class Clients:
    """The peers of the listener that is open now, if one is. `refused` counts over all of them."""

    def __init__(self) -> None:
        self._listener: net.Listener | None = None
        self._refused = 0

    @asynccontextmanager
    async def listening(
        self, config: LinkConfig, endpoint: Endpoint, most: int, life: Life, trace: Fan[Traced]
    ) -> AsyncIterator[net.Listener]:
        """Bound, and said so."""
        async with net.listen(endpoint, config.liveness.detect_within, most, trace) as listener:
            self._listener = listener
            life.up(state="listening")
            try:
                yield listener
            finally:
                self._refused += listener.refused
                self._listener = None

    def status(self) -> PartStatus:
        peers = self._listener.peers.values() if self._listener is not None else ()
        refused = self._refused + (self._listener.refused if self._listener is not None else 0)
        return {"direction": "listen", "peers": [peer.status() for peer in peers], "refused": refused}
