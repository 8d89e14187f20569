"""Lines of a trace. The time zone is the reader's, so these tests compare against the local one."""

from datetime import datetime
from typing import Any

import pytest

from gateway.show.hexdump import hexdump

AT = "2026-03-02T14:15:02.512Z"
CLOCK = datetime.fromisoformat(AT).astimezone().strftime("%H:%M:%S.512")


def seen(data: bytes, text: str = "", way: str = "rx") -> dict[str, Any]:
    return {"at": AT, "way": way, "hex": data.hex(" "), "text": text}


@pytest.mark.parametrize(
    ("line", "letters", "lines"),
    [
        (seen(b"\x01\x03\x02\x00\xe6"), False, ["rx 01 03 02 00 e6"]),
        (seen(b"\x01\x83\x02", "illegal data address"), False, ["rx 01 83 02   illegal data address"]),
        (seen(b"", "connected", "tx"), False, ["tx connected"]),
        (seen(b"", "connected"), True, ["rx connected"]),
        (
            seen(bytes(range(20)), "twenty"),
            False,
            ["rx 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f", "10 11 12 13   twenty"],
        ),
        (
            seen(b"230.1\r\n"),
            True,
            ["rx 32 33 30 2e 31 0d 0a                            230.1.."],
        ),
        (
            seen(b"the scale says\x1b[2J", "10.0.0.5:50112", "tx"),
            True,
            [
                "tx 10.0.0.5:50112",
                "74 68 65 20 73 63 61 6c 65 20 73 61 79 73 1b 5b the scale says.[",
                "32 4a                                           2J",
            ],
        ),
        (seen(b"\x01", "evil \x1b[2J topic"), False, ["rx 01   evil ?[2J topic"]),
    ],
)
def test_a_line_of_a_trace(line: dict[str, Any], letters: bool, lines: list[str]) -> None:
    first, *more = lines
    expected = [f"{CLOCK} {first}", *(f"{'':16}{rest}" for rest in more)]
    assert hexdump(line, letters=letters) == expected


def test_sixteen_bytes_and_their_letters_fit_80_columns() -> None:
    assert [len(line) for line in hexdump(seen(bytes(48)), letters=True)] == [80, 80, 80]


def test_what_was_missed_is_said() -> None:
    assert hexdump({"missed": 1204}, letters=True) == ["... 1,204 lines missed: more than could be shown"]
