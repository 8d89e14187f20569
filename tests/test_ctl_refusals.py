"""gatewayctl without a daemon, with the wrong one, without permission, with a wrong command line."""

import asyncio
import os
from argparse import Namespace
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket

import pytest
from control_kit import Daemon
from ctl_kit import COMMAND, ROOT, Run, ctl, impostor, run

from gateway.ctl import Failed, answers, main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


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


VERBS = (
    *("status", "check", "ports", "reload", "trace", "read", "write", "scan", "pause", "resume"),
    *("buffer", "buffer export", "buffer clear", "schema", "support", "version"),
)
ALL = ", ".join(VERBS)


@pytest.mark.parametrize("typed", ["st", "stat", "statu", "status"])
async def test_a_verb_that_looks_may_be_abbreviated(path: Path, typed: str) -> None:
    assert (await ctl(path, Daemon(), typed)).out.startswith("pump-house-7: ok")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], f"the verbs are {ALL}"),
        (["--json"], f"the verbs are {ALL}"),
        (["start"], f'the verbs are {ALL}; not "start"'),
        (["s"], '"s" may be status or scan or schema or support'),
        (["r"], '"r" may be reload or read or resume'),
        (["wri"], '"wri" may be write, which changes something: write it in full'),
        (["sca"], '"sca" may be scan, which changes something: write it in full'),
        (["pau"], '"pau" may be pause, which changes something: write it in full'),
        (["resu"], '"resu" may be resume, which changes something: write it in full'),
        (["pause", "meters"], "the following arguments are required: --for"),
        (["read", "meters", "1"], "the following arguments are required: TABLE, ADDRESS"),
        (["read", "meters", "x", "holding", "0"], "argument UNIT_ID: invalid number value: 'x'"),
        (["write", "meters", "1", "coil", "0"], "the following arguments are required: VALUE"),
        (
            ["scan", "meters", "--baudrate", "9600,fast"],
            "argument --baudrate: invalid numbers value: '9600,fast'",
        ),
        (["reloa"], '"reloa" may be reload, which changes something: write it in full'),
        (["status", "a", "b"], "unrecognized arguments: b"),
        (["status", "--wat"], "unrecognized arguments: --wat"),
        (["trace"], "the following arguments are required: NAME"),
        (["reload", "meters"], "unrecognized arguments: meters"),
        (["buf", "clear", "cloud"], '"buf" may be buffer clear, which changes something: write it in full'),
        (["buffer", "clear"], "the following arguments are required: LINK"),
        (["buffer", "export", "cloud"], "the following arguments are required: FILE"),
        (["buffer", "cloud", "scada"], "unrecognized arguments: scada"),
        (["buffer", "cloud", "--yes"], "unrecognized arguments: --yes"),
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
    for verb in VERBS:
        assert f"\n  {verb} " in shown
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    assert "--watch" in capsys.readouterr().out
