"""The other end of the control socket, and what it means when nobody is there."""

import argparse
import json
import os
import socket
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

ANSWER_WITHIN = 5.0  # seconds
GOOD, BAD_NEWS, USAGE, NO_DAEMON = range(4)

Answer = dict[str, Any]
Options = argparse.Namespace


class Failed(Exception):
    """Told in one sentence, with the lines that prove it; `code` is the exit code."""

    def __init__(self, text: str, code: int, lines: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.code, self.lines = code, lines


def answers(
    options: Options, verb: str, within: float = ANSWER_WITHIN, **more: object
) -> Generator[Answer, None, None]:
    """What the daemon says to `verb`: one line within so many seconds, or a stream of them."""
    with closing(lines(options, verb, within, **more)) as stream:
        for line in stream:
            yield understood(options, line)


def lines(
    options: Options, verb: str, within: float = ANSWER_WITHIN, **more: object
) -> Generator[bytes, None, None]:
    """The same, unread."""
    name = getattr(options, "name", None)
    request = {"verb": verb, **({"name": name} if name else {}), **more}
    try:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as stream:
            line.settimeout(within)
            line.connect(options.socket)
            line.sendall(json.dumps(request).encode() + b"\n")
            for text in stream:
                yield text
                line.settimeout(None)
        trouble = "it closed the connection"
    except PermissionError:
        raise Failed(_denied(options.socket), BAD_NEWS) from None
    except (FileNotFoundError, ConnectionRefusedError):
        trouble = "is it running? systemctl status gatewayd"
    except TimeoutError:
        trouble = f"silent for {within:.0f} s"
    except OSError as error:
        trouble = error.strerror or str(error)
    raise _none(options, trouble)


def understood(options: Options, line: bytes) -> Answer:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        raise _none(options, "that is something else") from None


def _none(options: Options, trouble: str) -> Failed:
    return Failed(f"no gatewayd answers on {options.socket}: {trouble}", NO_DAEMON)


def _denied(path: str) -> str:
    user = os.environ.get("USER", "USER")
    return (
        f'permission denied on {path}: it is for root and the group "gateway"; '
        f"sudo usermod -aG gateway {user}, then log in again"
    )


def one(options: Options, verb: str, within: float = ANSWER_WITHIN, **more: object) -> Answer:
    """The one answer, whatever it is."""
    with closing(answers(options, verb, within, **more)) as stream:
        return next(stream)


def ask(options: Options, verb: str, within: float = ANSWER_WITHIN, **more: object) -> Answer:
    """The one answer; with --json it is printed, too. Failed when the daemon refuses."""
    answer = one(options, verb, within, **more)
    if options.json:
        print_json(answer)
    return good(answer)


def good(answer: Answer) -> Answer:
    if not answer.get("ok"):
        proof = [*answer.get("problems", ()), *answer.get("warnings", ())]
        raise Failed(str(answer.get("error")), BAD_NEWS, proof)
    return answer


def print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))
