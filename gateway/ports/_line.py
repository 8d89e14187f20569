"""The open line of a port: counted, and LineDown out of the block when the device vanishes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..host.serial import open_line
from ..host.tty import Line
from ..scope import Scope
from ..settings import PortConfig
from ._tally import Tally


@asynccontextmanager
async def opened(config: PortConfig, tally: Tally) -> AsyncIterator[Line]:
    async with open_line(config) as line, Scope() as scope:
        scope.start(line.gone())
        with tally.counting(line):
            yield line
