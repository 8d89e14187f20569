"""Commands for devices: what comes down on `.../device/DEVICE/set`, and what becomes of it.

Promises: a command is carried out at most once, and never when it is old; whoever repeats one, by the same
id, gets the outcome of the first, be it still under way, be the connection another one. Memory is bounded:
the last 1,000 commands with an id, for ten minutes.
Must not import paho, and must not wait: what takes time is the device's, and goes on without us.
"""

import json
import logging
from asyncio import Future, get_running_loop
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from math import inf
from time import time
from typing import Any, NamedTuple, Never

from ..contracts import Outcome, Settable
from ..status import CommandStatus
from ._terms import Message, Reply

_LARGEST = 8192  # bytes of a command
_REMEMBERED, _FOR = 1000, 600.0  # commands; seconds
_TOLD_EVERY = 60.0  # seconds between two lines of the log about one device
_EXAMPLE = 'a command is a JSON object such as {"relay":true}'
log = logging.getLogger(__name__)


def refusal(message: Message, *, has_id: bool = False) -> str:
    """Why this message must not be obeyed.

    "" when it may. One that has an id is known when it comes again.
    """
    if message.retained:
        return "it was retained, so nobody knows how old it is"
    if message.repeated and not has_id:
        return "it is a repetition of one that was received before"
    if get_running_loop().time() >= message.expires:
        return "it has expired"
    return ""


class _Refused(ValueError):
    """The device is not asked; the text says why."""


class _Known(NamedTuple):
    content: bytes  # digest of its points and values
    outcome: Future[Outcome]  # the device's
    at: float  # loop time


class Commands:
    """Those of one link, over all its sessions. `clock_set` says whether wall time can be trusted."""

    def __init__(self, link: str, clock_set: Callable[[], bool]) -> None:
        self._link, self._clock_set = link, clock_set
        self._now = get_running_loop().time
        self._known: dict[bytes, _Known] = {}  # by the digest of device and id, the oldest first
        self._counts: Counter[str] = Counter()
        self._told: dict[str, float] = {}  # device -> loop time of the last line about it

    def take(self, name: str, device: Settable, message: Message) -> tuple[Reply, Future[Outcome]]:
        """Passes it on to the device, if it may be; and to whom what becomes of it is to be told."""
        reply = Reply(name, None, _topic(message.answer_to), message.correlation)
        try:
            values = _content(message.payload)
            reply = reply._replace(id=_id(values.pop("id", None)))
            expires = self._expiry(values.pop("expires", None))
            if (known := self._repeated(reply, values)) is not None:
                return reply._replace(repeated=True), known
            if why := refusal(message, has_id=_key(reply) is not None):
                raise _Refused(why)
            outcome = self._begun(reply, device, values, min(message.expires, expires))
        except _Refused as fault:
            outcome = get_running_loop().create_future()
            outcome.set_result(Outcome(error=str(fault)))
        outcome.add_done_callback(lambda done: self._count(name, done.result()))
        return reply, outcome

    def status(self) -> CommandStatus:
        return {
            "done": self._counts["done"],
            "refused": self._counts["refused"],
            "repeated": self._counts["repeated"],
        }

    def _repeated(self, reply: Reply, values: Mapping[str, object]) -> Future[Outcome] | None:
        """The outcome of the command that had this id before, if there was one."""
        key = _key(reply)
        known = None if key is None else self._known.get(key)
        if known is None or self._now() - known.at > _FOR:
            return None
        if known.content != _digest(values):
            raise _Refused("another command had this id")
        self._counts["repeated"] += 1
        return known.outcome

    def _begun(
        self, reply: Reply, device: Settable, values: Mapping[str, object], expires: float
    ) -> Future[Outcome]:
        if not values:
            raise _Refused(f"it names no point: {_EXAMPLE}")
        if self._now() >= expires:
            raise _Refused("it has expired")
        outcome = device.write(values, expires)
        if not outcome.done() and (key := _key(reply)) is not None:  # else nothing was done
            self._forget()
            self._known.pop(key, None)
            self._known[key] = _Known(_digest(values), outcome, self._now())
        return outcome

    def _forget(self) -> None:
        """The oldest, unless they are still under way, which bounds them too."""
        for key, known in tuple(self._known.items()):
            many, old = len(self._known) >= _REMEMBERED, self._now() - known.at > _FOR
            if not known.outcome.done() or not (many or old):
                return
            del self._known[key]

    def _expiry(self, text: object) -> float:
        """The loop time of `expires` in a command."""
        if text is None:
            return inf
        try:
            at = datetime.fromisoformat(str(text))
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise _Refused('expires is a time such as "2027-01-31T12:00:00Z"')
        if not self._clock_set():
            raise _Refused("the clock of the gateway is not set: nobody knows whether it has expired")
        return self._now() + at.timestamp() - time()

    def _count(self, device: str, outcome: Outcome) -> None:
        self._counts["refused" if outcome.error else "done"] += 1
        if outcome.error and self._now() - self._told.get(device, -inf) >= _TOLD_EVERY:
            self._told[device] = self._now()
            log.warning("%s: command for %s not carried out: %s", self._link, device, outcome.error)


def _content(payload: bytes) -> dict[str, Any]:
    if len(payload) > _LARGEST:
        raise _Refused(f"a command has {_LARGEST} bytes at most")
    try:
        content = json.loads(payload, object_pairs_hook=_object, parse_constant=_no_constant)
    except _Refused:
        raise
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _Refused(_EXAMPLE)
    return content


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _Refused("it says something twice")
    return content


def _no_constant(name: str) -> Never:
    raise _Refused(f"{name} is no number")


def _id(value: object) -> str | int | None:
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool) and value != ""):
        return value
    raise _Refused("id is a text or a whole number")


def _key(reply: Reply) -> bytes | None:
    """What a repetition is known by; None when it cannot be."""
    if reply.id is not None:
        return _digest((reply.device, reply.id))
    return _digest((reply.device, reply.correlation)) if reply.correlation else None


def _digest(what: object) -> bytes:
    return sha256(repr(what).encode()).digest()


def _topic(wanted: str) -> str:
    """Where an answer may be published; "" when it may not be there (MQTT 5.0, 3.3.2.3.5)."""
    return "" if {"#", "+"} & {*wanted} else wanted
