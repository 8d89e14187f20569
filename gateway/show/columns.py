"""Text for people: spans of time, sizes, counts, aligned columns, and what fits a terminal.

Pure, and imports nothing of ours: gatewayctl must start fast.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Cell = str | int | None
_ELASTIC_LEAST = 12  # characters that stay of a column that gives way


def span(seconds: float, *, coarse: bool = False) -> str:
    """ "0.8 s", "23 s", "12 min", "3 h 12 min", "3 d 4 h"; coarse is one unit only."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds / 60), int(seconds / 3600), int(seconds / 86400)
    if not minutes:
        return f"{seconds:.0f} s" if seconds < 59.5 else "1 min"
    if not hours:
        return f"{minutes} min"
    whole, part = (f"{days} d", f"{hours % 24} h") if days else (f"{hours} h", f"{minutes % 60} min")
    return whole if coarse or part.startswith("0 ") else f"{whole} {part}"


def about(seconds: float) -> str:
    """ "40 s", "90 min", "6 h", "7 d": to the nearest, of a unit of which there are two at least."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def milliseconds(value: float | None) -> str:
    """ "0.4 ms", "24 ms", "1.4 s"; "" when it is not known."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"


def size(octets: float) -> str:
    """ "340 B", "1.2 MB": 1 KB is 1024 B, as in the config file."""
    if octets < 1000:
        return f"{octets:.0f} B"
    for unit in ("KB", "MB", "GB"):
        octets /= 1024
        if octets < 999.5 or unit == "GB":
            break
    text = f"{octets:.1f}" if octets < 9.95 else f"{octets:.0f}"
    return f"{text.removesuffix('.0')} {unit}"


def count(number: int, noun: str = "", plural: str = "") -> str:
    """ "1,203", "1 client", "2 clients"."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def value(of: object) -> str:
    """As JSON writes it, but floats without their noise and texts without quotes."""
    match of:
        case bool():
            return str(of).lower()
        case float():
            return f"{of:.10g}"
        case None:
            return "-"
        case _:
            return str(of)


def cut(text: str, width: int | None) -> str:
    """`text`, ending in "..." when it is wider."""
    return text if width is None or len(text) <= width else text[: max(0, width - 3)] + "..."


def printable(value: Any) -> Any:
    """A copy of JSON data in which no text can move the cursor, or do worse."""
    if isinstance(value, str):
        return "".join(sign if sign.isprintable() else "?" for sign in value)
    if isinstance(value, Mapping):
        return {printable(key): printable(item) for key, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def columns(
    rows: Sequence[Sequence[Cell]], width: int | None = None, elastic: int = -1, keep: int = 0
) -> list[str]:
    """Rows, the first is the head, as aligned lines: numbers to the right, empty columns left out.

    Where `width` is short, the last column loses its end, but for `keep` characters; then column `elastic`
    its beginnings; then the lines their ends.
    """
    kept = {
        place: cells
        for place, cells in enumerate(zip(*rows, strict=True))
        if any(cell not in (None, "") for cell in cells[1:])
    }
    texts = {place: [_text(cell) for cell in cells] for place, cells in kept.items()}
    if width is not None:
        _squeeze(texts, width, elastic, keep)
    aligned = []
    for place, cells in kept.items():
        wide = max(map(len, texts[place]))
        to_the_right = any(isinstance(cell, int) for cell in cells)
        aligned.append([f"{text:>{wide}}" if to_the_right else f"{text:{wide}}" for text in texts[place]])
    return [cut("  ".join(line).rstrip(), width) for line in zip(*aligned, strict=True)]


def _text(cell: Cell) -> str:
    return count(cell) if isinstance(cell, int) else cell or ""


def _squeeze(texts: dict[int, list[str]], width: int, elastic: int, keep: int) -> None:
    wide = {place: max(map(len, column)) for place, column in texts.items()}
    over = sum(wide.values()) + 2 * (len(wide) - 1) - width
    over -= max(0, wide[max(wide)] - keep)
    if over > 0 and elastic in wide:
        room = max(_ELASTIC_LEAST, wide[elastic] - over)
        texts[elastic] = [text if len(text) <= room else "..." + text[3 - room :] for text in texts[elastic]]
