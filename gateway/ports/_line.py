"""The open line of a port: counted, and LineDown out of the block when the device vanishes."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..host.serial import open_line
from ..host.tty import Line
from ..scope import Scope, whose
from ..settings import PortConfig
from ._tally import Tally

log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(config: PortConfig, tally: Tally) -> AsyncIterator[Line]:
    async with open_line(config, tally.whereabouts) as line, Scope() as scope:
        scope.start(line.gone())
        with tally.counting(line):
            if (doubt := tally.doubt) and doubt != tally.told:
                tally.told = doubt
                log.warning("%s: %s", whose(), doubt)
            yield line
