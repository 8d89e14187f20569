"""The watchdog of one TCP socket: finds its peer dead within the bound, however it died.

Promises: `dead` is called once, with why, how long after the last proof of life, and how many bytes were not
acknowledged by then; the socket is reset when it is closed. Looks at the kernel's counters every tick, all
sockets of one bound at the same moment, so that many of them wake the process once.
Must not be read for anything but status: what a proof is decides `policy.liveness`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from math import inf

from ..errors import LinkDown
from ..policy.liveness import Bounds, Pulse, kernel_only, profile
from ..scope import whose
from . import tuning

_ON_DEMAND = 0.1  # seconds between two looks of `proves`
log = logging.getLogger(__name__)
_watched: set["Watch"] = set()


class Watch:
    """Of `sock`, which is tuned, from `start` to `stop`."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock, self._bounds = sock, bounds
        self._loop, self._name = asyncio.get_running_loop(), whose()
        self._timer: asyncio.TimerHandle | None = None
        self._dead: Callable[[LinkDown], None] = lambda down: None
        self.blind = False  # this kernel counts too little, its own timers must do
        self._bound = bounds.detect_within  # as the kernel has been told
        self._told_slow = self._doubtful = False
        self._pulse = Pulse(bounds, self._loop.time())

    def start(self, dead: Callable[[LinkDown], None]) -> None:
        """Once it is connected."""
        self._dead = dead
        self._pulse = Pulse(self._bounds, self._loop.time())
        with suppress(OSError):  # gone already: whoever reads it will know why
            self.blind = tuning.reading(self._sock) is None
            _watched.add(self)
            if self.blind:
                tuning.tune(self._sock, kernel_only(self._bounds))
            else:
                self._set()

    def stop(self) -> None:
        _watched.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    @property
    def detect_within(self) -> float:
        """Seconds; more than was asked for where the path is too slow for that."""
        return self._pulse.detect_within

    @property
    def proof_age(self) -> float | None:
        """Seconds since something of ours was proven to have arrived; None when blind."""
        return None if self.blind else self._loop.time() - self._pulse.proven

    @property
    def address(self) -> str:
        """Ours; "" when the socket is closed."""
        with suppress(OSError):
            return str(self._sock.getsockname()[0]).partition("%")[0].removeprefix("::ffff:")
        return ""

    def down(self, why: str) -> LinkDown:
        """As `why`, with what this socket can still tell."""
        unacked = 0
        with suppress(OSError, ValueError):  # closed
            unacked = tuning.unacked(self._sock)
        return LinkDown(why, detected_after=self.proof_age, unacked=unacked)

    def unanswered(self, silence: float, why: str) -> LinkDown:
        """The far program has not answered for so many seconds: `why`, unless its host has not, either."""
        unproven = self.proof_age
        if unproven is not None and unproven > silence / 2:
            return self.down(f"no round trip for {unproven:.1f} s")
        return LinkDown(why, detected_after=silence)

    async def proves(self, within: float) -> bool:
        """Asks the peer's kernel now.

        Does anything of ours arrive within so many seconds? True when blind.
        """
        if self.blind:
            return True
        begun = inf
        with suppress(OSError):
            self._see()
            begun = self._loop.time()
            tuning.probe_soon(self._sock)
            while (left := begun + within - self._loop.time()) > 0 and self._pulse.proven <= begun:
                await asyncio.sleep(min(left, _ON_DEMAND))
                self._see()
            self._tune()
        return self._pulse.proven > begun

    def die(self, why: str) -> None:
        """The connection is over, whatever the peer thinks."""
        self.stop()
        down = self.down(why)
        with suppress(OSError):
            tuning.reset_on_close(self._sock)
        self._dead(down)

    def hurry(self) -> None:
        self._pulse.hurry(self._loop.time())

    def calm(self) -> None:
        self._pulse.calm()

    def _set(self) -> None:
        self._timer = self._loop.call_at(self._pulse.next_look(self._loop.time()), self._look)

    def _look(self) -> None:
        try:
            self._see()
        except OSError:  # closed under us: that is known elsewhere
            self.stop()
            return
        now = self._loop.time()
        if why := self._pulse.death(now):
            self.die(why)
            return
        if self._pulse.doubtful(now) != self._doubtful:
            self._doubtful = not self._doubtful
            self._tune()
        self._set()

    def _see(self) -> None:
        reading = tuning.reading(self._sock)
        if reading is not None:
            self._pulse.see(reading, self._loop.time())
        if self._bound != self.detect_within:
            self._rebind()

    def _rebind(self) -> None:
        """The path has become slower or quicker: the kernel must not give up before we do."""
        self._bound = self.detect_within
        self._tune()
        asked = self._bounds.detect_within
        if self._bound > asked and not self._told_slow:
            self._told_slow = True
            why = "detect_within = %g s is too short for this path: it takes %.1f s"
            log.warning("%s: %s: " + why, self._name, self._peer, asked, self._bound)

    def _tune(self) -> None:
        """In doubt it probes each second: what the peer repeats would put probes off."""
        tuning.tune(self._sock, profile(self._bounds._replace(detect_within=self._bound)))
        if self._doubtful:
            tuning.probe_soon(self._sock)

    @property
    def _peer(self) -> str:
        with suppress(OSError):
            return str(self._sock.getpeername()[0])
        return "?"


def at(addresses: Collection[str]) -> Iterator[Watch]:
    """The watched sockets that have one of these addresses of ours."""
    return (watch for watch in tuple(_watched) if watch.address in addresses)
