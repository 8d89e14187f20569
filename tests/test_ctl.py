"""gatewayctl as its users run it: a process of its own against a control socket; output and exit codes."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from argparse import Namespace
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from typing import NamedTuple

import pytest
from control_kit import RECORDS, Daemon, connected

import gateway
from gateway import __version__, control
from gateway.contracts import Traced
from gateway.control import Reloaded
from gateway.ctl import Failed, answers, main

ROOT = Path(gateway.__file__).parents[1]
COMMAND = (sys.executable, "-W", "error", "-m", "gateway.ctl")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


class Run(NamedTuple):
    code: int | None
    out: str
    err: str


async def started(path: Path, *arguments: str, **environment: str) -> Process:
    plain = {key: os.environ[key] for key in os.environ if key not in ("NO_COLOR", "RUNTIME_DIRECTORY")}
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--socket", str(path), *arguments),
        cwd=ROOT,
        env=plain | environment,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(path: Path, *arguments: str, **environment: str) -> Run:
    process = await started(path, *arguments, **environment)
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def ctl(path: Path, daemon: Daemon, *arguments: str, **environment: str) -> Run:
    """One command against `daemon`."""
    async with control.serve(path, daemon):
        return await run(path, *arguments, **environment)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


# status


async def test_status_is_the_picture(path: Path) -> None:
    code, out, err = await ctl(path, Daemon("broker_refused"), "status")
    assert (code, err) == (0, "")
    drawn, golden = out.splitlines(), (RECORDS / "broker_refused.txt").read_text().splitlines()
    assert drawn[0] == golden[0]
    told = "    broker refused: not authorized; tried 37 times, next try in 42 s"
    assert drawn[drawn.index(told) - 1].startswith("! cloud    waiting")
    assert len(drawn) == len(golden)


async def test_status_of_a_name_is_all_about_it(path: Path) -> None:
    code, out, err = await ctl(path, Daemon("missing_tty"), "status", "scale")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("port scale: waiting for ")
    assert "  reason       no such device /dev/ttyUSB1" in lines
    assert "  next try     in 0.7 s; tried 763 times" in lines
    assert not any("cloud" in line for line in lines)


async def test_status_of_an_unknown_name_is_bad_news(path: Path) -> None:
    assert await ctl(path, Daemon(), "status", "scael") == Run(
        1, "", 'gatewayctl: no port, link or device is called "scael"; did you mean "scale"?\n'
    )


@pytest.mark.parametrize("arguments", [("--json", "status"), ("status", "--json")])
async def test_json_is_the_answer_of_the_daemon(path: Path, arguments: tuple[str, ...]) -> None:
    daemon = Daemon()
    code, out, err = await ctl(path, daemon, *arguments)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"ok": True, **daemon.record}


async def test_json_of_an_error_is_json_too(path: Path) -> None:
    code, out, _ = await ctl(path, Daemon("empty"), "--json", "status", "x")
    assert code == 1
    answer = {"ok": False, "error": 'no port, link or device is called "x"; there are: none'}
    assert json.loads(out) == answer


@pytest.mark.parametrize(
    ("record", "name", "code"),
    [
        ("all_fine", "", 0),
        ("empty", "", 0),
        ("broker_refused", "", 1),
        ("missing_tty", "", 1),
        ("silent_device", "", 1),
        ("last_good_config", "", 1),
        ("broker_refused", "cloud", 1),
        ("broker_refused", "scada", 0),
        ("last_good_config", "scada", 0),
    ],
)
async def test_strict_is_0_only_when_all_that_was_asked_for_is_up(
    path: Path, record: str, name: str, code: int
) -> None:
    done = await ctl(path, Daemon(record), "status", *filter(None, [name]), "--strict")
    assert (done.code, done.err) == (code, "")
    assert done.out


async def test_strict_is_1_while_the_daemon_calls_itself_degraded(path: Path) -> None:
    daemon = Daemon()
    daemon.record["gateway"]["state"] = "degraded"
    assert (await ctl(path, daemon, "status", "--strict")).code == 1
    assert (await ctl(path, daemon, "--json", "status", "--strict")).code == 1
    assert (await ctl(path, daemon, "status")).code == 0


async def test_a_console_that_knows_ascii_only_gets_what_it_can_show(path: Path) -> None:
    daemon = Daemon()
    daemon.record["gateway"]["name"] = "Kläranlage"
    done = await ctl(path, daemon, "status", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Kl?ranlage: ok, all 7 up")


# no daemon, the wrong one, or no permission


async def test_without_a_daemon_it_says_so_and_exits_3(path: Path) -> None:
    error = f"gatewayctl: no gatewayd answers on {path}: is it running? systemctl status gatewayd\n"
    for verb in ("status", "reload"):
        assert await run(path, verb) == Run(3, "", error)
    with socket(AF_UNIX) as killed:
        killed.bind(str(path))
    assert await run(path, "trace", "scale") == Run(3, "", error)


async def test_the_default_socket_is_in_the_runtime_directory() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "status",
        cwd=ROOT,
        env={**os.environ, "RUNTIME_DIRECTORY": "/nowhere/a:/nowhere/b"},
        stderr=PIPE,
    )
    _, err = await process.communicate()
    assert b"no gatewayd answers on /nowhere/a/control.sock:" in err
    assert process.returncode == 3


@asynccontextmanager
async def impostor(path: Path, answer: bytes) -> AsyncIterator[None]:
    """Something else on the socket, which sends `answer` to every request and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "it closed the connection"),
        (b"220 mail.example.com ESMTP\n", "that is something else"),
        (b"[1, 2]\n", "that is something else"),
        (b"17\n", "that is something else"),
        (b"\xff\xfe\n", "that is something else"),
    ],
)
async def test_what_is_no_gatewayd_counts_as_none(path: Path, answer: bytes, why: str) -> None:
    async with impostor(path, answer):
        assert await run(path, "status") == Run(3, "", f"gatewayctl: no gatewayd answers on {path}: {why}\n")


def test_a_daemon_that_is_silent_is_not_waited_for_long(path: Path) -> None:
    with socket(AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(Failed, match="silent for 0 s") as failed:
            next(answers(Namespace(socket=str(path)), "status", within=0.05))
    assert failed.value.code == 3


def test_a_socket_path_that_cannot_be_one_is_no_daemon() -> None:
    with pytest.raises(Failed, match="AF_UNIX path too long") as failed:
        next(answers(Namespace(socket="x" * 200), "status"))
    assert failed.value.code == 3


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything, so permissions are tested as somebody else."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_permission_denied_names_the_group_to_join(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "alice")
    path.parent.chmod(0)
    with as_nobody():
        code = main(["--socket", str(path), "status"])
    path.parent.chmod(0o700)
    assert code == 1
    assert capsys.readouterr().err == (
        f'gatewayctl: permission denied on {path}: it is for root and the group "gateway"; '
        "sudo usermod -aG gateway alice, then log in again\n"
    )


# usage


@pytest.mark.parametrize("typed", ["st", "stat", "statu", "status"])
async def test_a_verb_that_looks_may_be_abbreviated(path: Path, typed: str) -> None:
    assert (await ctl(path, Daemon(), typed)).out.startswith("pump-house-7: ok")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "the verbs are status, check, reload, trace, schema, version"),
        (["--json"], "the verbs are status, check, reload, trace, schema, version"),
        (["start"], 'the verbs are status, check, reload, trace, schema, version; not "start"'),
        (["s"], '"s" may be status or schema'),
        (["r"], '"r" may be reload, which changes something: write it in full'),
        (["reloa"], '"reloa" may be reload, which changes something: write it in full'),
        (["status", "a", "b"], "unrecognized arguments: b"),
        (["status", "--wat"], "unrecognized arguments: --wat"),
        (["trace"], "the following arguments are required: NAME"),
        (["reload", "meters"], "unrecognized arguments: meters"),
        (["--socket"], "argument --socket: expected one argument"),
    ],
)
def test_a_wrong_command_line_is_explained_and_exits_2(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].endswith(f"error: {error}")


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: gatewayctl [--socket PATH] [--json] VERB ..." in shown
    for verb in ("status", "check", "reload", "trace", "schema", "version"):
        assert f"\n  {verb} " in shown
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    assert "--watch" in capsys.readouterr().out


# the other verbs


async def test_reload_says_what_changed(path: Path) -> None:
    daemon = Daemon()
    assert (await ctl(path, daemon, "reload")).out == "reloaded; changed: nothing\n"
    daemon.reloaded = Reloaded([], ["gateway.toml:3:1: doubtful"], ["links.cloud", "ports.meters"])
    assert await ctl(path, daemon, "reload") == Run(
        0, "gateway.toml:3:1: doubtful\nreloaded; changed: links.cloud, ports.meters\n", ""
    )
    assert daemon.reloads == 2


async def test_a_bad_file_is_not_loaded_and_every_problem_is_said(path: Path) -> None:
    daemon = Daemon()
    daemon.reloaded = Reloaded(["g.toml:1:1: a: unknown", "g.toml:2:1: b: unknown"], ["g.toml:3:1: c"], [])
    assert await ctl(path, daemon, "reload") == Run(
        1,
        "",
        "g.toml:1:1: a: unknown\ng.toml:2:1: b: unknown\ng.toml:3:1: c\n"
        "gatewayctl: the config file has problems; nothing was changed\n",
    )
    done = await ctl(path, daemon, "--json", "reload")
    assert done.code == 1
    assert json.loads(done.out)["problems"] == ["g.toml:1:1: a: unknown", "g.toml:2:1: b: unknown"]


async def test_version_tells_both(path: Path) -> None:
    both = f"gatewayctl {__version__}\ngatewayd {__version__}\n"
    assert await ctl(path, Daemon(), "version") == Run(0, both, "")
    done = await ctl(path, Daemon(), "version", "--json")
    assert json.loads(done.out) == {"gatewayctl": __version__, "gatewayd": __version__}
    alone = await run(path, "v")
    assert alone.code == 0
    assert alone.out.startswith(f"gatewayctl {__version__}\nno gatewayd answers on {path}: ")


async def test_version_says_when_the_daemon_is_another_one(path: Path) -> None:
    async with impostor(path, b'{"ok":true,"version":"0.0.9"}\n'):
        done = await run(path, "version")
    assert done == Run(0, f"gatewayctl {__version__}\ngatewayd 0.0.9: another one, restart it\n", "")


async def test_check_of_a_good_file_needs_no_daemon(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nname = "pump-house-7"\n')
    assert await run(path, "check", str(file)) == Run(0, f"{file}: good\n", "")
    assert json.loads((await run(path, "--json", "check", str(file))).out) == {
        "ok": True,
        "problems": [],
        "warnings": [],
        "at_rest": {},
    }


async def test_check_says_every_problem_and_counts_them(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nnaem = "a"\n\n[links.x]\nkind = "tcp"\nprot = "y"\nlisten = ":4001"\n')
    code, out, err = await run(path, "check", str(file))
    *problems, last = out.splitlines()
    assert (code, err) == (1, "")
    assert problems[0] == f'{file}:2:1: gateway.naem: unknown key, did you mean "name"?'
    assert f'{file}:6:1: links.x.prot: unknown key, did you mean "port"?' in problems
    assert last == f"{file}: {len(problems)} problems"
    answer = json.loads((await run(path, "--json", "check", str(file))).out)
    assert answer == {"ok": False, "problems": problems, "warnings": [], "at_rest": {}}


async def test_a_warning_does_not_make_a_file_bad(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nname = "raspberrypi"\n')
    code, out, err = await run(path, "check", str(file))
    warning, last = out.splitlines()
    assert (code, err) == (0, "")
    assert warning.startswith(f"{file}:2:1: warning: gateway.name: ")
    assert last == f"{file}: good, 1 warning"


async def test_schema_is_a_json_schema(path: Path) -> None:
    code, out, err = await run(path, "schema")
    assert (code, err) == (0, "")
    assert {"gateway", "ports", "links", "devices"} <= set(json.loads(out)["properties"])


# trace


async def lines(process: Process, number: int) -> list[str]:
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(number)]


async def ended(process: Process) -> Run:
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def test_a_trace_runs_until_ctrl_c(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon):
        process = await started(path, "trace", "meters")
        await until(lambda: daemon.fans["meters"].taps)
        daemon.fans["meters"].push(Traced(0.0, "tx", b"\x01\x03\x00\x00\x00\x02\xc4\x0b", "read"))
        daemon.fans["meters"].push(Traced(0.0, "rx", b"\x01\x83\x02\xc0\xf1", ""))
        first, second = await lines(process, 2)
        assert first[12:] == " tx 01 03 00 00 00 02 c4 0b   read"
        assert second[12:] == " rx 01 83 02 c0 f1"
        process.send_signal(signal.SIGINT)
        assert await ended(process) == Run(0, "", "")
        await until(lambda: not daemon.fans["meters"].taps)


async def test_a_trace_of_a_raw_port_shows_letters(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon):
        process = await started(path, "trace", "scale")
        await until(lambda: daemon.fans["scale"].taps)
        daemon.fans["scale"].push(Traced(0.0, "rx", b"230.1\r\n", ""))
        assert (await lines(process, 1))[0].endswith(" 230.1..")
    gone = await ended(process)
    assert gone == Run(3, "", f"gatewayctl: no gatewayd answers on {path}: it closed the connection\n")


async def test_a_trace_for_programs_is_a_line_of_json_each(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon):
        process = await started(path, "--json", "trace", "scale")
        await until(lambda: daemon.fans["scale"].taps)
        daemon.fans["scale"].push(Traced(0.0, "rx", b"\n", "x"))
        (line,) = await lines(process, 1)
        process.terminate()
        await process.wait()
    assert json.loads(line) == {"at": "1970-01-01T00:00:00.000Z", "way": "rx", "hex": "0a", "text": "x"}


async def test_a_trace_of_nothing_known_is_bad_news(path: Path) -> None:
    assert await ctl(path, Daemon(), "trace", "clod") == Run(
        1, "", 'gatewayctl: no port or link is called "clod"; did you mean "cloud"?\n'
    )


async def test_a_reader_that_has_seen_enough_ends_a_trace_quietly(path: Path) -> None:
    daemon = Daemon()
    reader, writer = os.pipe()
    async with control.serve(path, daemon):
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--socket", str(path), "trace", "scale", cwd=ROOT, stdout=writer, stderr=PIPE
        )
        os.close(writer)
        await until(lambda: daemon.fans["scale"].taps)
        os.close(reader)
        while daemon.fans["scale"].taps:
            daemon.fans["scale"].push(Traced(0.0, "rx", bytes(100), ""))
            await asyncio.sleep(0.005)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


# terminals


class Terminal:
    """The other side of a pseudo terminal in which gatewayctl runs."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd, self.seen = process, fd, ""

    async def shows(self, text: str, times: int = 1) -> None:
        """Waits until `text` was written so many times."""
        while self.seen.count(text) < times:
            await asyncio.sleep(0.005)
            try:
                self.seen += os.read(self._fd, 65536).decode()
            except BlockingIOError:
                continue

    async def ended(self) -> int:
        while self.process.poll() is None:
            await asyncio.sleep(0.005)
        return self.process.returncode


@contextmanager
def terminal(path: Path, *arguments: str, size: tuple[int, int], **environment: str) -> Iterator[Terminal]:
    """`size` is rows and columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    os.set_blocking(ours, False)
    plain = {key: os.environ[key] for key in os.environ if key != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, "--socket", str(path), *arguments],
        cwd=ROOT,
        env=plain | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


async def test_a_terminal_gets_colour_and_its_own_width(path: Path) -> None:
    golden = (RECORDS / "broker_refused.80.txt").read_text().splitlines()
    async with control.serve(path, Daemon("broker_refused")):
        with terminal(path, "status", size=(50, 80)) as screen:
            await screen.shows("pump-meter")
            await screen.ended()
    assert f"\x1b[31m{golden[0]}\x1b[0m" in screen.seen
    assert "broker refused: not authorized; tried 37 times, next try in 42 s\x1b[0m" in screen.seen
    assert max(len(line) for line in screen.seen.replace("\x1b[", "").splitlines()) <= 80 + len("31m0m")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_who_wants_no_colour_gets_none(path: Path, environment: dict[str, str]) -> None:
    async with control.serve(path, Daemon("broker_refused")):
        with terminal(path, "status", size=(50, 80), **environment) as screen:
            await screen.shows("pump-meter")
            await screen.ended()
    assert "\x1b" not in screen.seen


async def test_a_serial_console_without_a_size_counts_as_80_columns(path: Path) -> None:
    golden = (RECORDS / "bad_night.80.txt").read_text().splitlines()
    async with control.serve(path, Daemon("bad_night")):
        with terminal(path, "status", size=(0, 0), NO_COLOR="1") as screen:
            await screen.shows("pump-meter")
            await screen.ended()
    assert {line for line in golden if line.startswith("    ") and "lost" not in line} <= set(
        screen.seen.split("\r\n")
    )


async def test_watch_draws_over_itself_until_ctrl_c(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon):
        with terminal(path, "status", "--watch", size=(50, 80), NO_COLOR="1") as screen:
            await screen.shows("pump-house-7: ok, all 7 up")
            daemon.record["links"]["cloud"]["state"] = "waiting"
            await screen.shows("pump-house-7: ok, 1 of 7 not up")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.ended() == 0
    assert screen.seen.count("\x1b[H") == screen.seen.count("\x1b[J") >= 2
    assert "Traceback" not in screen.seen


async def test_watch_fits_a_small_screen_and_says_what_is_below(path: Path) -> None:
    async with control.serve(path, Daemon()):
        with terminal(path, "status", "--watch", size=(6, 80), NO_COLOR="1") as screen:
            await screen.shows("\x1b[J")
    first = screen.seen.split("\x1b[J")[0]
    assert first.count("\n") == 5
    assert first.endswith(" more lines\x1b[K\r\n")


async def test_watch_in_a_pipe_is_one_block_after_the_other(path: Path) -> None:
    async with control.serve(path, Daemon("empty")):
        process = await started(path, "status", "--watch")
        drawn = await lines(process, 6)
        process.send_signal(signal.SIGINT)
        done = await ended(process)
    assert (done.code, done.err) == (0, "")
    assert [line[:27] for line in drawn] == [
        "raspberrypi: ok, nothing is",
        "    no ports, links or devi",
        "",
    ] * 2


async def test_watch_waits_for_a_daemon_that_is_away(path: Path) -> None:
    process = await started(path, "status", "--watch")
    assert (await lines(process, 2))[0].startswith(f"gatewayctl: no gatewayd answers on {path}: ")
    async with control.serve(path, Daemon("empty")):
        while not (await lines(process, 1))[0].startswith("raspberrypi: ok"):
            pass
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).code == 0


# cost


async def test_status_loads_nothing_of_the_daemon(path: Path) -> None:
    code = "import sys; from gateway.ctl import main; main(); print(*sys.modules, file=sys.stderr)"
    async with control.serve(path, Daemon()):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", code, "--socket", str(path), "status"),
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        _, err = await process.communicate()
    loaded = set(err.decode().split())
    assert {name for name in loaded if name.startswith("gateway")} == {
        "gateway",
        "gateway.ctl",
        "gateway.show",
        "gateway.show.columns",
        "gateway.show.picture",
    }
    assert not {"asyncio", "pydantic", "logging", "ssl", "subprocess", "tomllib"} & loaded


async def test_what_other_programs_speak_is_what_gatewayctl_speaks(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert await client.ask(verb="status") == json.loads((await run(path, "--json", "status")).out)
