"""Every function code that may cross a line, with the lengths that the specification gives its RTU frames.

MODBUS Application Protocol V1.1b3, chapter 6; lengths with unit id and CRC, n is a byte count. Who builds
these answers knows nothing of `gateway.wire`.
"""

from typing import NamedTuple

from gateway.demo.bus import with_crc

UNIT = 0x21
HEAD = bytes((UNIT,))


class Exchange(NamedTuple):
    """One request and its answer, PDUs."""

    name: str
    request: bytes
    answer: bytes
    asks: int  # bytes of the request on an RTU line
    takes: int  # bytes of the answer there
    by_silence: bool = False  # no word in it tells where it ends

    @property
    def code(self) -> int:
        return self.request[0]

    @property
    def refusal(self) -> bytes:
        return bytes((self.code | 0x80, 4))

    def __str__(self) -> str:
        return self.name


def _exchange(name: str, request: str, answer: str, asks: int, takes: int) -> Exchange:
    return Exchange(name, bytes.fromhex(request), bytes.fromhex(answer), asks, takes)


def identification(*objects: bytes, more: bool = False) -> bytes:
    """The answer to 43/14: `objects` from id 0 on; `more`: those behind them are for another request."""
    listed = b"".join(bytes((number, len(value))) + value for number, value in enumerate(objects))
    follows = (0xFF, len(objects)) if more else (0, 0)
    return bytes((0x2B, 0x0E, 0x03, 0x83, *follows, len(objects))) + listed


# What looks like a frame where only data should stand: another unit's answer, and a refusal of what was asked
FRAME_INSIDE = with_crc(bytes.fromhex("12 03 02 00 01"))
REFUSAL_65, REFUSAL_43 = with_crc(HEAD + b"\xc1\x02"), with_crc(HEAD + b"\xab\x02")
MANY_OBJECTS = identification(*(b"%d" % number * 6 for number in range(10)), b"x" * 20, b"", b"y" * 30)
MORE_FOLLOWS = identification(b"a" * 80, b"b" * 80, b"c" * 80, more=True)

BY_LENGTH = (
    _exchange("1: one coil", "01 0013 0001", "01 01 01", 8, 5 + 1),
    _exchange("1: nine coils", "01 0013 0009", "01 02 ff 01", 8, 5 + 2),
    _exchange("1: 2000 coils", "01 0000 07d0", "01 fa" + "55" * 250, 8, 5 + 250),
    _exchange("2: eight inputs", "02 00c4 0008", "02 01 35", 8, 5 + 1),
    _exchange("3: one register", "03 ffff 0001", "03 02 022b", 8, 5 + 2),
    _exchange("3: 125 registers", "03 0000 007d", "03 fa" + "0102" * 125, 8, 5 + 250),
    _exchange("4: two registers", "04 0008 0002", "04 04 000a 1234", 8, 5 + 4),
    _exchange("5: a coil", "05 00ac ff00", "05 00ac ff00", 8, 8),
    _exchange("6: a register", "06 0001 0003", "06 0001 0003", 8, 8),
    _exchange("7: exception status", "07", "07 6d", 4, 5),
    _exchange("8: give it back", "08 0000 a537", "08 0000 a537", 8, 8),
    _exchange("8: give nothing back", "08 0000", "08 0000", 6, 6),
    _exchange("8: give one byte back", "08 0000 a5", "08 0000 a5", 7, 7),
    _exchange("8: give 250 bytes back", "08 0000" + "a5" * 250, "08 0000" + "a5" * 250, 256, 256),
    _exchange("8: restart", "08 0001 ff00", "08 0001 ff00", 8, 8),
    _exchange("8: the register of diagnosis", "08 0002 0000", "08 0002 1234", 8, 8),
    _exchange("8: messages seen", "08 000b 0000", "08 000b ffff", 8, 8),
    _exchange("8: overruns forgotten", "08 0014 0000", "08 0014 0000", 8, 8),
    _exchange("11: event counter", "0b", "0b ffff 0108", 4, 8),
    _exchange("12: no event", "0c", "0c 06 0000 0000 0000", 4, 5 + 6),
    _exchange("12: 64 events", "0c", "0c 46 0000 0108 0121" + "40" * 64, 4, 5 + 70),
    _exchange("15: ten coils", "0f 0013 000a 02 cd01", "0f 0013 000a", 9 + 2, 8),
    _exchange("15: 1968 coils", "0f 0000 07b0 f6" + "55" * 246, "0f 0000 07b0", 9 + 246, 8),
    _exchange("16: one register", "10 0001 0001 02 000a", "10 0001 0001", 9 + 2, 8),
    _exchange("16: 123 registers", "10 0000 007b f6" + "0102" * 123, "10 0000 007b", 9 + 246, 8),
    _exchange("17: short", "11", "11 02 4d ff", 4, 5 + 2),
    _exchange("17: long", "11", "11 fb 4d ff" + "41" * 249, 4, 5 + 251),
    _exchange("20: one record", "14 07 06 0004 0001 0002", "14 06 05 06 0dfe 0020", 5 + 7, 5 + 6),
    _exchange(
        "20: two records",
        "14 0e 06 0004 0001 0002 06 0003 0009 0002",
        "14 0c 05 06 0dfe 0020 05 06 33cd 0040",
        5 + 14,
        5 + 12,
    ),
    _exchange(
        "20: 35 records",
        "14 f5" + "06 0004 0001 0001" * 35,
        "14 8c" + "03 06 0dfe" * 35,
        5 + 245,
        5 + 140,
    ),
    _exchange("21: one record", "15 09 06 0004 0007 0001 06af", "15 09 06 0004 0007 0001 06af", 5 + 9, 5 + 9),
    _exchange(
        "21: 122 registers",
        "15 fb 06 0004 0007 007a" + "0102" * 122,
        "15 fb 06 0004 0007 007a" + "0102" * 122,
        5 + 251,
        5 + 251,
    ),
    _exchange("22: a mask", "16 0004 00f2 0025", "16 0004 00f2 0025", 10, 10),
    _exchange("23: one and one", "17 0003 0001 000e 0001 02 00ff", "17 02 00fe", 13 + 2, 5 + 2),
    _exchange(
        "23: 125 and 121",
        "17 0000 007d 0000 0079 f2" + "0102" * 121,
        "17 fa" + "0304" * 125,
        13 + 242,
        5 + 250,
    ),
    _exchange("24: none", "18 04de", "18 0002 0000", 6, 6 + 2),
    _exchange("24: two", "18 04de", "18 0006 0002 01b8 1284", 6, 6 + 6),
    _exchange("24: 31", "18 04de", "18 0040 001f" + "01b8" * 31, 6, 6 + 64),
    _exchange("43/14: no object", "2b 0e 04 80", "2b 0e 04 01 00 00 00", 7, 8 + 2),
    Exchange("43/14: 13 objects", b"\x2b\x0e\x03\x00", MANY_OBJECTS, 7, 8 + 10 * 8 + 22 + 2 + 32 + 2),
    Exchange("43/14: more follows", b"\x2b\x0e\x03\x00", MORE_FOLLOWS, 7, 8 + 3 * 82 + 2),
)

WITH_FRAMES = (
    Exchange(
        "3: a frame inside",
        b"\x03\x00\x00\x00\x08",
        b"\x03\x10\x00" + FRAME_INSIDE + bytes(8),
        8,
        5 + 16,
    ),
    Exchange("17: a frame inside", b"\x11", b"\x11\x10\x00" + FRAME_INSIDE + bytes(8), 4, 5 + 16),
    Exchange(
        "43/14: frames inside",
        b"\x2b\x0e\x03\x00",
        identification(FRAME_INSIDE, REFUSAL_43, FRAME_INSIDE),
        7,
        8 + 9 + 7 + 9 + 2,
    ),
    Exchange("65: frames inside", b"\x41", b"\x41" + FRAME_INSIDE + REFUSAL_65 + b"\x00", 4, 17, True),
)

_OWN = (9, 10, 13, 14, 18, 19, 25, 42, 44, 64, *range(65, 73), 73, 99, *range(100, 111), 111, 127)
BY_SILENCE = (
    *(Exchange(f"{code}", bytes((code, 1)), bytes((code, 9, 8, 7)), 5, 7, True) for code in _OWN),
    Exchange("100: nothing but the code", b"\x64", b"\x64", 4, 4, True),
    Exchange("65: the longest", b"\x41" + bytes(252), b"\x41" + bytes(range(252)), 256, 256, True),
    Exchange("43/13", b"\x2b\x0d\x01\x02", b"\x2b\x0d\x05\x06\x07", 7, 8, True),
    Exchange("43/0", b"\x2b\x00", b"\x2b\x00\x05", 5, 6, True),
)

EVERY = (*BY_LENGTH, *WITH_FRAMES, *BY_SILENCE)
