"""Who may come in at all, by address. The others are counted, and told once per episode, not one by one."""

import asyncio
import logging
from collections.abc import Collection

from ..policy.access import Network, address_of, nearest
from ..policy.episodes import Episodes
from ..scope import whose

_QUIET = 600.0  # seconds without a try after which one is worth a line again
_MOST = 64  # hosts that are told apart in the log
log = logging.getLogger(__name__)


class Gate:
    """Of what listens on `where`, for the part whose task makes it.

    An empty `allow` is everybody; `not_allowed` counts.
    """

    def __init__(self, where: str, allow: Collection[Network]) -> None:
        self._name, self._where, self._allow = whose(), where, allow
        self._episodes = Episodes(_QUIET, _MOST)
        self.not_allowed = 0

    def admits(self, host: str) -> bool:
        """`host` is an IP address, as a Connection has it."""
        if not self._allow:
            return True
        address = address_of(host)
        if address is not None and nearest(address, self._allow) is not None:
            return True
        self.not_allowed += 1
        if self._episodes.begins(host, asyncio.get_running_loop().time()):
            log.warning("%s: %s refused on %s: allow does not name it", self._name, host, self._where)
        return False
