"""What the control socket needs of the daemon: a Gateway, and what that gives."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from ..buffer import Buffer
from ..contracts import Scannable, Traced
from ..errors import GatewayError
from ..flow import Fan
from ..status import KeptStatus, Record
from .events import Event


class Reloaded(NamedTuple):
    """What a reload did. With problems it changed nothing."""

    problems: list[str]
    warnings: list[str]
    changed: list[str]  # "ports.meters", "links.cloud"


class Kept(NamedTuple):
    """One buffer, and whose it is."""

    buffer: Buffer
    link: str
    kind: str
    configured: bool
    written_today: int | None  # bytes, to the disk

    def status(self, wall: float) -> KeptStatus:
        return {
            "link": self.link,
            "kind": self.kind,
            "configured": self.configured,
            **self.buffer.status(wall),
            "written_today_bytes": self.written_today,
        }


class Gateway(Protocol):
    """The running daemon as this socket sees it. GatewayError for a name that nobody has (by `no_such`)."""

    def status(self) -> Record: ...

    def events(self) -> list[Event]:
        """The last that it said, from the oldest on."""

    async def reload(self) -> Reloaded: ...

    def trace(self, name: str, /) -> Fan[Traced]:
        """Of a port, link or device."""

    def buffers(self) -> Mapping[str, Kept]:
        """By the link's name, or as "LINK.KIND" where no such link is configured any more."""

    def line(self, port: str, /) -> Scannable:
        """GatewayError also for a port on which we do not ask."""

    def lent(self, port: str, /) -> AbstractAsyncContextManager[Scannable]:
        """The same with its tty closed while the block lasts, to be opened with other settings."""

    async def pause(self, port: str, seconds: float, /) -> None: ...

    def resume(self, port: str, /) -> None: ...


def no_such(what: str, name: str, names: Iterable[str]) -> GatewayError:
    """ "no port, link or device is called "meter"; did you mean "meters"?"."""
    from difflib import get_close_matches  # 0.2 MB, for whoever mistypes

    name, known = name[:60], sorted(names)
    near = get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known) or 'none'}"
    return GatewayError(f'no {what} is called "{name}"; {hint}')
