"""A connection over which nobody says anything is closed: in order, so that what was said still arrives."""

import asyncio
from collections.abc import Callable
from typing import Never

from ..errors import LinkDown, Rest
from ..host.connection import Connection

_SOON = 0.02  # seconds until it is looked at again, where something is still under way


async def until_idle(connection: Connection, most: float) -> None:
    """Returns when no byte of data went either way for `most` seconds."""
    left = most
    while left > 0:
        await asyncio.sleep(max(left, 0.001))
        left = most - connection.idle


async def hangs_up(connection: Connection, most: float | None) -> Never:
    """Ends it then. None: never."""
    if most is None:
        await asyncio.get_running_loop().create_future()
    else:
        await until_idle(connection, most)
    why = LinkDown(f"no byte either way for {most:g} s (idle_timeout)")
    connection.close(why)
    raise why


async def leaves(connection: Connection, most: float, owed: Callable[[], object]) -> Never:
    """Ends it by Rest when it is idle for so long and nothing is `owed` to the far end."""
    await until_idle(connection, most)
    while owed():
        await asyncio.sleep(_SOON)
        await until_idle(connection, most)
    why = Rest(f"no byte either way for {most:g} s (short)")
    connection.close(why)
    raise why
