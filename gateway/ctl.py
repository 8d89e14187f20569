"""gatewayctl: a verb becomes one request to the daemon, its answer a picture or JSON.

Exit codes: 0 good, 1 bad news, 2 usage, 3 no daemon. It asks the daemon and guesses nothing: it reads neither
the daemon's config nor its files. It must start fast (60 ms of CPU for all of `status`), so it imports
nothing of ours but what a verb needs, and only then.
"""

import argparse
import io
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from . import __version__

CONFIG = "/etc/gateway/gateway.toml"
ANSWER_WITHIN = 5.0  # seconds
RELOAD_WITHIN = 60.0  # seconds; what changed says goodbye first, each part within its bound
REFRESH = 1.0  # seconds
GOOD, BAD_NEWS, USAGE, NO_DAEMON = range(4)

Answer = dict[str, Any]
Options = argparse.Namespace


class Failed(Exception):
    """Told in one sentence, with the lines that prove it; `code` is the exit code."""

    def __init__(self, text: str, code: int, lines: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.code, self.lines = code, lines


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


def answers(options: Options, verb: str, within: float = ANSWER_WITHIN) -> Generator[Answer, None, None]:
    """What the daemon says to `verb`: one line within so many seconds, or a stream of them."""
    name = getattr(options, "name", None)
    request = {"verb": verb, "name": name} if name else {"verb": verb}
    try:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as lines:
            line.settimeout(within)
            line.connect(options.socket)
            line.sendall(json.dumps(request).encode() + b"\n")
            for text in lines:
                yield dict(json.loads(text))
                line.settimeout(None)
        trouble = "it closed the connection"
    except PermissionError:
        raise Failed(_denied(options.socket), BAD_NEWS) from None
    except (FileNotFoundError, ConnectionRefusedError):
        trouble = "is it running? systemctl status gatewayd"
    except TimeoutError:
        trouble = f"silent for {within:.0f} s"
    except (ValueError, TypeError):
        trouble = "that is something else"
    except OSError as error:
        trouble = error.strerror or str(error)
    raise Failed(f"no gatewayd answers on {options.socket}: {trouble}", NO_DAEMON)


def _denied(path: str) -> str:
    user = os.environ.get("USER", "USER")
    return (
        f'permission denied on {path}: it is for root and the group "gateway"; '
        f"sudo usermod -aG gateway {user}, then log in again"
    )


def _ask(options: Options, verb: str, within: float = ANSWER_WITHIN) -> Answer:
    """The one answer; with --json it is printed, too. Failed when the daemon refuses."""
    with closing(answers(options, verb, within)) as stream:
        answer = next(stream)
    if options.json:
        _print_json(answer)
    return _good(answer)


def _good(answer: Answer) -> Answer:
    if not answer.get("ok"):
        proof = [*answer.get("problems", ()), *answer.get("warnings", ())]
        raise Failed(str(answer.get("error")), BAD_NEWS, proof)
    return answer


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _status(options: Options) -> int:
    if options.watch:
        return _watch(options)
    answer = _ask(options, "status")
    if not options.json:
        print("\n".join(_picture(options, answer)))
    return BAD_NEWS if options.strict and not _is_all_up(options, answer) else GOOD


def _is_all_up(options: Options, answer: Answer) -> bool:
    """With a name only that port, link or device counts."""
    from .show.picture import all_up

    gateway = answer.get("gateway", {})
    whole = gateway.get("state") == "ok" and not gateway.get("config_problems")
    return all_up(answer) and (whole or bool(options.name))


def _picture(options: Options, answer: Answer) -> list[str]:
    from .show.picture import Look, overview

    look = Look(time.time())
    if sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns or 80  # a serial console says 0
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        look = Look(time.time(), width, colour=not plain)
    if not options.name:
        return overview(answer, look)
    from .show.closeup import closeup

    return closeup(answer, look)


def _watch(options: Options) -> int:
    try:
        while True:
            try:
                answer = _ask(options, "status")
                lines = [] if options.json else _picture(options, answer)
            except Failed as failed:  # the daemon may be on its way back
                lines = [f"gatewayctl: {failed}"]
            _draw(lines)
            time.sleep(REFRESH)
    except KeyboardInterrupt:
        return GOOD


def _draw(lines: list[str]) -> None:
    """Over what was there before; one block after the other where that is no terminal."""
    if not sys.stdout.isatty():
        print("\n".join([*lines, ""]), flush=True)
        return
    most = (os.get_terminal_size(sys.stdout.fileno()).lines or 24) - 1
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... {len(lines) - most + 1} more lines"]
    # home, each line to its end, and below it nothing: clearing all first would flicker
    print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)


def _check(options: Options) -> int:
    from pathlib import Path

    from .config import load

    loaded = load(Path(options.file), os.environ)
    if options.json:
        problems, warnings = list(map(str, loaded.problems)), list(map(str, loaded.warnings))
        volumes = {link: cost._asdict() for link, cost in loaded.volumes.items()}
        _print_json({"ok": not problems, "problems": problems, "warnings": warnings, "at_rest": volumes})
    else:
        print(loaded.report(Path(options.file)))
    return BAD_NEWS if loaded.problems else GOOD


def _reload(options: Options) -> int:
    answer = _ask(options, "reload", RELOAD_WITHIN)
    if not options.json:
        for warning in answer.get("warnings", ()):
            print(warning)
        print(f"reloaded; changed: {', '.join(answer.get('changed', ())) or 'nothing'}")
    return GOOD


def _trace(options: Options) -> int:
    from .show.hexdump import hexdump

    with suppress(KeyboardInterrupt), closing(answers(options, "trace")) as stream:
        letters = not str(_good(next(stream)).get("mode")).startswith("modbus")
        for seen in stream:
            lines = [json.dumps(seen)] if options.json else hexdump(seen, letters=letters)
            print("\n".join(lines), flush=True)
    return GOOD


def _schema(options: Options) -> int:
    from .config import schema

    _print_json(schema())
    return GOOD


def _version(options: Options) -> int:
    with closing(answers(options, "version")) as stream:
        try:
            daemon = _good(next(stream)).get("version")
            told = f"gatewayd {daemon}" + ("" if daemon == __version__ else ": another one, restart it")
        except Failed as failed:
            daemon, told = None, str(failed)
    if options.json:
        _print_json({"gatewayctl": __version__, "gatewayd": daemon})
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
    "reload": Verb(_reload, "the daemon reads its file again; a bad file changes nothing", looks=False),
    "trace": Verb(_trace, "what goes over a port or link, live, until Ctrl-C", {"name": _NAME}),
    "schema": Verb(_schema, "JSON Schema of the config file, for editors"),
    "version": Verb(_version, "of this program and of the daemon"),
}


def _options(argv: Sequence[str]) -> Options:
    verbs = "\n".join(f"  {name:10}{verb.does}" for name, verb in VERBS.items())
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
    found = [typed] if typed in VERBS else [name for name in VERBS if typed and name.startswith(typed)]
    if len(found) != 1 or not (found == [typed] or VERBS[found[0]].looks):
        parser.error(_unclear(typed, found))
    return _verb_options(found[0], options)


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


if __name__ == "__main__":
    sys.exit(main())
