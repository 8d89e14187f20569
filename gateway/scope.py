"""Children that live exactly as long as a block, and one error out of it. The only place that starts tasks.

Leaving the block cancels the children (a watchdog ends with what it watches); a child's error cancels the
block. What comes out is one error, never a group: our bug if there is one among them, else the first cause.
Cancellation passes through and is never lost over an error that comes at the same moment, as it is with the
TaskGroup of Python before 3.13.
"""

import asyncio
import logging
from asyncio import CancelledError, Future, Task
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from .errors import GatewayError

R = TypeVar("R")
log = logging.getLogger(__name__)


class Scope:
    """`async with Scope() as scope: scope.start(coroutine)`."""

    def __init__(self) -> None:
        self._children: set[Task[Any]] = set()
        self._errors: list[BaseException] = []  # in the order in which they came
        self._left = self._interrupted = False
        self._alone: Future[None] | None = None  # awaited once the block is left

    async def __aenter__(self) -> Self:
        parent = asyncio.current_task()
        assert parent is not None
        self._parent, self._cancelled_before = parent, parent.cancelling()
        return self

    def start(self, life: Coroutine[Any, Any, R], name: str | None = None) -> Task[R]:
        child = asyncio.create_task(life, name=name or self._parent.get_name())
        self._children.add(child)
        child.add_done_callback(self._ended)
        if self._left:
            child.cancel()
        return child

    def _ended(self, child: Task[Any]) -> None:
        self._children.discard(child)
        if not child.cancelled() and (error := child.exception()) is not None:
            self._errors.append(error)
            if not self._left and not self._interrupted:
                self._interrupted = True
                self._parent.cancel()
        if not self._children and self._alone is not None and not self._alone.done():
            self._alone.set_result(None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        if error is not None and not isinstance(error, CancelledError):
            self._errors.append(error)
        await self._end_children()
        if self._interrupted:
            self._parent.uncancel()
        cause = _cause(self._errors)
        if self._parent.cancelling() > self._cancelled_before:
            if not isinstance(cause, GatewayError | None):
                name = self._parent.get_name()
                log.error("%s: internal error while it was told to end", name, exc_info=cause)
            cause = error if isinstance(error, CancelledError) else CancelledError()
        if cause is not None:
            raise cause from None

    async def _end_children(self) -> None:
        """Each is cancelled once and has the time that it takes; our own cancellation waits for that."""
        for child in self._children:
            child.cancel()
        while self._children:
            self._alone = asyncio.get_running_loop().create_future()
            with suppress(CancelledError):  # `cancelling()` remembers it
                await self._alone


def whose() -> str:
    """The part to which the running task belongs, for the log.

    "links.scada". A child has its parent's name.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        task = None
    return task.get_name() if task is not None else "gateway"


def _cause(errors: Sequence[BaseException]) -> BaseException | None:
    bugs = (error for error in errors if not isinstance(error, GatewayError))
    return next(bugs, errors[0] if errors else None)
