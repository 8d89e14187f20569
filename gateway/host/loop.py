"""The event loop with timers of microseconds, and without a turn of asyncio for every byte.

asyncio's epoll selector rounds timeouts up to whole milliseconds: at 115200 Bd that costs a Modbus bus up to
a tenth of its transactions, because each request waits for an exact silence. select() on the epoll descriptor
is precise.

A turn of asyncio's loop costs more than passing on a chunk, and eight busy ports would need 30,000 of them a
second. So the selector calls readers itself, and hands over to asyncio only when one of them has scheduled
something.
"""

import asyncio
import select
import selectors
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import Context
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")
_PRECISE_BELOW = 0.02  # seconds; longer waits end a little early instead, and the rest is waited precisely
_LONGEST = 3600.0  # seconds that epoll waits at a time
_FD_SETSIZE = 1024
_MOST_EVENTS = 64  # told at once; the others are told by the next call
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_INTERESTS = {
    _READ: select.EPOLLIN,
    _WRITE: select.EPOLLOUT,
    _READ | _WRITE: select.EPOLLIN | select.EPOLLOUT,
}
_NEWS = {select.EPOLLIN: _READ, select.EPOLLOUT: _WRITE}  # anything else (a hang-up) is news for both


class PreciseSelector(selectors.BaseSelector):
    """epoll(7), level-triggered, as asyncio wants it; and `readers` by descriptor, called by `select` itself.

    `stirred` is set by the loop whenever something is scheduled. `failed` is told what a reader raised.
    """

    def __init__(self) -> None:
        self.stirred = False
        self.failed: Callable[[Exception], None]
        self._epoll = select.epoll()
        self._self = (self._epoll.fileno(),)
        self._precise = self._epoll.fileno() < _FD_SETSIZE
        self._readers: dict[int, Callable[[], object]] = {}
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._interests: dict[int, int] = {}  # as the kernel has them
        self._map = _Registered(self._keys, self._fd)

    def add_reader(self, fd: int, reader: Callable[[], object]) -> None:
        self._readers[fd] = reader
        self._tell(fd)

    def remove_reader(self, fd: int) -> bool:
        """False when it has none."""
        known = self._readers.pop(fd, None) is not None
        self._tell(fd)
        return known

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """KeyError when it is registered already."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        return self._set(selectors.SelectorKey(fileobj, fd, events, data))

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(self._fd(fileobj))
        self._tell(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._set(self._keys[self._fd(fileobj)]._replace(events=events, data=data))

    def _set(self, key: selectors.SelectorKey) -> selectors.SelectorKey:
        self._keys[key.fd] = key
        try:
            self._tell(key.fd)
        except OSError:
            del self._keys[key.fd]
            raise
        return key

    def _tell(self, fd: int) -> None:
        """The kernel what is wanted of `fd` now."""
        key, told = self._keys.get(fd), self._interests.get(fd, 0)
        wanted = (select.EPOLLIN if fd in self._readers else 0) | (_INTERESTS[key.events] if key else 0)
        if wanted == told:
            return
        if not wanted:
            del self._interests[fd]
            with suppress(OSError):  # it was closed before
                self._epoll.unregister(fd)
            return
        if told:
            self._epoll.modify(fd, wanted)
        else:
            self._epoll.register(fd, wanted)
        self._interests[fd] = wanted

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.stirred = False
        left = inf if timeout is None else max(timeout, 0.0)
        end = monotonic() + left
        while True:
            told = []
            for fd, event in self._wait(left):
                reader = self._readers.get(fd)
                if reader is not None and event != select.EPOLLOUT:
                    try:
                        reader()
                    except Exception as error:
                        self.failed(error)
                key = self._keys.get(fd)
                if key is not None and (news := _NEWS.get(event, _READ | _WRITE) & key.events):
                    told.append((key, news))
            if told or self.stirred or (left := end - monotonic()) <= 0:
                return told

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        if seconds > _PRECISE_BELOW:
            seconds = min(seconds, _LONGEST) - _PRECISE_BELOW / 2
        elif seconds > 0 and self._precise:
            if not select.select(self._self, (), (), seconds)[0]:
                return []
            seconds = 0.0
        return self._epoll.poll(seconds, _MOST_EVENTS)

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()
        self._readers.clear()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._map

    def _fd(self, fileobj: Any) -> int:
        """Also of an object that was closed while it was registered; -1 when it is not."""
        if isinstance(fileobj, int):
            return fileobj
        if (fd := fileobj.fileno()) >= 0:
            return int(fd)
        return next((key.fd for key in self._keys.values() if key.fileobj is fileobj), -1)


class _Registered(Mapping[Any, selectors.SelectorKey]):
    """By descriptor, or by the object that was registered: asyncio asks for either."""

    def __init__(self, keys: Mapping[int, selectors.SelectorKey], fd: Callable[[Any], int]) -> None:
        self._keys, self._fd = keys, fd

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._fd(fileobj)]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)


class Loop(asyncio.SelectorEventLoop):
    """Readers that are added by descriptor are called without a turn of the loop in between."""

    def __init__(self) -> None:
        self._precise_selector = PreciseSelector()
        super().__init__(self._precise_selector)
        self._precise_selector.failed = self._failed

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        if isinstance(fd, int):
            self._precise_selector.add_reader(fd, partial(callback, *args) if args else callback)
        else:
            super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        if isinstance(fd, int) and self._precise_selector.remove_reader(fd):
            return True
        return super().remove_reader(fd)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._precise_selector.stirred = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._precise_selector.stirred = True
        return super().call_at(when, callback, *args, context=context)

    def _failed(self, error: Exception) -> None:
        self.call_exception_handler({"message": "internal error in a reader", "exception": error})


def new_event_loop() -> asyncio.AbstractEventLoop:
    """For `asyncio.Runner(loop_factory=...)`. Also lowers this thread's timer slack from 50 us to 1 ns."""
    with suppress(OSError), open("/proc/self/timerslack_ns", "w") as slack:
        slack.write("1")
    return Loop()
