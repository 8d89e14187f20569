"""gatewayctl: a verb becomes one request to the daemon, its answer a picture or JSON.

Exit codes: 0 good, 1 bad news, 2 usage, 3 no daemon. It asks the daemon and guesses nothing: it reads neither
the daemon's config nor its files. It must start fast (60 ms of CPU for all of `status`), so it imports
nothing of ours but what a verb needs, and only then.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from .. import __version__
from .arguments import PAUSE, READ, RESUME, SCAN, WRITE
from .asking import (
    BAD_NEWS,
    GOOD,
    Answer,
    Failed,
    Options,
    answers,
    ask,
    good,
    one,
    print_json,
)

__all__ = ["Failed", "answers", "main"]

CONFIG = "/etc/gateway/gateway.toml"
RELOAD_WITHIN = 60.0  # seconds; what changed says goodbye first, each part within its bound
REFRESH = 1.0  # seconds


def main(argv: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a serial console may know ASCII only
    try:
        options = _options(sys.argv[1:] if argv is None else argv)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except Failed as failed:
        print(*failed.lines, f"gatewayctl: {failed}", sep="\n", file=sys.stderr)
        return failed.code
    except BrokenPipeError:  # the reader has seen enough: `gatewayctl trace meters | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except KeyboardInterrupt:
        return 130


def _status(options: Options) -> int:
    if options.watch:
        return _watch(options)
    answer = ask(options, "status")
    if not options.json:
        print("\n".join(_picture(options, answer)))
    return BAD_NEWS if options.strict and not _is_all_up(options, answer) else GOOD


def _is_all_up(options: Options, answer: Answer) -> bool:
    """With a name only that port, link or device counts."""
    from ..show.picture import all_up

    gateway = answer.get("gateway", {})
    whole = gateway.get("state") == "ok" and not gateway.get("config_problems")
    return all_up(answer) and (whole or bool(options.name))


def _picture(options: Options, answer: Answer) -> list[str]:
    from .terminal import look

    if not options.name:
        from ..show.picture import overview

        return overview(answer, look())
    from ..show.closeup import closeup

    return closeup(answer, look())


def _watch(options: Options) -> int:
    from .terminal import draw

    try:
        while True:
            try:
                answer = ask(options, "status")
                lines = [] if options.json else _picture(options, answer)
            except Failed as failed:  # the daemon may be on its way back
                lines = [f"gatewayctl: {failed}"]
            draw(lines)
            time.sleep(REFRESH)
    except KeyboardInterrupt:
        return GOOD


def _check(options: Options) -> int:
    from pathlib import Path

    from ..config import load

    loaded = load(Path(options.file), os.environ)
    if options.json:
        problems, warnings = list(map(str, loaded.problems)), list(map(str, loaded.warnings))
        volumes = {link: cost._asdict() for link, cost in loaded.volumes.items()}
        print_json({"ok": not problems, "problems": problems, "warnings": warnings, "at_rest": volumes})
    else:
        print(loaded.report(Path(options.file)))
    return BAD_NEWS if loaded.problems else GOOD


def _ports(options: Options) -> int:
    from .ports import ports

    return ports(options)


def _reload(options: Options) -> int:
    answer = ask(options, "reload", RELOAD_WITHIN)
    if not options.json:
        for warning in answer.get("warnings", ()):
            print(warning)
        print(f"reloaded; changed: {', '.join(answer.get('changed', ())) or 'nothing'}")
    return GOOD


def _trace(options: Options) -> int:
    from ..show.hexdump import hexdump

    with suppress(KeyboardInterrupt), closing(answers(options, "trace")) as stream:
        mode = str(good(next(stream)).get("mode"))
        letters = mode == "modbus-ascii" or not mode.startswith("modbus")
        for seen in stream:
            lines = [json.dumps(seen)] if options.json else hexdump(seen, letters=letters)
            print("\n".join(lines), flush=True)
    return GOOD


def _buffer(options: Options) -> int:
    from .buffer import show

    return show(options)


def _export(options: Options) -> int:
    from .buffer import export

    return export(options)


def _clear(options: Options) -> int:
    from .buffer import clear

    return clear(options)


def _on_a_line(verb: str) -> Callable[[Options], int]:
    def run(options: Options) -> int:
        from . import lines

        code: int = getattr(lines, verb)(options)
        return code

    return run


def _schema(options: Options) -> int:
    from ..config import schema

    print_json(schema())
    return GOOD


def _support(options: Options) -> int:
    from .support import support

    return support(options)


def _version(options: Options) -> int:
    try:
        daemon = good(one(options, "version")).get("version")
        told = f"gatewayd {daemon}" + ("" if daemon == __version__ else ": another one, restart it")
    except Failed as failed:
        daemon, told = None, str(failed)
    if options.json:
        print_json({"gatewayctl": __version__, "gatewayd": daemon})
    else:
        print(f"gatewayctl {__version__}\n{told}")
    return GOOD


# The command line


class Verb(NamedTuple):
    """`looks`: it changes nothing, so it may be abbreviated."""

    run: Callable[[Options], int]
    does: str
    arguments: Mapping[str, Mapping[str, Any]] = {}
    looks: bool = True


_FLAG = {"action": "store_true"}
_NAME = {"metavar": "NAME", "help": "of a port, link or device"}
_LINK = {"metavar": "LINK", "help": "as `gatewayctl buffer` calls it"}
VERBS = {
    "status": Verb(
        _status,
        "what is up, what is not, why, and when the next try is",
        {
            "name": {**_NAME, "nargs": "?", "help": "one port, link or device, in full"},
            "--watch": {**_FLAG, "help": "every second, until Ctrl-C"},
            "--strict": {**_FLAG, "help": "exit 1 unless all is up"},
        },
    ),
    "check": Verb(
        _check,
        "validates a config file; needs no daemon",
        {"file": {"metavar": "FILE", "nargs": "?", "default": CONFIG, "help": f"default: {CONFIG}"}},
    ),
    "ports": Verb(_ports, "the serial lines of this machine, what is on each and who has it"),
    "reload": Verb(_reload, "the daemon reads its file again; a bad file changes nothing", looks=False),
    "trace": Verb(_trace, "what goes over a port or link, live, until Ctrl-C", {"name": _NAME}),
    "read": Verb(_on_a_line("read"), "registers or bits of a device", READ),
    "write": Verb(
        _on_a_line("write"), "registers or coils of a device; shows what, and asks first", WRITE, looks=False
    ),
    "scan": Verb(
        _on_a_line("scan"), "which unit ids answer, and with which settings of the line", SCAN, looks=False
    ),
    "pause": Verb(
        _on_a_line("pause"), "lets go of a port's tty for a while, for another program", PAUSE, looks=False
    ),
    "resume": Verb(_on_a_line("resume"), "takes it back before that", RESUME, looks=False),
    "buffer": Verb(
        _buffer,
        "what the links keep because it has not arrived yet",
        {"name": {**_LINK, "nargs": "?", "help": "one of them, in full"}},
    ),
    "buffer export": Verb(
        _export,
        "a copy of it, as lines of JSON, oldest first",
        {
            "name": _LINK,
            "file": {"metavar": "FILE", "help": "a new one; - is the standard output"},
            "--force": {**_FLAG, "help": "replaces FILE, if it is there"},
        },
    ),
    "buffer clear": Verb(
        _clear,
        "throws it away; asks first",
        {"name": _LINK, "--yes": {**_FLAG, "help": "does not ask"}},
        looks=False,
    ),
    "schema": Verb(_schema, "JSON Schema of the config file, for editors"),
    "support": Verb(
        _support,
        "a bundle for whoever is to help: config without secrets, status, events, logs",
        {
            "file": {
                "metavar": "FILE",
                "nargs": "?",
                "help": "a new one; default: gateway-support-...tar.gz here",
            },
            "--force": {**_FLAG, "help": "replaces FILE, if it is there"},
            "--config": {"metavar": "FILE", "help": "default: the one of the daemon"},
        },
    ),
    "version": Verb(_version, "of this program and of the daemon"),
}


def _options(argv: Sequence[str]) -> Options:
    verbs = "\n".join(f"  {name:15}{verb.does}" for name, verb in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="gatewayctl",
        usage="gatewayctl [--socket PATH] [--json] VERB ...",
        description=f"Asks the running gatewayd.\n\n{verbs}\n\nVERB -h tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.add_argument("verb", nargs="?", default="", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    typed = options.verb
    found = [typed] if typed in VERBS else [name for name in _FIRST if typed and name.startswith(typed)]
    if len(found) == 1:
        found = [_whole(found[0], options.rest)]
    if len(found) != 1 or not (typed in VERBS or VERBS[found[0]].looks):
        parser.error(_unclear(typed, found))
    return _verb_options(found[0], options)


_FIRST = [name for name in VERBS if " " not in name]


def _whole(verb: str, rest: list[str]) -> str:
    """With its second word, if it has one; that is taken out of `rest`."""
    second = next((word for word in rest if not word.startswith("-")), "")
    if f"{verb} {second}" not in VERBS:
        return verb
    rest.remove(second)
    return f"{verb} {second}"


def _verb_options(name: str, options: Options) -> Options:
    verb = VERBS[name]
    parser = argparse.ArgumentParser(prog=f"gatewayctl {name}", description=verb.does, allow_abbrev=False)
    _add_common(parser)
    for argument, how in verb.arguments.items():
        parser.add_argument(argument, **how)
    options.run = verb.run
    return parser.parse_args(options.rest, options)


def _add_common(parser: argparse.ArgumentParser) -> None:
    run_dir = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "/run/gateway"
    parser.add_argument("--socket", metavar="PATH", default=f"{run_dir}/control.sock", help="%(default)s")
    parser.add_argument("--json", action="store_true", help="the answer as it came, for programs")


def _unclear(typed: str, found: Sequence[str]) -> str:
    match found:
        case []:
            return f"the verbs are {', '.join(VERBS)}" + (f'; not "{typed}"' if typed else "")
        case [name]:
            return f'"{typed}" may be {name}, which changes something: write it in full'
        case _:
            return f'"{typed}" may be {" or ".join(found)}'
