"""What the parts of a raw link share: its keys, as the boxes on the rail have them, and which go together."""

from collections.abc import Iterator
from typing import Protocol

from ..settings import Liveness
from ..status import PartStatus
from ..values import Connect, Fault, Listen, Octets
from ._hello import Heartbeat
from ._meanwhile import OnConnect


class Box(Protocol):
    """The Config of such a link."""

    @property
    def listen(self) -> Listen | None: ...

    @property
    def connect(self) -> Connect | None: ...

    @property
    def kind(self) -> str: ...

    @property
    def port(self) -> str: ...

    @property
    def liveness(self) -> Liveness: ...

    @property
    def registration(self) -> Octets | None: ...

    @property
    def heartbeat(self) -> Heartbeat | None: ...

    @property
    def idle_timeout(self) -> float | None: ...

    @property
    def on_connect(self) -> OnConnect: ...

    @property
    def short(self) -> float | None: ...

    @property
    def udp(self) -> bool: ...

    @property
    def tap(self) -> bool: ...

    @property
    def model_fields_set(self) -> set[str]: ...


_STREAMS = ("buffer", "resend", "packet", "short", "on_connect", "telnet", "rfc2217", "readers", "tap")
_OF_TCP = ("tls", "kick_old_client", *_STREAMS)  # keys that say nothing about datagrams


def box_faults(config: Box) -> Iterator[Fault]:
    """What does not fit together of these keys."""
    if config.connect is not None and "on_connect" in config.model_fields_set:
        yield Fault(
            ("on_connect",), "on_connect goes with listen; what a link that connects keeps is its buffer"
        )
    if config.udp:
        yield from _of_tcp(config)
    if config.short is not None:
        yield from _short(config)
    for key in ("packet", "on_connect"):
        if config.tap and key in config.model_fields_set:
            yield Fault((key,), f"{key} does not go with tap, which sees bytes as they pass")
    beat, idle = config.heartbeat, config.idle_timeout
    if beat is not None and idle is not None and beat.every <= idle:
        yield Fault(("idle_timeout",), f"a heartbeat every {beat.every:g} s keeps it from being idle so long")


def _of_tcp(config: Box) -> Iterator[Fault]:
    for key in _OF_TCP:
        if key in config.model_fields_set:
            yield Fault((key,), f'{key} goes with transport = "tcp"')
    if config.connect is not None and "idle_timeout" in config.model_fields_set:
        yield Fault(
            ("idle_timeout",), "with UDP it goes with listen: who was silent for so long is told nothing"
        )
    if config.connect is not None and len(config.connect) > 1:
        yield Fault(("connect",), "one far end: UDP does not tell when it is time for the next")


def _short(config: Box) -> Iterator[Fault]:
    if config.connect is None:
        yield Fault(("short",), "short goes with connect; a link that listens has idle_timeout")
    for key in ("heartbeat", "idle_timeout"):
        if key in config.model_fields_set:
            yield Fault((key,), f"{key} does not go with short, which leaves when there is nothing to say")


def common(config: Box, endpoint: str) -> PartStatus:
    """What each of them says of itself."""
    return {
        "kind": config.kind,
        "port": config.port,
        "endpoint": endpoint,
        "detect_within_s": config.liveness.detect_within,
    }
