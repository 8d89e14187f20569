"""A status record at a glance: what is up, what is not, why, and when the next try is.

Pure: a record, the time and a width in, lines out. It imports nothing of the daemon, because gatewayctl must
start fast, and reads records of any version: what is missing is left out. Only where a width is given is
anything cut, and never the next try nor a problem of the config file. Control characters from outside do not
reach the terminal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, NamedTuple

from .columns import Cell, about, columns, count, cut, milliseconds, printable, size, span, value

Thing = Mapping[str, Any]

_RECENT = 86400.0  # seconds for which a link that is up again still tells of its last loss
_BACKLOG = 10.0  # seconds after which records in the buffer of a link that is up are worth a line
_NOISE = 0.01  # of the requests: from here on spoiled answers are worth a line
_SURVIVES = {
    "memory": "in memory only",
    "crash": "survives a crash",
    "power": "survives a power cut",
}
_COLOURS = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "bold": "\x1b[1m"}


class Look(NamedTuple):
    """How to draw."""

    now: float  # wall time, seconds since the epoch
    width: int | None = None  # of the terminal, in characters; None: nothing is cut
    colour: bool = False
    oldest: float = float("inf")  # seconds; nothing is older than the daemon, whenever its clock was set

    def at(self, record: Thing) -> "Look":
        return self._replace(oldest=record.get("gateway", {}).get("uptime_s", self.oldest))

    def age(self, stamp: str | None) -> float | None:
        """Seconds since an RFC 3339 time."""
        if not stamp:
            return None
        return min(max(0.0, self.now - datetime.fromisoformat(stamp).timestamp()), self.oldest)

    def painted(self, text: str, colour: str) -> str:
        return f"{_COLOURS[colour]}{text}\x1b[0m" if self.colour and text else text


def overview(record: Thing, look: Look) -> list[str]:
    """Everything, one line each; what is not up, or not well, says why in the lines below it."""
    record, look = printable(record), look.at(record)
    gateway = record.get("gateway", {})
    lines = [_headline(record, look), *_config(gateway, look)]
    for section, group in GROUPS.items():
        if things := record.get(section):
            lines += ["", *_table(group, things, look)]
    if not any(record.get(section) for section in GROUPS):
        file = gateway.get("config", "the config file")
        lines.append(cut(f"    no ports, links or devices in {file}", look.width))
    return lines


def all_up(record: Thing) -> bool:
    """Every port, link and device. A listener that nobody uses is up."""
    return all(_states(record))


def _states(record: Thing) -> list[bool]:
    return [group.is_up(thing) for key, group in GROUPS.items() for thing in record.get(key, {}).values()]


def _headline(record: Thing, look: Look) -> str:
    gateway = record.get("gateway", {})
    states = _states(record)
    down = states.count(False)
    tally = f"{down} of {len(states)} not up" if down else f"all {len(states)} up"
    verdict = f"{gateway.get('state', '?')}, {tally if states else 'nothing is configured'}"
    text = f"{gateway.get('name', '?')}: {verdict}; running for {span(gateway.get('uptime_s', 0.0))}"
    text = cut(f"{text}; gatewayd {gateway.get('version', '?')}", look.width)
    return look.painted(text, "green" if gateway.get("state") == "ok" and not down else "red")


def _config(gateway: Thing, look: Look) -> Iterator[str]:
    problems: Sequence[str] = gateway.get("config_problems") or ()
    if not problems:
        return
    loaded = look.age(gateway.get("config_loaded_at"))
    text = f"config: {count(len(problems), 'problem')}; what runs is the last good one"
    text += "" if loaded is None else f", loaded {span(loaded)} ago"
    yield look.painted(cut(text, look.width), "red")
    yield from (f"    {problem}" for problem in problems[:5])
    if len(problems) > 5:
        yield f"    ... and {len(problems) - 5} more: gatewayctl check"


def _table(group: "Group", things: Mapping[str, Thing], look: Look) -> Iterator[str]:
    rows = [group.head]
    for name, thing in things.items():
        age = span(look.age(thing.get("since")) or 0.0, coarse=True)
        rows.append((name, thing.get("state", "?"), age, *group.cells(thing, look)))
    head, *lines = columns(rows, look.width and look.width - 2, group.elastic, group.keep)
    yield look.painted(f"  {head}", "bold")
    for thing, line in zip(things.values(), lines, strict=True):
        up = group.is_up(thing)
        yield f"  {line}" if up else look.painted(f"! {line}", "red")
        for note in (*why(thing, up, look), *group.notes(thing, look)):
            yield look.painted(cut(f"    {note}", look.width), "yellow")


def why(thing: Thing, up: bool, look: Look) -> Sequence[str]:
    """Why it is not up and when the next try is, or what is to be said of it although it is up."""
    tries = []
    if not up and thing.get("attempts", 0) > 1:
        tries.append(f"tried {count(thing['attempts'], 'time')}")
    if not up and thing.get("next_try_s") is not None:
        what = "taken back" if thing.get("state") == "paused" else "next try"
        tries.append(f"{what} in {span(thing['next_try_s'])}")
    said = [text for text in (thing.get("reason"), ", ".join(tries)) if text]
    if look.width is not None and len("; ".join(said)) > look.width - 4:
        return said  # a line each
    return ["; ".join(said)] if said else []


def lost(thing: Thing, look: Look) -> str:
    """ "3 times, last 12 min ago: no round trip for 18.5 s; noticed after 18 s"; "" when it never was."""
    death = thing.get("last_death")
    if not death:
        return ""
    times, ago = count(thing.get("deaths", 1), "time"), span(look.age(death.get("at")) or 0.0)
    text, after = f"{times}, last {ago} ago: {death.get('reason', '?')}", death.get("detected_after_s")
    return text + ("" if after is None else f"; noticed after {span(after)}")


def _port_cells(port: Thing, look: Look) -> Sequence[Cell]:
    tty = str(port.get("tty", ""))
    short = tty.rpartition("/")[2] if tty.startswith("/dev/") else tty
    return short, f"{port.get('line', '')} {port.get('mode', '')}", _port_work(port)


def _port_work(port: Thing) -> str:
    if port.get("state") not in GROUPS["ports"].up:
        return ""
    if not str(port.get("mode", "")).startswith("modbus"):
        traffic = f"rx {size(port.get('rx_bytes', 0))}, tx {size(port.get('tx_bytes', 0))}"
        return ", ".join((traffic, *(_values(port) if port.get("present") == "online" else ())))
    units = port.get("units", {}).values()
    answering = sum(unit.get("state") == "ok" for unit in units)
    work = [] if port.get("busy_pct") is None else [f"{port['busy_pct']:.0f} % busy"]
    if answering < len(units):
        work.append(f"{answering} of {count(len(units), 'unit')}")
    elif units:
        work.append(count(answering, "unit"))
    return ", ".join(work)


def _port_notes(port: Thing, look: Look) -> Iterator[str]:
    units = port.get("units", {})
    if silent := [number for number, unit in units.items() if unit.get("state") == "silent"]:
        word = "unit" if len(silent) == 1 else "units"
        yield f"{word} {', '.join(silent)} not answering"
    errors, requests = port.get("errors", {}), sum(unit.get("requests", 0) for unit in units.values())
    spoiled = {kind: errors.get(kind) or 0 for kind in ("crc", "short", "foreign")}
    if not port.get("reason") and sum(spoiled.values()) > _NOISE * requests > 0:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in spoiled.items() if number)
        yield f"check wiring, baudrate and format: {kinds} of {requests:,} answers"


def _link_cells(link: Thing, look: Look) -> Sequence[Cell]:
    endpoint, peers = str(link.get("endpoint", "")), link.get("peers", ())
    where = endpoint if "://" in endpoint else f"{link.get('kind', '')} {endpoint}"
    if link.get("direction") == "listen" and link.get("state") in GROUPS["links"].up:
        hosts = ", ".join(str(peer.get("address", "?")).rpartition(":")[0] for peer in peers)
        return where, f"{count(len(peers), 'client')}: {hosts}" if peers else "nobody connected"
    trips = [milliseconds(peer["rtt_ms"]) for peer in peers if peer.get("rtt_ms") is not None]
    return where, f"rtt {trips[0]}" if trips else ""


def _link_notes(link: Thing, look: Look) -> Iterator[str]:
    up, buffer = GROUPS["links"].is_up(link), link.get("buffer") or {}
    if buffer.get("trouble"):
        yield f"buffer in memory only: {buffer['trouble']}"
    if buffer.get("records") and (not up or (buffer.get("oldest_age_s") or 0.0) > _BACKLOG):
        yield f"buffer: {backlog(buffer)}"
        if expected := outlook(buffer):
            yield f"buffer: {expected}"
    elif buffer.get("dropped"):
        yield f"buffer: {count(buffer['dropped'], 'record')} dropped since the start"
    if up and link.get("last_death") and (look.age(link["last_death"].get("at")) or 0.0) < _RECENT:
        yield f"lost {lost(link, look)}"


def backlog(buffer: Thing) -> str:
    """ "1,203 records, 1.2 MB of 8 MB, 120 dropped, oldest 12 min"."""
    held = f"{count(buffer.get('records', 0), 'record')}, {size(buffer.get('bytes', 0))}"
    if capacity := buffer.get("capacity_bytes"):
        held += f" of {size(capacity)}"
    held += f", {count(buffer['dropped']) if buffer.get('dropped') else 'none'} dropped"
    return held + (f", oldest {span(buffer['oldest_age_s'])}" if buffer.get("oldest_age_s") else "")


def outlook(buffer: Thing) -> str:
    """ "holds about 6 h at the present rate", "empty in about 4 min"; "" while nothing comes or goes."""
    if buffer.get("drain_eta_s") is not None:
        return f"empty in about {about(max(1, buffer['drain_eta_s']))}"
    if buffer.get("fills_in_s") is None:
        return ""
    if (age := buffer.get("age_s", inf)) < buffer["fills_in_s"]:
        return f"holds {about(age)}: what is older goes"
    return (
        f"holds about {about(buffer['fills_in_s'])} at the present rate" if buffer["fills_in_s"] else "full"
    )


def survives(buffer: Thing) -> str:
    """ "survives a crash"; in trouble nothing is sure but memory."""
    durability = "memory" if buffer.get("trouble") else str(buffer.get("durability", "?"))
    return _SURVIVES.get(durability, durability)


def _device_cells(device: Thing, look: Look) -> Sequence[Cell]:
    age = look.age(device.get("last_good"))
    ago = "never" if age is None else f"{span(age)} ago"
    shown = _values(device) if GROUPS["devices"].is_up(device) else []  # else they may be wrong by now
    return f"{device.get('port', '')} unit {device.get('unit_id', '?')}", ago, ", ".join(shown)


def _values(thing: Thing) -> list[str]:
    """The first three."""
    values = thing.get("values") or {}
    shown = [f"{point} {value(read)}" for point, read in list(values.items())[:3]]
    return shown if len(values) <= 3 else [*shown, f"{len(values) - 3} more"]


def _device_notes(device: Thing, look: Look) -> Iterator[str]:
    polls, errors = device.get("polls", 0), device.get("errors", 0)
    if GROUPS["devices"].is_up(device) and errors > _NOISE * polls:
        yield f"errors in {errors:,} of {count(polls, 'poll')}"


class Group(NamedTuple):
    """How one section of the record is drawn. In a narrow terminal column `elastic` gives way, so that `keep`
    characters stay of the last one.
    """

    up: Sequence[str]
    cells: Callable[[Thing, Look], Sequence[Cell]]
    notes: Callable[[Thing, Look], Iterable[str]]
    head: Sequence[Cell]
    elastic: int = -1
    keep: int = 0

    def is_up(self, thing: Thing) -> bool:
        return thing.get("state") in self.up


_PORTS = ("PORT", "STATE", "FOR", "TTY", "LINE", "")
_LINKS = ("LINK", "STATE", "FOR", "ENDPOINT", "")
_DEVICES = ("DEVICE", "STATE", "FOR", "ON", "READ", "VALUES")
GROUPS = {
    "ports": Group(("open",), _port_cells, _port_notes, _PORTS, elastic=3, keep=24),
    "links": Group(("up", "listening", "idle"), _link_cells, _link_notes, _LINKS, elastic=3, keep=16),
    "devices": Group(("ok",), _device_cells, _device_notes, _DEVICES),
}
