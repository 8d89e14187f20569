"""`papers.py FOLDER`: the manual pages and the completion for bash, made of what the programs say of
themselves: verbs and arguments of gatewayctl and gatewayd, and the remarks in etc/gateway.toml. Nothing is
written twice, so nothing is out of step.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import gateway
from gateway.ctl import VERBS, Verb
from gateway.daemon import arguments

ROOT = Path(__file__).parent.parent
_SETTING = re.compile(r'#(\[[^#]+\]|[\w-]+|"[^"]+")( = .*?)?(?:\s+# (.*))?')
_MORE = re.compile(r"\s+# (.*)")
_RULER = re.compile(r"# -{20,} (.*)")


def roff(text: str) -> str:
    """One line of a paragraph, so that troff prints what stands there."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")
    return "\\&" + text if text[:1] in (".", "'") else text


def page(name: str, section: int, title: str, body: Iterable[str]) -> str:
    head = f'.TH "{name.upper()}" {section} "" "gateway {gateway.__version__}"'
    return "\n".join([head, ".nh", ".SH NAME", f"{roff(name)} \\- {title}", *body]) + "\n"


def bold(text: str) -> str:
    return f"\\fB{roff(text)}\\fR"


# gatewayctl


def gatewayctl() -> Iterator[str]:
    yield from (".SH SYNOPSIS", ".B gatewayctl", "[\\-\\-socket PATH] [\\-\\-json] VERB ...")
    yield from (
        ".SH DESCRIPTION",
        "Asks the running gatewayd, over its control socket. Verbs that only look may be",
    )
    yield "abbreviated as long as that is clear."
    yield ".SH VERBS"
    for name, verb in VERBS.items():
        yield from (
            ".SS " + bold(name) + roff("".join(f" {word}" for word in _usage(verb))),
            roff(verb.does) + ".",
        )
        for argument, how in verb.arguments.items():
            if help_ := str(how.get("help", "")).replace("%(default)s", str(how.get("default"))):
                label = f"{argument} {how['metavar']}" if "metavar" in how else argument
                yield from (".TP", bold(label if argument.startswith("-") else how["metavar"]), roff(help_))
    yield from (".SH EXIT STATUS", "0 good; 1 bad news; 2 usage; 3 no daemon.")
    yield from (
        ".SH FILES",
        ".TP",
        "/run/gateway/control.sock",
        "where the daemon listens; for root and the group gateway",
    )
    yield from (".SH SEE ALSO", "gatewayd(8), gateway.toml(5)")


def _usage(verb: Verb) -> Iterator[str]:
    for argument, how in verb.arguments.items():
        word = str(how.get("metavar", ""))
        if argument.startswith("-"):
            whole = f"{argument} {word}".strip()
            yield whole if how.get("required") else f"[{whole}]"
        else:
            yield {"?": f"[{word}]", "+": f"{word} ..."}.get(str(how.get("nargs", "")), word)


def completion() -> str:
    """Verbs, the options of each, and files where one is wanted."""
    firsts = " ".join(dict.fromkeys(name.partition(" ")[0] for name in VERBS))
    cases = "\n".join(
        f'        "{name}") words="{" ".join(_words(name, verb))}" ;;' for name, verb in VERBS.items()
    )
    return textwrap.dedent("""\
        _gatewayctl() {{
            local words="" verb="${{COMP_WORDS[1]}}" word="${{COMP_WORDS[COMP_CWORD]}}"
            [ "$verb" = buffer ] && [ $COMP_CWORD -gt 2 ] && verb="$verb ${{COMP_WORDS[2]}}"
            case $COMP_CWORD in
            1) words="{firsts} --socket --json" ;;
            *) case $verb in
        {cases}
                esac ;;
            esac
            COMPREPLY=($(compgen -W "$words" -- "$word"))
            case $verb in check | support | "buffer export") COMPREPLY+=($(compgen -f -- "$word")) ;; esac
        }}
        complete -F _gatewayctl gatewayctl
        """).format(firsts=firsts, cases=cases)


def _words(name: str, verb: Verb) -> Iterator[str]:
    yield from (other.partition(" ")[2] for other in VERBS if other.startswith(f"{name} "))
    for argument, how in verb.arguments.items():
        yield from [argument] if argument.startswith("-") else how.get("choices", ())
    yield "--json"


# gatewayd


def gatewayd() -> Iterator[str]:
    parser = arguments()
    yield from (".SH SYNOPSIS", ".B gatewayd", "[\\-\\-config FILE] [\\-\\-check]", ".SH DESCRIPTION")
    yield "Bridges serial ports to Modbus TCP, MQTT and raw TCP links, as its config file says. A bad file at"
    yield "start falls back to the last good one; a bad file at reload changes nothing."
    yield ".SH OPTIONS"
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            yield from (
                ".TP",
                bold(f"{action.option_strings[0]} {action.metavar or ''}".strip()),
                roff(action.help or ""),
            )
    yield from (
        ".SH EXIT STATUS",
        "0 after a clean stop; 1 without a usable config, beside another gatewayd, or after a bug.",
    )
    yield from (".SH SIGNALS", "SIGHUP reads the file again, SIGTERM and SIGINT stop.")
    yield from (
        ".SH ENVIRONMENT",
        "STATE_DIRECTORY, RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY, NOTIFY_SOCKET and",
    )
    yield "WATCHDOG_USEC, as systemd sets them; and what the file names as ${NAME}."
    yield from (".SH FILES", ".TP", "/etc/gateway/gateway.toml", "the config, see gateway.toml(5)")
    yield from (
        ".TP",
        "/etc/gateway/credentials",
        "a file for each secret: password_credential = \\(dqNAME\\(dq",
    )
    yield from (".TP", "/var/lib/gateway", "what links keep in outages, and the last good config")
    yield from (".SH SEE ALSO", "gatewayctl(1), gateway.toml(5)")


# gateway.toml


def gateway_toml() -> Iterator[str]:
    """Each table of the sample is a section, each setting a paragraph with its remark."""
    yield ".SH DESCRIPTION"
    for line in (ROOT / "etc/gateway.toml").read_text("utf-8").splitlines()[2:]:
        if ruler := _RULER.fullmatch(line):
            yield f".SH {roff(ruler[1].upper())}"
        elif more := _MORE.fullmatch(line):
            yield roff(more[1])
        elif setting := _SETTING.fullmatch(line):
            key, value, remark = setting[1], setting[2] or "", setting[3] or ""
            yield from (f".SS {roff(key)}",) if key.startswith("[") else (".TP", bold(key + value))
            yield roff(remark)
        elif line.startswith("# "):
            yield roff(line[2:])
        elif line in ("", "#"):
            yield ".PP"
        else:
            raise SystemExit(f"etc/gateway.toml: what is this? {line}")
    yield from (".SH SEE ALSO", "gatewayd(8), gatewayctl(1)")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    papers = {
        "gatewayd.8": page("gatewayd", 8, "serial server and edge gateway", gatewayd()),
        "gatewayctl.1": page("gatewayctl", 1, "looks at the running gateway", gatewayctl()),
        "gateway.toml.5": page("gateway.toml", 5, "the config file of gatewayd", gateway_toml()),
        "gatewayctl.bash": completion(),
    }
    for name, text in papers.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
