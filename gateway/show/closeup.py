"""All that is known of one port, link or device, in lines that can be read: `gatewayctl status NAME`.

Pure, like `picture`. Nothing but its tables is ever cut.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .columns import Cell, columns, count, milliseconds, printable, size, span, value
from .picture import GROUPS, Look, Thing, backlog, lost, outlook, survives

Fields = Iterator[tuple[str, str]]
Rows = Iterator[Sequence[Cell]]
_WIDE = 13  # characters of the labels
_VERBS = {"listen": "listens on", "connect": "connects to"}


def closeup(record: Thing, look: Look) -> list[str]:
    """Of everything in this record: of one thing, as a rule."""
    record, look = printable(record), look.at(record)
    lines: list[str] = []
    for section, kind in _KINDS.items():
        for name, thing in record.get(section, {}).items():
            age = look.age(thing.get("since"))
            head = f"{section[:-1]} {name}: {thing.get('state', '?')}"
            head += "" if age is None else f" for {span(age)}"
            lines += ["", look.painted(head, "green" if GROUPS[section].is_up(thing) else "red")]
            fields = (*_life(thing, look), *kind.fields(thing, look), ("lost", lost(thing, look)))
            lines += [f"  {label:{_WIDE}}{text}" for label, text in fields if text]
            lines += _table([kind.head, *kind.rows(thing, look)], look)
    return lines[1:]


def _table(rows: Sequence[Sequence[Cell]], look: Look) -> list[str]:
    if len(rows) == 1:
        return []
    head, *lines = columns(rows, look.width and look.width - 2)
    return ["", look.painted(f"  {head}", "bold"), *(f"  {line}" for line in lines)]


def _life(thing: Thing, look: Look) -> Fields:
    yield "reason", thing.get("reason", "")
    if thing.get("state") == "paused" and thing.get("next_try_s") is not None:
        yield "taken back", f"in {span(thing['next_try_s'])}"
    elif thing.get("next_try_s") is not None:
        yield "next try", f"in {span(thing['next_try_s'])}; tried {count(thing.get('attempts', 0), 'time')}"


def _port(port: Thing, look: Look) -> Fields:
    yield "tty", str(port.get("tty", ""))
    role = f", we are the {port['role']}" if port.get("role") else ""
    yield "line", f"{port.get('line', '?')}, {port.get('mode', '?')}{role}"
    if "configured" in port:
        yield "", f"set by a client, flow {port.get('flow', '?')}; configured {port['configured']}"
    yield "RS-485", _rs485(port.get("rs485"))
    yield "traffic", ", ".join(_traffic(port))
    if "queue" in port:  # a raw port has none
        busy = "" if port.get("busy_pct") is None else f"{port['busy_pct']:.0f} % busy, "
        yield "bus", f"{busy}{count(port.get('queue', 0), 'request')} waiting"
    yield "errors", _errors(port)
    yield "values", ", ".join(f"{name} {value(read)}" for name, read in (port.get("values") or {}).items())
    if port.get("values"):
        age = look.age(port.get("last_good"))
        yield "last read", "never" if age is None else f"{span(age)} ago"


def _rs485(mode: Thing | None) -> str:
    if not mode:
        return ""
    levels = ("on" if mode.get(f"rts_{when}_send") else "off" for when in ("on", "after"))
    said = "by the driver: RTS {} while we send, {} after".format(*levels)
    for when, place in (("before", "before"), ("after", "behind")):
        if mode.get(f"delay_{when}_ms"):
            said += f", {mode[f'delay_{when}_ms']} ms {place}"
    return said + (", hears itself" if mode.get("rx_during_tx") else "")


def _traffic(port: Thing) -> Iterator[str]:
    for way in ("rx", "tx"):
        frames = port.get(f"{way}_frames")
        yield f"{way} {size(port.get(f'{way}_bytes', 0))}" + (
            f" in {count(frames, 'frame')}" if frames else ""
        )
    if port.get("dropped_bytes"):
        yield f"{size(port['dropped_bytes'])} dropped while the line was away"


def _errors(port: Thing) -> str:
    errors = port.get("errors") or {}
    seen = ", ".join(f"{number:,} {kind}" for kind, number in errors.items() if number)
    blind = ", ".join(kind for kind, number in errors.items() if number is None)
    return (seen or "none") + (f"; the driver does not count {blind}" if blind else "")


def _units(port: Thing, look: Look) -> Rows:
    for number, unit in port.get("units", {}).items():
        latency = unit.get("latency_ms") or {}
        yield (
            number,
            unit.get("state", "?"),
            *(unit.get(key, 0) for key in ("requests", "answers", "timeouts", "late")),
            milliseconds(latency.get("p50")),
            milliseconds(latency.get("p99")),
        )


def _link(link: Thing, look: Look) -> Fields:
    way = _VERBS.get(link.get("direction", ""), "joins")
    yield "kind", f"{link.get('kind', '?')}, {way} {link.get('endpoint', '?')}"
    yield from _raw(link)
    yield "ports", ", ".join(link.get("ports") or filter(None, [link.get("port")]))
    yield "devices", ", ".join(link.get("devices") or ())
    if bound := link.get("detect_within_s"):
        bounds = [peer.get("detect_within_s", bound) for peer in link.get("peers", ())]
        slow = f"; within {span(max(bounds))} on a slow path" if max(bounds, default=bound) > bound else ""
        yield "dead peers", f"are found within {span(bound)}{slow}"
    for keepalive, peers in _keepalives(link).items():
        yield "keep-alive", keepalive + ("" if len(peers) == len(link["peers"]) else f" ({', '.join(peers)})")
    if link.get("refused") and link.get("direction") == "listen":
        yield "refused", count(link["refused"], "client")
    readers = link.get("readers")
    yield "readers", f"{count(readers, 'client')} of these may only look on" if readers else ""
    if link.get("not_allowed"):
        yield (
            "not allowed",
            f"{count(link['not_allowed'], 'connection')} from addresses that allow does not name",
        )
    if link.get("denied"):
        yield "denied", f"{count(link['denied'], 'request')} that access does not permit"
    lost_datagrams = (f"{number:,} {why}" for why, number in (link.get("datagrams") or {}).items() if number)
    yield "datagrams", ", ".join(lost_datagrams)
    if buffer := link.get("buffer"):
        yield "buffer", f"{backlog(buffer)}; {survives(buffer)}"
        yield "", outlook(buffer)
        yield "trouble", buffer.get("trouble") or ""
    if "sent" in link:
        refused = f", {count(link['refused'])} refused" if link.get("refused") else ""
        yield "sent", f"{count(link['sent'])}, {count(link.get('confirmed', 0))} of them confirmed{refused}"
    if any((commands := link.get("commands") or {}).values()):
        yield "commands", ", ".join(f"{count(number)} {word}" for word, number in commands.items())
    if "alive" in link:
        yield "alive", f"stands at {link['alive']}"


def _raw(link: Thing) -> Fields:
    """Of links that carry bytes alone."""
    for name, way in (link.get("ways") or {}).items():
        yield f"from {name}", ", ".join(_passed(way))
    if tap := link.get("tap"):
        missed, ignored = (size(tap.get(key, 0)) for key in ("missed_bytes", "ignored_bytes"))
        yield "tap", f"clients only look on; they missed {missed}, and sent {ignored}, thrown away"


def _passed(way: Thing) -> Iterator[str]:
    yield size(way.get("bytes", 0))
    if way.get("waiting_bytes"):
        yield f"{size(way['waiting_bytes'])} waiting"
    if way.get("dropped_bytes"):
        yield f"{size(way['dropped_bytes'])} dropped while the other line was away"


def _keepalives(link: Thing) -> dict[str, list[str]]:
    """What the sockets really have -> whose they are."""
    found: dict[str, list[str]] = {}
    for peer in link.get("peers", ()):
        if (alive := peer.get("keepalive")) and alive.get("idle_s"):
            text = f"after {alive['idle_s']} s of silence, then every {alive['interval_s']} s"
            text += f", {alive['count']} times; unacknowledged data {span(alive['user_timeout_ms'] / 1000)}"
            found.setdefault(text, []).append(str(peer.get("address")))
    return found


def _peers(link: Thing, look: Look) -> Rows:
    for peer in link.get("peers", ()):
        yield (
            str(peer.get("address", "?")),
            span(look.age(peer.get("since")) or 0.0, coarse=True),
            size(peer.get("rx_bytes", 0)),
            size(peer.get("tx_bytes", 0)),
            peer.get("requests") or None,
            span(peer.get("silent_s", 0.0)),
            "" if peer.get("proof_age_s") is None else span(peer["proof_age_s"]),
            milliseconds(peer.get("rtt_ms")),
            milliseconds(peer.get("rto_ms")),
            peer.get("retransmits") or None,
            size(peer["unacked_bytes"]) if peer.get("unacked_bytes") else "",
        )


def _device(device: Thing, look: Look) -> Fields:
    yield "on", f"port {device.get('port', '?')}, unit {device.get('unit_id', '?')}"
    age = look.age(device.get("last_good"))
    yield "last read", "never" if age is None else f"{span(age)} ago"
    yield "polls", f"{count(device.get('polls', 0))}, {count(device.get('errors', 0))} with errors"


def _values(device: Thing, look: Look) -> Rows:
    for point, read in (device.get("values") or {}).items():
        yield point, value(read)


class _Kind(NamedTuple):
    fields: Callable[[Thing, Look], Fields]
    head: Sequence[Cell]
    rows: Callable[[Thing, Look], Rows]


_UNITS = ("UNIT", "STATE", "REQUESTS", "ANSWERS", "TIMEOUTS", "LATE", "P50", "P99")
_PEERS = ("PEER", "FOR", "RX", "TX", "REQUESTS", "SILENT", "PROVEN", "RTT", "RTO", "RESENT", "UNACKED")
_KINDS = {
    "ports": _Kind(_port, _UNITS, _units),
    "links": _Kind(_link, _PEERS, _peers),
    "devices": _Kind(_device, ("POINT", "VALUE"), _values),
}
