"""The only loop that restarts anything.

An expected loss waits by the backoff policy and runs again, for ever. Our own bug costs a traceback and
restarts that one part; too many of them in too short a time end the process, so that systemd starts a clean
one.
"""

import asyncio
import logging
from typing import Never

from .contracts import Part
from .errors import Down, GatewayError
from .policy.backoff import Backoff
from .status import Life

BUGS_BEFORE_GIVING_UP = 5
BUGS_ARE_FORGOTTEN_AFTER = 600.0  # seconds
log = logging.getLogger(__name__)


async def supervise(part: Part, life: Life, backoff: Backoff) -> Never:
    """Runs `part`'s sessions one after the other until cancelled."""
    now = asyncio.get_running_loop().time
    bugs: list[float] = []
    said = ""
    life.begin()
    while True:
        life.attempts += 1
        wait_at_least, detected_after = 0.0, None
        try:
            await part.session(life)
        except Down as down:
            reason, wait_at_least, detected_after = str(down), down.wait_at_least, down.detected_after
        except GatewayError as error:
            reason = str(error)
        except Exception as bug:
            bugs = [at for at in bugs if now() - at < BUGS_ARE_FORGOTTEN_AFTER] + [now()]
            if len(bugs) >= BUGS_BEFORE_GIVING_UP:
                raise
            log.exception("%s: internal error, starting it again", life.name)
            reason = f"internal error: {bug!r}"
        if life.up_since is not None:
            backoff.ended(life.died(reason, detected_after))
            said = ""
        delay = max(wait_at_least, backoff.next())
        life.label("waiting", reason, now() + delay)
        if reason != said:
            log.warning("%s: %s; next try in %.1f s", life.name, reason, delay)
            said = reason
        await asyncio.sleep(delay)
        life.label(life.trying, reason)
