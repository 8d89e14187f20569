"""Telnet (RFC 854, 855) from the side of a server: bytes of the wire become data, commands and suboptions.

Promises: no bytes whatever raise, cost more than `LONGEST` bytes of memory, or start a loop of answers
(RFC 1143, without its queue: we never turn off what was on). Data passes unharmed, however the wire cuts it:
eight bits wide once the peer has agreed to BINARY (RFC 856); before that the NUL behind a CR is not data.
"""

from collections.abc import Collection, Iterator
from enum import Enum, IntEnum
from typing import NamedTuple

LONGEST = 256  # bytes of a suboption; a longer one is passed over
IAC = 0xFF


class Verb(IntEnum):
    """What follows IAC; those that are not here mean nothing to us."""

    SE = 240
    NOP = 241
    BREAK = 243
    AYT = 246
    SB = 250
    WILL = 251
    WONT = 252
    DO = 253
    DONT = 254


class Option(IntEnum):
    """What can be agreed on."""

    BINARY = 0
    ECHO = 1
    SGA = 3
    COM_PORT = 44


class Command(NamedTuple):
    """IAC and one byte."""

    verb: int


class Suboption(NamedTuple):
    """IAC SB, `option`, `data` with 0xFF no longer doubled, IAC SE."""

    option: int
    data: bytes


class Agreed(NamedTuple):
    """The peer has turned this option of its own on."""

    option: int


Event = bytes | Command | Suboption | Agreed

NOP = bytes((IAC, Verb.NOP))
HERE = b"\r\n[yes, still here]\r\n"  # RFC 854: visible evidence for AYT
_DOUBLED = bytes((IAC, IAC))


def escaped(data: bytes) -> bytes:
    """As it goes over the wire."""
    return data.replace(b"\xff", _DOUBLED)


def suboption(option: int, data: bytes) -> bytes:
    return bytes((IAC, Verb.SB, option)) + escaped(data) + bytes((IAC, Verb.SE))


class _State(Enum):
    """What the next byte is."""

    DATA = 1
    VERB = 2
    OPTION = 3
    SUBOPTION = 4
    SUBOPTION_VERB = 5


class _Side:
    """The options of one side. `yes` and `no` are what we say to have them on and off."""

    def __init__(self, yes: Verb, no: Verb, wanted: Collection[int], known: Collection[int]) -> None:
        self._yes, self._no, self._known = yes, no, known
        self._asked = set(wanted)  # by us, not answered yet
        self.on: set[int] = set()

    @property
    def opening(self) -> bytes:
        return b"".join(bytes((IAC, self._yes, option)) for option in sorted(self._asked))

    def says(self, option: int, on: bool) -> bytes:
        """The peer says that an option of this side is on, or should be; or off. Returns our answer."""
        was, asked = option in self.on, option in self._asked
        self._asked.discard(option)
        if not on:
            self.on.discard(option)
            return bytes((IAC, self._no, option)) if was else b""
        if asked or option in self._known:
            self.on.add(option)
            return b"" if was or asked else bytes((IAC, self._yes, option))
        return bytes((IAC, self._no, option))


class Telnet:
    """One connection. `com_port`: RFC 2217 is offered.

    BINARY and SGA both ways are asked for; all else, ECHO first of all, is refused.
    """

    def __init__(self, *, com_port: bool) -> None:
        both = {Option.BINARY, Option.SGA}
        more = {Option.COM_PORT} if com_port else set()
        self._ours = _Side(Verb.WILL, Verb.WONT, both, both | more)
        self._theirs = _Side(Verb.DO, Verb.DONT, both | more, both | more)
        self._answer = bytearray(self._ours.opening + self._theirs.opening)
        self._state, self._verb = _State.DATA, 0
        self._collected, self._too_long = bytearray(), False
        self._after_cr = False

    @property
    def idle(self) -> bool:
        """In the middle of data that needs no second look, unless it holds an IAC."""
        return self._state is _State.DATA and Option.BINARY in self._theirs.on

    def answer(self) -> bytes:
        """What we have to say by ourselves, once; the first of it before anything was fed."""
        answer, self._answer = bytes(self._answer), bytearray()
        return answer

    def feed(self, data: bytes) -> Iterator[Event]:
        """What it means, in its order."""
        said, at = bytearray(), 0
        while at < len(data):
            if self._state in (_State.DATA, _State.SUBOPTION):
                end = data.find(IAC, at)
                self._take(data[at : end if end >= 0 else len(data)], said)
                if end < 0:
                    break
                self._state = _State.VERB if self._state is _State.DATA else _State.SUBOPTION_VERB
                at = end + 1
                continue
            event = self._octet(data[at])
            at += 1
            if isinstance(event, bytes):
                self._take(event, said)
            elif event is not None:
                if said:
                    yield bytes(said)
                    said.clear()
                yield event
        if said:
            yield bytes(said)

    def _take(self, piece: bytes, said: bytearray) -> None:
        """Of data, or of a suboption."""
        if not piece:
            return
        if self._state is _State.SUBOPTION:
            self._too_long = self._too_long or len(self._collected) + len(piece) > LONGEST
            if not self._too_long:
                self._collected += piece
            return
        first, self._after_cr = self._after_cr, piece.endswith(b"\r")
        if Option.BINARY not in self._theirs.on:
            piece = piece[first and piece[0] == 0 :].replace(b"\r\0", b"\r")
        said += piece

    def _octet(self, octet: int) -> Event | None:
        """Behind an IAC. Bytes are data, or belong to the suboption."""
        inside = self._state is _State.SUBOPTION_VERB
        if self._state is _State.OPTION:
            self._state = _State.DATA
            return self._negotiate(octet)
        self._state = _State.SUBOPTION if inside and octet == IAC else _State.DATA
        if octet == IAC:
            return b"\xff"
        if inside and octet == Verb.SE:
            return self._ended()
        return self._command(octet)

    def _command(self, octet: int) -> Event | None:
        if octet == Verb.SB:
            self._collected.clear()
            self._too_long, self._state = False, _State.SUBOPTION
        elif octet in (Verb.WILL, Verb.WONT, Verb.DO, Verb.DONT):
            self._verb, self._state = octet, _State.OPTION
        elif octet != Verb.SE:
            return Command(octet)
        return None

    def _ended(self) -> Suboption | None:
        whole = self._collected and not self._too_long
        return Suboption(self._collected[0], bytes(self._collected[1:])) if whole else None

    def _negotiate(self, option: int) -> Event | None:
        theirs = self._verb in (Verb.WILL, Verb.WONT)
        side = self._theirs if theirs else self._ours
        before = option in side.on
        self._answer += side.says(option, self._verb in (Verb.WILL, Verb.DO))
        return Agreed(option) if theirs and not before and option in side.on else None
