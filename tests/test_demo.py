"""gateway-demo as its user starts it: it ends well, says why when it cannot, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.demo.broker import Cable
from gateway.demo.gatewayd import Gatewayd, GatewaydError

DEMO = [sys.executable, "-c", "import sys; from gateway.demo import main; sys.exit(main())"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """All that it makes, it makes under tmp_path."""
    return {**os.environ, "TMPDIR": str(tmp_path), "SECONDS": "10"}


def left_behind(folder: Path) -> list[str]:
    """Files in the folder, and processes that were told of it."""
    return [*map(str, folder.iterdir()), *_processes(str(folder).encode())]


def _processes(word: bytes) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and word in (entry / "cmdline").read_bytes():
                yield f"process {entry.name}"


def demo(environment: dict[str, str], command: list[str] = DEMO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=55, check=False)


def test_without_a_terminal_it_plays_the_story_and_nothing_is_lost(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = demo(environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "the broker goes away" in done.stdout
    assert "the broker is back" in done.stdout
    *_, last = done.stdout.splitlines()
    assert last.startswith("ok     scale lines: ")
    assert " 0 missing, 0 out of turn" in last
    assert left_behind(tmp_path) == []


def test_on_a_terminal_keys_take_the_broker_away_and_bring_it_back(
    environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["SECONDS"]
    terminal, theirs = os.openpty()
    with (
        os.fdopen(terminal, "rb+", buffering=0) as screen,
        subprocess.Popen(DEMO, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as running,
    ):
        os.close(theirs)
        read_until(terminal, "gatewayctl status")
        read_until(terminal, "meter 2")
        screen.write(b"b")
        read_until(terminal, "THE BROKER IS AWAY")
        screen.write(b"b")
        read_until(terminal, "[b] broker away")
        screen.write(b"q")
        end = read_until(terminal, " missing, 0 out of turn") + read_to_end(terminal)
    assert running.returncode == 0, end
    assert "\x1b[?1049l" in end
    assert left_behind(tmp_path) == []


def read_until(terminal: int, text: str) -> str:
    """What the terminal shows until `text` is there; the test's own timeout ends it."""
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def read_to_end(terminal: int) -> str:
    """Until the program has left it: EIO is how a pty says so."""
    shown = b""
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            shown += data
    return shown.decode(errors="replace")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(DEMO, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert "SCADA polls" in running.stdout.readline()
        running.send_signal(number)
        assert running.wait(30) == 130
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("seconds", ["soon", "9", "-1"])
def test_seconds_that_are_none_are_refused(seconds: str, environment: dict[str, str]) -> None:
    done = demo({**environment, "SECONDS": seconds})
    assert (done.returncode, done.stderr) == (2, f"SECONDS={seconds}: a whole number from 10 on\n")


def test_without_amqtt_it_says_which_command_installs_it(environment: dict[str, str]) -> None:
    program = "import sys; sys.modules['amqtt'] = None; from gateway.demo import main; sys.exit(main())"
    done = demo(environment, [sys.executable, "-c", program])
    assert done.returncode == 2
    assert done.stderr == "The demo needs amqtt (a broker): pip install 'serial-gateway[demo]'\n"


def test_a_gateway_that_cannot_start_says_why_and_leaves_nothing_behind() -> None:
    gateway = Gatewayd("[ports.x]\n")
    with pytest.raises(GatewaydError, match=r"ports\.x"), gateway:
        pass
    assert not gateway.folder.exists()


async def test_a_cut_cable_ends_what_runs_and_refuses_until_it_is_joined_again() -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    far = await asyncio.start_server(repeat, "127.0.0.1", 0)
    async with far, Cable(far.sockets[0].getsockname()[1]) as cable:
        reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
        writer.write(b"here")
        assert await reader.read(100) == b"here"
        await cable.cut()
        with suppress(ConnectionError):
            assert await reader.read(100) == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", cable.port)
        await cable.join()
        reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
        writer.write(b"again")
        assert await reader.read(100) == b"again"
        writer.close()
