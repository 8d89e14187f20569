"""What the links keep: `gatewayctl buffer`. Pure, like `picture`; a buffer is a record by its name."""

from collections.abc import Iterator, Mapping

from .columns import columns, count, cut, printable, size, span
from .picture import Look, Thing, backlog, outlook, survives

Buffers = Mapping[str, Thing]

_HEAD = ("BUFFER", "RECORDS", "SIZE", "OF", "OLDEST", "DROPPED", "WRITTEN TODAY", "DURABILITY")
_WIDE = 13  # characters of the labels


def table(buffers: Buffers, look: Look) -> list[str]:
    """One line each, and what is to be said of it in the lines below."""
    buffers = printable(buffers)
    if not buffers:
        return ["no link keeps anything"]
    rows = [(name, *_cells(buffer)) for name, buffer in buffers.items()]
    head, *lines = columns([_HEAD, *rows], look.width and look.width - 2)
    drawn = [look.painted(f"  {head}", "bold")]
    for buffer, line in zip(buffers.values(), lines, strict=True):
        ill = buffer.get("trouble")
        drawn.append(look.painted(f"! {line}", "red") if ill else f"  {line}")
        drawn += [cut(f"    {text}", look.width) for text in (outlook(buffer),) if text]
        drawn += [look.painted(cut(f"    {note}", look.width), "yellow") for note in _notes(buffer)]
    return drawn


def _cells(buffer: Thing) -> tuple[str | int, ...]:
    age, written = buffer.get("oldest_age_s"), buffer.get("written_today_bytes")
    return (
        buffer.get("records", 0),
        size(buffer.get("bytes", 0)),
        size(buffer.get("capacity_bytes", 0)) if buffer.get("configured") else "",
        "" if age is None else span(age),
        buffer.get("dropped", 0),
        "?" if written is None else size(written),
        str(buffer.get("durability", "?")),
    )


def _notes(buffer: Thing) -> Iterator[str]:
    if buffer.get("trouble"):
        yield f"in memory only: {buffer['trouble']}"
    if whose := _whose(buffer):
        yield whose


def _whose(buffer: Thing) -> str:
    """Where that is not plain."""
    if buffer.get("kind") == "refused":
        return f"what the far end of {buffer.get('link', '?')} refused: kept until it is cleared"
    if not buffer.get("configured", True):
        return f"no {buffer.get('kind', '?')} link of that name is configured: kept until it is cleared"
    return ""


def detail(buffers: Buffers, look: Look) -> list[str]:
    """All that is known of each: of one, as a rule."""
    drawn: list[str] = []
    for name, buffer in printable(buffers).items():
        held = f"buffer {name}: {count(buffer.get('records', 0), 'record')}"
        drawn += ["", look.painted(held, "red" if buffer.get("trouble") else "green")]
        drawn += [f"  {label:{_WIDE}}{text}" for label, text in _fields(buffer) if text]
    return drawn[1:]


def _fields(buffer: Thing) -> Iterator[tuple[str, str]]:
    yield "link", f"{buffer.get('link', '?')}, {buffer.get('kind', '?')}"
    yield "holds", backlog(buffer)
    yield "outlook", outlook(buffer)
    if (written := buffer.get("written_today_bytes")) is not None:
        yield "written", f"{size(written)} to the disk since midnight UTC"
    yield "durability", f"{buffer.get('durability', '?')}: {survives(buffer)}"
    yield "trouble", buffer.get("trouble") or ""
    yield "", _whose(buffer)


def question(name: str, buffer: Thing) -> str:
    """Before it is cleared."""
    name, age = printable(name), buffer.get("oldest_age_s")
    old = "" if age is None else f", the oldest {span(age)} old"
    return f"{name}: {count(buffer.get('records', 0), 'record')}{old}, will be gone for good. Clear them?"
