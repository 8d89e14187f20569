"""gatewayctl buffer: what the links keep, a copy of it in a file, and its end."""

import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext
from typing import BinaryIO

from ..show.buffers import detail, question, table
from ..show.columns import count
from .asking import BAD_NEWS, GOOD, Failed, Options, ask, good, lines, one, print_json, understood
from .newfile import new_file
from .terminal import agreed, look

_RECORD = b'{"ts":'  # so each line of a record begins


def show(options: Options) -> int:
    buffers = ask(options, "buffer").get("buffers", {})
    if not options.json:
        print("\n".join(detail(buffers, look()) if options.name else table(buffers, look())))
    return GOOD


def export(options: Options) -> int:
    """To stdout nothing is added: that is for programs."""
    whole = options.file == "-"
    target = nullcontext(sys.stdout.buffer) if whole else new_file(options.file, force=options.force)
    with target as file, closing(lines(options, "export")) as stream:
        good(understood(options, next(stream)))
        records = _copied(options, stream, file)
    if options.json and not whole:
        print_json({"ok": True, "records": records, "file": options.file})
    elif not whole:
        print(f"{count(records, 'record')} in {options.file}")
    return GOOD


def _copied(options: Options, stream: Iterator[bytes], file: BinaryIO) -> int:
    """How many records, once all of them have come."""
    for line in stream:
        if line.startswith(_RECORD):
            file.write(line)
            continue
        end = understood(options, line)
        if "exported" in end:
            return int(end["exported"])
        good(end)
    raise AssertionError("a stream that was cut off says so")


def clear(options: Options) -> int:
    (buffer,) = good(one(options, "buffer")).get("buffers", {}).values()
    if buffer.get("records") and not options.yes and not agreed(question(options.name, buffer)):
        raise Failed("nothing was cleared", BAD_NEWS)
    records = ask(options, "clear").get("records", 0)
    if not options.json:
        print(f"{options.name}: {count(records, 'record')} cleared")
    return GOOD
