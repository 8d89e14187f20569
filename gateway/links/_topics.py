"""What is said on which topic: the MQTT face of a gateway, as the interface page fixes it.

Pure: prefix, record and clock readings in, topic and bytes out. A record has the time and the number that it
got when it was taken from the line, however late it is sent.
"""

import base64
import json
from typing import Literal

from ..buffer import Record
from ..contracts import Outcome
from ..status import timestamp
from ._terms import Pairs, Publication, Reply


class Topics:
    """The topics of one gateway. `payload` and `retain` are the link's keys."""

    def __init__(self, prefix: str, payload: Literal["bytes", "json"], retain: bool) -> None:
        self._prefix, self._json, self._retain = prefix, payload == "json", retain

    @property
    def status(self) -> str:
        return f"{self._prefix}/status"

    def tx(self, port: str) -> str:
        return f"{self._prefix}/port/{port}/tx"

    def set(self, device: str) -> str:
        return f"{self._prefix}/device/{device}/set"

    def result(self, reply: Reply, outcome: Outcome) -> Publication:
        """The answer to a command, for whoever gave it."""
        told: dict[str, object] = {"ok": not outcome.error}
        told |= {} if reply.id is None else {"id": reply.id}
        told |= {"repeated": True} if reply.repeated else {}
        told |= {"error": outcome.error} if outcome.error else {}
        told |= {"values": outcome.values} if outcome.values else {}
        told |= {"errors": outcome.errors} if outcome.errors else {}
        topic = reply.topic or f"{self.set(reply.device)}/result"
        return Publication(topic, _json(told), correlation=reply.correlation)

    def online(self, at: float, version: str) -> Publication:
        """The birth, on every connect."""
        told = {"state": "online", "ts": timestamp(at), "version": version}
        return Publication(self.status, _json(told), retain=True)

    def offline(self, reason: str) -> Publication:
        """The last will, and the last word of a clean stop."""
        told = {"state": "offline", "reason": reason}
        return Publication(self.status, _json(told), retain=True)

    def available(self, device: str, present: bytes) -> Publication:
        return Publication(f"{self._prefix}/device/{device}/available", present, retain=True)

    def of(self, record: Record) -> Publication:
        """A raw frame or a device's sample."""
        if record.stream.startswith("device/"):
            state = b"{%s,%s" % (_head(record), record.payload[1:])  # an object: ours go in front
            return Publication(f"{self._prefix}/{record.stream}/state", state, self._retain)
        topic = f"{self._prefix}/{record.stream}/rx"
        if self._json:
            return Publication(topic, b"{%s,%s}" % (_head(record), _body(record.payload)))
        return Publication(topic, record.payload, properties=_stamp(record))


def _stamp(record: Record) -> Pairs:
    clock = () if record.clock_set else (("clock", "unset"),)
    return ("seq", str(record.seq)), ("ts", timestamp(record.at)), *clock


def _head(record: Record) -> bytes:
    clock = "" if record.clock_set else ',"clock":"unset"'
    return f'"ts":"{timestamp(record.at)}","seq":{record.seq}{clock}'.encode()


def _body(frame: bytes) -> bytes:
    """As text when it is text."""
    try:
        return b'"text":' + _json(frame.decode())
    except UnicodeDecodeError:
        return b'"base64":"%s"' % base64.b64encode(frame)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
