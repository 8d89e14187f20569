"""What gatewayctl shows for as long as somebody looks: traces, and pictures on a terminal."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from control_kit import RECORDS, Daemon, until
from ctl_kit import COMMAND, ROOT, Run, ctl, ended, lines, started
from terminal_kit import terminal

from gateway import control
from gateway.contracts import Traced


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


# trace


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
