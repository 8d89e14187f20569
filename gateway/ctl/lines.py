"""gatewayctl read, write, scan, pause and resume: what is done on a port's line, always through the daemon.

Promises: nothing is written that was not shown and agreed to, or asked for with --yes.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from ..show import registers as show
from ..show.columns import count, milliseconds, span
from .asking import BAD_NEWS, GOOD, USAGE, Answer, Failed, Options, answers, ask, good, one, print_json
from .decoding import all_orders, bit, codec, encoded, values, word
from .terminal import agreed, progress

_WITHIN = 60.0  # seconds; on a busy line, of a slow device


def read(options: Options) -> int:
    size, bits = _size(options), options.table in show.BITS
    if bits and (options.all_orders or options.type):
        raise Failed(f"a {options.table} is one bit: it has no type and no byte order", USAGE)
    many = (4 if options.all_orders else size) if options.count is None else options.count
    if many % size:
        raise Failed(f"{options.type} takes {size} registers: COUNT is a multiple of that", USAGE)
    asked = {"unit_id": options.unit_id, "table": options.table, "address": options.address, "count": many}
    answer = one(options, "read", _WITHIN, **asked)
    words = answer.get("values", [])
    if answer.get("ok") and options.all_orders:
        answer["orders"] = all_orders(words)
    elif answer.get("ok") and options.type:
        answer["typed"] = values(codec(options.type, options.byte_order), words)
    if options.json:
        print_json(answer)
    good(answer)
    if not options.json:
        print("\n".join(_drawn(options, answer)))
    return GOOD


def _size(options: Options) -> int:
    """Registers that one value of the wanted type takes."""
    try:
        return codec(options.type or "uint16", options.byte_order).registers
    except ValueError as error:
        raise Failed(str(error), USAGE) from None


def _drawn(options: Options, answer: Answer) -> list[str]:
    if options.all_orders:
        sizes = {kind: codec(kind).registers for kind in answer["orders"]}
        return show.all_orders(options.table, options.address, sizes, answer["orders"])
    if options.type:
        size = _size(options)
        return show.typed(options.table, options.type, options.address, size, answer["typed"])
    return show.registers(options.table, options.address, answer["values"])


def write(options: Options) -> int:
    words = _words(options)
    if not options.yes:
        _agree(options, words)
    ask(
        options,
        "write",
        _WITHIN,
        unit_id=options.unit_id,
        table=options.table,
        address=options.address,
        values=words,
    )
    if not options.json:
        print(f"{_span(options, words)} of unit {options.unit_id} on {options.name} written")
    return GOOD


def _words(options: Options) -> list[int]:
    """What goes into the registers, or coils."""
    try:
        if options.table in show.BITS:
            if options.type:
                raise ValueError("a coil is one bit: it has no type")
            return [bit(text) for text in options.values]
        if options.type:
            return encoded(codec(options.type, options.byte_order), options.values)
        return [word(text) for text in options.values]
    except ValueError as error:
        raise Failed(str(error), USAGE) from None


def _agree(options: Options, words: list[int]) -> None:
    """Failed when nobody says yes."""
    if not sys.stdin.isatty():
        raise Failed("nobody can be asked here: --yes writes without asking", USAGE)
    port = good(one(options, "status")).get("ports", {}).get(options.name)
    if port is None:
        raise Failed(f"{options.name} is no port", BAD_NEWS)
    where = f"unit {options.unit_id} on {options.name} ({port.get('tty')}, {port.get('line')})"
    meant = f"{options.type} {' '.join(options.values)}, {options.byte_order}" if options.type else ""
    print("\n".join(show.question(where, options.table, options.address, words, meant)), file=sys.stderr)
    if not agreed("Write it?"):
        raise Failed("nothing was written", BAD_NEWS)


def _span(options: Options, words: list[int]) -> str:
    last = options.address + len(words) - 1
    return f"{options.table} {options.address}" + (f"..{last}" if len(words) > 1 else "")


def scan(options: Options) -> int:
    """Each unit id that was found goes to the output at once, the rest is progress."""
    asked: dict[str, Any] = {"unit_ids": options.unit_ids}
    if options.baudrate:
        asked["baudrates"] = options.baudrate
    if options.format:
        asked["formats"] = options.format
    with closing(answers(options, "scan", **asked)) as stream:
        try:
            return _followed(options, stream)
        finally:
            progress("")


def _followed(options: Options, stream: Iterator[Answer]) -> int:
    of = 0
    for number, line in enumerate(stream):
        if options.json:
            print(json.dumps(line), flush=True)
        good({"ok": True} | line)
        if number == 0:
            of = line["unit_ids"] * len(line["lines"])
        elif not options.json:
            _tell(line, f"{number} of {of}")
        if "found" in line:
            return GOOD if line["found"] else BAD_NEWS
    raise AssertionError("a stream that was cut off says so")


def _tell(line: Answer, where: str) -> None:
    if line.get("state") == "silent":
        progress(f"{line['line']}: unit {line['unit_id']} is silent, {where}")
        return
    progress("")
    match line.get("state"):
        case None:
            print(f"{count(line['found'], 'unit')} found, {count(line['asked'])} asked")
        case "skipped":
            print(f"{line['line']}: {line['text']}", flush=True)
        case "found":
            took = milliseconds(line["took_ms"])
            print(f"{line['line']}: unit {line['unit_id']}: {line['text']}, {took}", flush=True)
        case _:
            print(f"{line['line']}: unit {line['unit_id']}: {line['text']}", flush=True)


def pause(options: Options) -> int:
    answer = ask(options, "pause", _WITHIN, duration=options.duration)
    if not options.json:
        back = f"taken back in {span(answer['seconds'])}, or by: gatewayctl resume {options.name}"
        print(f"{options.name} is let go of; {back}")
    return GOOD


def resume(options: Options) -> int:
    ask(options, "resume")
    if not options.json:
        print(f"{options.name} goes back to work: gatewayctl status {options.name}")
    return GOOD
