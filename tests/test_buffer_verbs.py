"""What is kept, seen from outside: the verbs buffer, export and clear of the control socket, and of
gatewayctl.
"""

import asyncio
import base64
import json
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from buffer_kit import Nothing, in_memory, rules
from control_kit import Client, Daemon, connected, until
from ctl_kit import COMMAND, ROOT, Run, ctl, ended, impostor, run, started

from gateway import control
from gateway.buffer import Buffer, Durability, Record, Start
from gateway.contracts import Frame
from gateway.control import Kept, Limits
from gateway.site import at_work
from gateway.store.buffers import Buffers, Name
from gateway.store.clock import Clock

NOON = 1772460902.5  # 2026-03-02T14:15:02.500Z
STREAM = "port/scale"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def keeping(*payloads: bytes, buffer: Buffer | None = None) -> Daemon:
    """A daemon with a buffer "cloud" in which these records stand, and an empty one that nobody needs."""
    daemon = Daemon()
    cloud = in_memory() if buffer is None else buffer
    for number, payload in enumerate(payloads):
        cloud.append(STREAM, Frame(NOON + number, payload))
    daemon.kept = {
        "cloud": Kept(cloud, "cloud", "mqtt", True, 4096),
        "old.tcp": Kept(in_memory("old.tcp"), "old", "tcp", False, None),
    }
    return daemon


def numbered(count: int) -> list[bytes]:
    return [b"%06d" % number for number in range(count)]


async def exported(client: Client, name: str = "cloud") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records, and the last line."""
    assert (await client.ask(verb="export", name=name))["ok"]
    records = []
    while "exported" not in (line := await client.answer()):
        records.append(line)
    return records, line


# buffer, on the socket


async def test_all_buffers_are_told_by_name(path: Path) -> None:
    async with control.serve(path, keeping(b"a", b"b")), connected(path) as client:
        answer = await client.ask(verb="buffer")
    assert answer["ok"] is True
    cloud = answer["buffers"].pop("cloud")
    assert cloud.pop("oldest_age_s") > 0
    assert cloud == {
        "link": "cloud",
        "kind": "mqtt",
        "configured": True,
        "records": 2,
        "bytes": 2 * Record(1, STREAM, 1, 0.0, True, b"a").size,
        "age_s": 1e9,
        "dropped": 0,
        "capacity_bytes": 8 << 20,
        "fills_in_s": None,
        "drain_eta_s": None,
        "durability": "memory",
        "trouble": None,
        "written_today_bytes": 4096,
    }
    assert list(answer["buffers"]) == ["old.tcp"]
    assert answer["buffers"]["old.tcp"]["configured"] is False


async def test_one_buffer_leaves_the_others_out(path: Path) -> None:
    async with control.serve(path, keeping()), connected(path) as client:
        assert list((await client.ask(verb="buffer", name="old.tcp"))["buffers"]) == ["old.tcp"]


@pytest.mark.parametrize("verb", ["buffer", "export", "clear"])
async def test_an_unknown_name_is_answered_with_what_there_is(path: Path, verb: str) -> None:
    async with control.serve(path, keeping()), connected(path) as client:
        assert await client.ask(verb=verb, name="old") == {
            "ok": False,
            "error": 'no buffer is called "old"; did you mean "old.tcp"?',
        }
        assert (await client.ask(verb="version"))["ok"]


# export, on the socket


async def test_an_export_is_a_line_for_each_record_and_takes_nothing_away(path: Path) -> None:
    daemon = keeping(b"230.1\r\n", "Pegel 3 m³".encode(), b"\xff\x00", b"")
    async with control.serve(path, daemon), connected(path) as client:
        assert await client.ask(verb="export", name="cloud") == {"ok": True, "name": "cloud", "records": 4}
        assert [await client.answer() for _ in range(5)] == [
            {"ts": "2026-03-02T14:15:02.500Z", "seq": 1, "stream": STREAM, "text": "230.1\r\n"},
            {"ts": "2026-03-02T14:15:03.500Z", "seq": 2, "stream": STREAM, "text": "Pegel 3 m³"},
            {"ts": "2026-03-02T14:15:04.500Z", "seq": 3, "stream": STREAM, "base64": "/wA="},
            {"ts": "2026-03-02T14:15:05.500Z", "seq": 4, "stream": STREAM, "text": ""},
            {"exported": 4},
        ]
        assert (await client.ask(verb="buffer"))["buffers"]["cloud"]["records"] == 4


async def test_a_time_from_before_the_clock_was_set_is_marked(path: Path) -> None:
    early = Buffer("cloud", rules(), Nothing(1 << 20), Start(1, 0, {}, 1), lambda: False)
    async with control.serve(path, keeping(b"x", buffer=early)), connected(path) as client:
        (record,), _ = await exported(client)
    assert record["clock"] == "unset"


async def test_an_export_of_an_empty_buffer_is_empty(path: Path) -> None:
    async with control.serve(path, keeping()), connected(path) as client:
        assert await exported(client, "old.tcp") == ([], {"exported": 0})


async def test_a_large_export_is_whole_and_in_order_and_others_are_answered_meanwhile(path: Path) -> None:
    payloads = [b"%06d" % number + bytes(1000) for number in range(3000)]
    daemon = keeping(*payloads)
    async with control.serve(path, daemon), connected(path) as client, connected(path) as other:
        export = asyncio.create_task(exported(client))
        answered = 0
        while not export.done():
            assert (await other.ask(verb="version"))["ok"]
            answered += 1
        records, end = export.result()
    assert [record["text"].encode() for record in records] == payloads
    assert [record["seq"] for record in records] == list(range(1, 3001))
    assert end == {"exported": 3000}
    assert answered > 10


async def test_what_comes_during_an_export_is_not_part_of_it_and_what_was_delivered_is_missing(
    path: Path,
) -> None:
    daemon = keeping(*[payload + bytes(1000) for payload in numbered(3000)])
    cloud = daemon.kept["cloud"].buffer
    async with control.serve(path, daemon), connected(path) as client:
        assert (await client.ask(verb="export", name="cloud"))["ok"]
        first = await client.answer()
        cloud.confirm(2500)
        cloud.append(STREAM, b"later")
        records = [first]
        while "exported" not in (line := await client.answer()):
            records.append(line)
    seqs = [record["seq"] for record in records]
    assert seqs[0] == 1
    assert seqs[-500:] == list(range(2501, 3001))
    assert seqs == sorted(set(seqs))
    assert line == {"exported": len(records)}
    assert len(records) < 3000


async def test_who_does_not_read_an_export_is_sent_away(path: Path) -> None:
    daemon = keeping(*[bytes(10_000) for _ in range(500)])
    async with control.serve(path, daemon, Limits(unread=0.1, farewell=0.1)):
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)  # it stops reading soon
        writer.write(b'{"verb":"export","name":"cloud"}\n')
        assert json.loads(await reader.readline())["records"] == 500
        while not writer.transport.is_closing():
            writer.write(b"\n")
            await asyncio.sleep(0.01)
    assert daemon.kept["cloud"].buffer.records == 500


# from the disk


CLOUD = Name("cloud", "mqtt")


@asynccontextmanager
async def on_disk(folder: Path, payloads: list[bytes]) -> AsyncIterator[Daemon]:
    """A daemon that has found all these on its disk."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time, lambda: NOON, lambda: True, 1)
    wanted = {CLOUD: rules(64 << 20, durability=Durability.CRASH)}
    for life in range(2):
        buffers = Buffers(folder / "state", folder / "run", clock)
        await buffers.prepare(wanted, 1 << 30)
        if not life:
            for payload in payloads:
                buffers.of(CLOUD).append(STREAM, Frame(NOON, payload))
            await buffers.close()
    tending = asyncio.create_task(buffers.run())
    daemon = Daemon()
    daemon.kept = {"cloud": Kept(buffers.of(CLOUD), "cloud", "mqtt", True, 0)}
    assert (buffers.of(CLOUD).records, buffers.of(CLOUD).held_records) == (len(payloads), 0)
    try:
        yield daemon
    finally:
        tending.cancel()
        await asyncio.wait([tending])
        await buffers.close()


async def test_an_export_goes_through_the_disk_into_memory(path: Path, tmp_path: Path) -> None:
    async with on_disk(tmp_path, numbered(2500)) as daemon, control.serve(path, daemon):
        daemon.kept["cloud"].buffer.append(STREAM, b"newest")
        async with connected(path) as client:
            records, end = await exported(client)
    assert [record["text"].encode() for record in records] == [*numbered(2500), b"newest"]
    assert end == {"exported": 2501}


async def test_when_a_clear_is_answered_the_disk_is_empty_too(path: Path, tmp_path: Path) -> None:
    async with (
        on_disk(tmp_path, numbered(2500)) as daemon,
        control.serve(path, daemon),
        connected(path) as client,
    ):
        assert await client.ask(verb="clear", name="cloud") == {"ok": True, "records": 2500}
        assert (await client.ask(verb="buffer"))["buffers"]["cloud"]["records"] == 0
        assert await exported(client) == ([], {"exported": 0})


async def test_what_has_come_to_light_late_can_be_cleared_before_anybody_reads_it(path: Path) -> None:
    daemon = keeping(b"a", b"b")
    daemon.kept["cloud"].buffer.rewind(confirmed=0, next_number=100)
    async with control.serve(path, daemon), connected(path) as client:
        assert await client.ask(verb="clear", name="cloud") == {"ok": True, "records": 2}
        assert await exported(client) == ([], {"exported": 0})


# gatewayctl buffer


async def test_buffer_is_a_table_and_may_be_abbreviated(path: Path) -> None:
    for typed in ("buffer", "buf", "b"):
        done = await ctl(path, keeping(b"a"), typed)
        assert (done.code, done.err) == (0, "")
        assert [line.split()[:2] for line in done.out.splitlines()[:2]] == [
            ["BUFFER", "RECORDS"],
            ["cloud", "1"],
        ]


async def test_buffer_of_a_link_is_all_about_it(path: Path) -> None:
    done = await ctl(path, keeping(b"a"), "buffer", "cloud")
    assert done.out.splitlines()[:2] == ["buffer cloud: 1 record", "  link         cloud, mqtt"]
    assert await ctl(path, keeping(), "buffer", "clod") == Run(
        1, "", 'gatewayctl: no buffer is called "clod"; did you mean "cloud"?\n'
    )


@pytest.mark.parametrize("arguments", [("--json", "buffer", "cloud"), ("buffer", "--json", "cloud")])
async def test_json_is_the_answer_of_the_daemon(path: Path, arguments: tuple[str, ...]) -> None:
    answer = json.loads((await ctl(path, keeping(b"a"), *arguments)).out)
    assert answer["ok"] is True
    assert answer["buffers"]["cloud"]["records"] == 1


# gatewayctl buffer export


def read(file: Path) -> list[bytes]:
    """The payloads."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [base64.b64decode(line["base64"]) if "base64" in line else line["text"].encode() for line in lines]


async def test_export_writes_a_new_file_with_a_line_for_each_record(path: Path, tmp_path: Path) -> None:
    payloads = [*numbered(1500), b"\xff"]
    file = tmp_path / "out" / "cloud.jsonl"
    file.parent.mkdir()
    assert await ctl(path, keeping(*payloads), "buffer", "export", "cloud", str(file)) == Run(
        0, f"1,501 records in {file}\n", ""
    )
    assert read(file) == payloads
    assert list(file.parent.iterdir()) == [file]


async def test_export_to_the_standard_output_is_the_records_and_nothing_else(path: Path) -> None:
    for arguments in (("buffer", "export", "cloud", "-"), ("--json", "buffer", "export", "cloud", "-")):
        done = await ctl(path, keeping(b"a", b"b"), *arguments)
        assert (done.code, done.err) == (0, "")
        assert [json.loads(line)["text"] for line in done.out.splitlines()] == ["a", "b"]


async def test_export_for_programs_says_how_many(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "x"
    done = await ctl(path, keeping(b"a"), "buffer", "export", "--json", "cloud", str(file))
    assert json.loads(done.out) == {"ok": True, "records": 1, "file": str(file)}


async def test_export_overwrites_a_file_only_by_force(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("precious")
    arguments = ("buffer", "export", "cloud", str(file))
    refused = f"gatewayctl: {file} is there already: --force replaces it\n"
    assert await ctl(path, keeping(b"a"), *arguments) == Run(1, "", refused)
    assert file.read_text() == "precious"
    assert (await ctl(path, keeping(b"a"), *arguments, "--force")).code == 0
    assert read(file) == [b"a"]


async def test_force_replaces_files_and_nothing_else(path: Path, tmp_path: Path) -> None:
    for there in (tmp_path, Path("/dev/null")):
        done = await ctl(path, keeping(b"a"), "buffer", "export", "--force", "cloud", str(there))
        assert done == Run(1, "", f"gatewayctl: {there} is no file\n")
    assert Path("/dev/null").is_char_device()


async def test_a_file_that_cannot_be_written_is_said_in_one_line(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "x"
    done = await ctl(path, keeping(b"a"), "buffer", "export", "cloud", str(file))
    assert done == Run(1, "", f"gatewayctl: {file}: No such file or directory\n")


async def test_an_export_of_nothing_known_makes_no_file(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "x"
    file.parent.mkdir()
    done = await ctl(path, keeping(), "buffer", "export", "clod", str(file))
    assert (done.code, done.err) == (1, 'gatewayctl: no buffer is called "clod"; did you mean "cloud"?\n')
    assert list(file.parent.iterdir()) == []


RECORD = b'{"ts":"2026-03-02T14:15:02.500Z","seq":1,"stream":"port/scale","text":"a"}\n'


@pytest.mark.parametrize(
    ("rest", "code", "error"),
    [
        (RECORD, 3, "it closed the connection"),
        (RECORD + RECORD[:30], 3, "it closed the connection"),
        (RECORD + b'{"ok":false,"error":"internal error: x"}\n', 1, "internal error: x"),
        (RECORD + b"220 mail.example.com ESMTP\n", 3, "that is something else"),
    ],
    ids=["after a record", "in a record", "by an error", "by something else"],
)
async def test_an_export_that_is_cut_off_leaves_the_file_as_it_was(
    path: Path, tmp_path: Path, rest: bytes, code: int, error: str
) -> None:
    file = tmp_path / "out" / "x"
    file.parent.mkdir()
    file.write_text("precious")
    path.parent.mkdir()
    async with impostor(path, b'{"ok":true,"name":"cloud","records":9}\n' + rest):
        done = await run(path, "buffer", "export", "--force", "cloud", str(file))
    assert (done.code, done.out) == (code, "")
    assert done.err.endswith(f"{error}\n")
    assert [(left.name, left.read_text()) for left in file.parent.iterdir()] == [("x", "precious")]


async def test_ctrl_c_in_an_export_leaves_no_file(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path.parent.mkdir()
    hold = asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"ok":true,"name":"cloud","records":2}\n' + RECORD)
        await hold.wait()
        writer.close()

    async with await asyncio.start_unix_server(half, path):
        process = await started(path, "buffer", "export", "cloud", str(out / "x"))
        await until(lambda: list(out.iterdir()))
        process.send_signal(signal.SIGINT)
        done = await ended(process)
        hold.set()
    assert done == Run(130, "", "")
    assert list(out.iterdir()) == []


# gatewayctl buffer clear


async def clearing(path: Path, daemon: Daemon, said: bytes, *options: str) -> Run:
    """By somebody who says that when asked."""
    async with control.serve(path, daemon):
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "--socket", str(path), *options, "buffer", "clear", "cloud"),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await process.communicate(said)
    return Run(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("said", [b"y\n", b" YES\n"])
async def test_clear_says_what_would_be_lost_and_asks(path: Path, said: bytes) -> None:
    daemon = keeping(b"a", b"b")
    done = await clearing(path, daemon, said)
    assert (done.code, done.out) == (0, "cloud: 2 records cleared\n")
    assert done.err.startswith("cloud: 2 records, the oldest ")
    assert done.err.endswith(" old, will be gone for good. Clear them? [y/N] ")
    assert daemon.kept["cloud"].buffer.records == 0


@pytest.mark.parametrize("said", [b"", b"\n", b"n\n", b"yeah\n"])
async def test_whatever_is_no_yes_clears_nothing(path: Path, said: bytes) -> None:
    daemon = keeping(b"a", b"b")
    done = await clearing(path, daemon, said)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("[y/N] gatewayctl: nothing was cleared\n")
    assert daemon.kept["cloud"].buffer.records == 2


async def test_yes_is_not_asked_and_an_empty_one_is_not_worth_a_question(path: Path) -> None:
    daemon = keeping(b"a")
    assert await ctl(path, daemon, "buffer", "clear", "cloud", "--yes") == Run(
        0, "cloud: 1 record cleared\n", ""
    )
    assert await clearing(path, daemon, b"") == Run(0, "cloud: 0 records cleared\n", "")


async def test_clear_for_programs_is_the_answer_of_the_daemon(path: Path) -> None:
    done = await clearing(path, keeping(b"a"), b"y\n", "--json")
    assert json.loads(done.out) == {"ok": True, "records": 1}


async def test_clear_of_nothing_known_is_bad_news(path: Path) -> None:
    error = 'gatewayctl: no buffer is called "cloud"; there are: none\n'
    assert await clearing(path, Daemon(), b"y\n") == Run(1, "", error)


# status


@pytest.mark.parametrize(("trouble", "well"), [(None, True), ("the disk is full", False)])
def test_a_gateway_whose_buffer_is_in_trouble_is_not_well(trouble: str | None, well: bool) -> None:
    links: dict[str, dict[str, object]] = {
        "scada": {"state": "listening"},
        "cloud": {"state": "up", "buffer": {"records": 0, "trouble": trouble}},
    }
    assert at_work({"ports": {"scale": {"state": "open"}}, "links": links}) is well
