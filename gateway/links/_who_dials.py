"""A link that either listens or connects: which keys go with which."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..settings import Listening
from ..values import Connect, Fault, Listen
from ._tls import Tls


class Ends(Protocol):
    """The Config of such a link."""

    @property
    def listen(self) -> Listen | None: ...

    @property
    def connect(self) -> Connect | None: ...

    @property
    def tls(self) -> Tls | None: ...

    @property
    def model_fields_set(self) -> set[str]: ...


def who_dials(config: Ends, dialling: Iterable[str]) -> Iterator[Fault]:
    """What does not fit together of these keys; those in `dialling` go with connect alone."""
    if config.listen is not None and config.connect is not None:
        yield Fault(("connect",), "a link listens or connects, not both")
    elif config.listen is None and config.connect is None:
        yield Fault((), 'who dials? write listen = "address:port" or connect = "host:port"')
    if config.connect is not None:
        yield from _misplaced(config, Listening.model_fields, "listen")
    elif config.listen is not None:
        yield from _misplaced(config, dialling, "connect")
        if config.tls is not None and not (config.tls.cert and config.tls.key):
            yield Fault(("tls",), 'who listens shows a certificate: { cert = "...", key = "..." }')


def _misplaced(config: Ends, keys: Iterable[str], where: str) -> Iterator[Fault]:
    return (Fault((key,), f"{key} goes with {where}") for key in keys if key in config.model_fields_set)
