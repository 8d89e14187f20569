"""The control socket: nothing a client does costs the daemon more than that client; and the file itself."""

import asyncio
import logging
import os
import stat
from pathlib import Path
from socket import AF_UNIX, socket

import pytest
from control_kit import Client, Daemon, connected, until
from log_kit import ours

from gateway import control
from gateway.contracts import Traced
from gateway.control import Limits
from gateway.errors import GatewayError
from gateway.host.unixsocket import AlreadyRunning, listening
from gateway.status import Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


# clients that cost


async def test_a_megabyte_of_garbage_can_be_sent_whole_and_the_error_still_be_read(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        client.send(b"x" * 1_000_000)
        assert "at most 65536 bytes" in (await client.answer())["error"]
        assert await client.answer() is None


async def test_an_idle_client_is_sent_away_and_a_busy_one_stays(path: Path) -> None:
    limits = Limits(idle=0.2)
    async with control.serve(path, Daemon(), limits), connected(path) as idle, connected(path) as busy:
        gone = asyncio.create_task(idle.answer())
        while not gone.done():
            assert (await busy.ask(verb="version"))["ok"]
            await asyncio.sleep(0.02)
        assert gone.result() is None
        assert (await busy.ask(verb="version"))["ok"]


async def test_a_request_that_trickles_in_is_not_waited_for(path: Path) -> None:
    async with control.serve(path, Daemon(), Limits(idle=0.2)), connected(path) as client:
        gone = asyncio.create_task(client.answer())
        while not gone.done():
            client.send(b" ")
            await asyncio.sleep(0.01)
        assert gone.result() is None


async def test_one_client_too_many_is_told_so_until_there_is_room_again(path: Path) -> None:
    async with control.serve(path, Daemon(), Limits(clients=2)):
        async with connected(path) as first, connected(path) as second:
            assert (await first.ask(verb="version"))["ok"]
            assert (await second.ask(verb="version"))["ok"]
            async with connected(path) as third:
                assert await third.answer() == {"ok": False, "error": "2 clients are connected already"}
                assert await third.answer() is None
            assert (await first.ask(verb="version"))["ok"]
        await until_answered(path)


async def until_answered(path: Path) -> None:
    """The daemon notices in its own time that the others have left."""
    while True:
        async with connected(path) as client:
            if (await client.ask(verb="version"))["ok"]:
                return


async def test_a_client_that_does_not_read_its_trace_is_sent_away(path: Path) -> None:
    daemon = Daemon()
    fan = daemon.fans["scale"]
    async with control.serve(path, daemon, Limits(unread=0.1)):
        with socket(AF_UNIX) as deaf:
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, str(path))
            await loop.sock_sendall(deaf, b'{"verb":"trace","name":"scale"}\n')
            await until(lambda: fan.taps)
            while fan.taps:
                fan.push(Traced(0.0, "rx", bytes(4096), ""))
                await asyncio.sleep(0)
        async with connected(path) as client:
            assert (await client.ask(verb="version"))["ok"]


async def test_a_client_that_leaves_without_reading_disturbs_nobody(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with control.serve(path, Daemon()):
        for _ in range(50):
            async with connected(path) as client:
                client.send(b'{"verb":"status"}\n' * 20)
        await until_answered(path)
    assert not ours(caplog)


class Broken(Daemon):
    """A daemon with a bug."""

    def status(self) -> Record:
        raise OSError("this is a bug")


async def test_a_bug_of_ours_is_logged_and_told_and_ends_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with control.serve(path, Broken()), connected(path) as client:
        answer = await client.ask(verb="status")
        assert answer == {"ok": False, "error": "internal error: OSError('this is a bug')"}
        assert (await client.ask(verb="version"))["ok"]
    assert [(record.levelno, record.exc_info is not None) for record in ours(caplog)] == [
        (logging.ERROR, True)
    ]


# the file


async def test_the_socket_is_for_its_owner_and_group_and_goes_with_the_daemon(path: Path) -> None:
    async with control.serve(path, Daemon()):
        assert stat.filemode(path.stat().st_mode) == "srw-rw----"
    assert not path.exists()


async def test_leaving_ends_the_clients_that_are_still_there(path: Path) -> None:
    async with control.serve(path, Daemon()):
        reader, writer = await asyncio.open_unix_connection(path)
        client = Client(reader, writer)
        assert (await client.ask(verb="trace", name="scale"))["ok"]
    assert await client.answer() is None
    writer.close()


async def test_a_second_daemon_is_refused_by_name_and_the_first_goes_on(path: Path) -> None:
    async with control.serve(path, Daemon()):
        with pytest.raises(AlreadyRunning) as refused:
            async with control.serve(path, Daemon()):
                pass
        assert str(refused.value) == f"another gatewayd is running (pid {os.getpid()}) on {path}"
        async with connected(path) as client:
            assert (await client.ask(verb="version"))["ok"]


async def test_of_many_that_start_at_once_over_a_dead_socket_one_wins(path: Path) -> None:
    dead_socket(path)
    stop = asyncio.Event()
    results: list[str] = []

    async def start() -> None:
        try:
            async with control.serve(path, Daemon()):
                results.append("running")
                await stop.wait()
        except AlreadyRunning:
            results.append("refused")

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(start())
        await until(lambda: len(results) == 20)
        async with connected(path) as client:
            assert (await client.ask(verb="version"))["ok"]
        stop.set()
    assert sorted(results) == ["refused"] * 19 + ["running"]


def dead_socket(path: Path) -> None:
    """What a daemon that was killed leaves behind."""
    path.parent.mkdir(exist_ok=True)
    with socket(AF_UNIX) as was:
        was.bind(str(path))
    path.with_suffix(".lock").write_text("999999\n")


async def test_what_a_killed_daemon_left_is_cleaned_up(path: Path) -> None:
    dead_socket(path)
    async with control.serve(path, Daemon()), connected(path) as client:
        assert (await client.ask(verb="version"))["ok"]
    assert not path.exists()


async def test_it_can_be_served_again_after_an_end(path: Path) -> None:
    for _ in range(2):
        async with control.serve(path, Daemon()), connected(path) as client:
            assert (await client.ask(verb="version"))["ok"]


async def test_the_file_goes_even_when_the_daemon_ends_by_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with control.serve(path, Daemon()):
            raise ZeroDivisionError
    assert not path.exists()
    async with control.serve(path, Daemon()):
        assert path.is_socket()


def test_a_file_that_is_no_socket_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    error = f"cannot open the socket {path}: Address already in use"
    with pytest.raises(GatewayError, match=error), listening(path, "gateway"):
        pass
    assert path.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    path = tmp_path / "run" / "control.sock"
    with pytest.raises(GatewayError, match=f"cannot open the socket {path}: "), listening(path, "gateway"):
        pass


def test_a_path_that_is_too_long_for_a_socket_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "control.sock"
    with pytest.raises(GatewayError, match="AF_UNIX path too long"), listening(path, "gateway"):
        pass
