"""A line of a trace as text: the time of day, the way, the bytes, and what they mean.

    12:34:56.789 tx 01 03 00 00 00 02 c4 0b   read 2 holding registers at 0
    12:34:56.790 rx 32 33 30 2e 31 0d 0a                            230.1..

Pure. Sixteen bytes and their letters fit 80 columns exactly.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .columns import count, printable

_ACROSS = 16  # bytes per line


def hexdump(seen: Mapping[str, Any], *, letters: bool) -> list[str]:
    """`letters`: the bytes are shown as text, too, as suits a port that is not Modbus."""
    if missed := seen.get("missed"):
        return [f"... {count(missed, 'line')} missed: more than could be shown"]
    data, text = bytes.fromhex(seen.get("hex", "")), printable(seen.get("text", ""))
    rows = [data[start : start + _ACROSS] for start in range(0, len(data), _ACROSS)]
    lines = [f"{row.hex(' '):47} {_letters(row)}" if letters else row.hex(" ") for row in rows]
    if not lines or (letters and text):
        lines.insert(0, text)
    elif text:
        lines[-1] += f"   {text}"
    clock = datetime.fromisoformat(seen["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    first, *more = lines
    return [f"{clock} {seen.get('way', '??')} {first}", *(f"{'':16}{line}" for line in more)]


def _letters(row: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
