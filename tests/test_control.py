"""The control socket: what it answers and what it refuses."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from control_kit import Daemon, connected, until
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import __version__, control
from gateway.contracts import Traced
from gateway.control import Limits, Reloaded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


# verbs


async def test_status_is_the_record_with_ok_in_front(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon), connected(path) as client:
        answer = await client.ask(verb="status")
    assert answer == {"ok": True, **daemon.record}
    assert next(iter(answer)) == "ok"


@pytest.mark.parametrize(
    ("name", "group"), [("meters", "ports"), ("cloud", "links"), ("main-meter", "devices")]
)
async def test_status_of_one_name_leaves_the_others_out(path: Path, name: str, group: str) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        answer = await client.ask(verb="status", name=name)
    assert answer["ok"] is True
    assert answer["gateway"]["name"] == "pump-house-7"
    found = {section: list(answer[section]) for section in ("ports", "links", "devices")}
    assert found == {"ports": [], "links": [], "devices": []} | {group: [name]}


async def test_a_name_that_a_port_and_a_device_share_gives_both(path: Path) -> None:
    daemon = Daemon()
    daemon.record["devices"]["scale"] = daemon.record["devices"].pop("main-meter")
    async with control.serve(path, daemon), connected(path) as client:
        answer = await client.ask(verb="status", name="scale")
    assert list(answer["ports"]) == list(answer["devices"]) == ["scale"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("meter", 'no port, link or device is called "meter"; did you mean "meters"?'),
        (
            "xyz",
            'no port, link or device is called "xyz"; '
            "there are: cloud, console, main-meter, meters, pump-meter, scada, scale",
        ),
    ],
)
async def test_an_unknown_name_is_answered_with_what_there_is(path: Path, name: str, error: str) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert await client.ask(verb="status", name=name) == {"ok": False, "error": error}
        assert (await client.ask(verb="version"))["ok"]


async def test_an_unknown_name_on_an_empty_gateway_says_that_there_is_nothing(path: Path) -> None:
    async with control.serve(path, Daemon("empty")), connected(path) as client:
        answer = await client.ask(verb="status", name="meters")
    assert answer["error"] == 'no port, link or device is called "meters"; there are: none'


async def test_version_is_that_of_the_daemon(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert await client.ask(verb="version") == {"ok": True, "version": __version__}


async def test_a_good_reload_says_what_changed(path: Path) -> None:
    daemon = Daemon()
    daemon.reloaded = Reloaded([], ["bus load 71 %"], ["ports.meters"])
    async with control.serve(path, daemon), connected(path) as client:
        answer = await client.ask(verb="reload")
    expected = {"ok": True, "problems": [], "warnings": ["bus load 71 %"], "changed": ["ports.meters"]}
    assert answer == expected
    assert daemon.reloads == 1


async def test_a_bad_reload_says_every_problem(path: Path) -> None:
    daemon = Daemon()
    daemon.reloaded = Reloaded(["gateway.toml:1:1: a: b", "gateway.toml:2:1: c: d"], [], [])
    async with control.serve(path, daemon), connected(path) as client:
        answer = await client.ask(verb="reload")
    assert answer["ok"] is False
    assert answer["error"] == "the config file has problems; nothing was changed"
    assert answer["problems"] == ["gateway.toml:1:1: a: b", "gateway.toml:2:1: c: d"]


async def test_a_trace_is_a_line_per_frame_until_the_client_leaves(path: Path) -> None:
    daemon = Daemon()
    fan = daemon.fans["meters"]
    async with control.serve(path, daemon):
        async with connected(path) as client:
            assert await client.ask(verb="trace", name="meters") == {
                "ok": True,
                "name": "meters",
                "mode": "modbus-rtu",
            }
            fan.push(Traced(1772460902.5, "tx", b"\x01\x03", "read"))
            fan.push(Traced(1772460902.512, "rx", b"\x01\x83\x02", ""))
            assert await client.answer() == {
                "at": "2026-03-02T14:15:02.500Z",
                "way": "tx",
                "hex": "01 03",
                "text": "read",
            }
            assert (await client.answer())["hex"] == "01 83 02"
        await until(lambda: not fan.taps)


@pytest.mark.parametrize(("name", "mode"), [("scale", "raw"), ("cloud", "mqtt")])
async def test_a_trace_says_what_kind_of_bytes_follow(path: Path, name: str, mode: str) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert (await client.ask(verb="trace", name=name))["mode"] == mode


async def test_whatever_a_client_sends_ends_its_trace(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon), connected(path) as client:
        await client.ask(verb="trace", name="meters")
        client.send(b"enough\n")
        assert await client.answer() is None
        assert not daemon.fans["meters"].taps


async def test_a_trace_of_nothing_known_is_refused(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        answer = await client.ask(verb="trace", name="scal")
    assert answer == {"ok": False, "error": 'no port or link is called "scal"; did you mean "scale"?'}


async def test_a_trace_counts_what_it_could_not_show(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon, Limits(waiting=10)), connected(path) as client:
        await client.ask(verb="trace", name="scale")
        for number in range(5):
            daemon.fans["scale"].push(Traced(0.0, "rx", bytes([number]) * 6, ""))
        assert (await client.answer())["hex"] == "04 04 04 04 04 04"
        assert await client.answer() == {"missed": 4}


# requests that are none


GARBAGE = {
    "no JSON": b"status\n",
    "an empty line": b"\n",
    "a number": b"17\n",
    "a list": b'["status"]\n',
    "null": b"null\n",
    "no verb": b"{}\n",
    "a verb that is no text": b'{"verb":7}\n',
    "half an object": b'{"verb":"status"\n',
    "not UTF-8": b'{"verb":"\xff\xfe"}\n',
    "nothing but zeros": bytes(100) + b"\n",
    "nested too deep": b"[" * 60000 + b"\n",
    "a number of 10,000 digits": b'{"verb":' + b"9" * 10000 + b"}\n",
    "HTTP": b"GET / HTTP/1.1\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + b"\n",
}
NOT_A_REQUEST = {
    "ok": False,
    "error": 'not a JSON object with a verb, for example {"verb":"status"}',
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_gets_one_line_and_the_door(path: Path, data: bytes) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        client.send(data)
        assert await client.answer() == NOT_A_REQUEST
        assert await client.answer() is None


VERBS = (
    "buffer, clear, events, export, pause, ports, read, reload, resume, scan, status, trace, version, write"
)
WRONG = {
    "an unknown verb": (
        {"verb": "stauts"},
        'no verb is called "stauts"; did you mean "status"?',
    ),
    "a verb that cannot be written": (
        {"verb": "\ud800"},
        f'no verb is called "\ud800"; there are: {VERBS}',
    ),
    "a long verb": (
        {"verb": "x" * 5000},
        f'no verb is called "{"x" * 60}"; there are: {VERBS}',
    ),
    "a missing name": ({"verb": "trace"}, '"trace" needs "name"'),
    "an unknown key": ({"verb": "status", "nmae": "x"}, '"status" has no "nmae"'),
    "a key of another verb": ({"verb": "reload", "name": "x"}, '"reload" has no "name"'),
    "a name that is no text": ({"verb": "status", "name": 7}, '"name" is a string'),
    "a name that is null": ({"verb": "trace", "name": None}, '"name" is a string'),
}


@pytest.mark.parametrize(("request_", "error"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_explained_and_the_next_one_answered(
    path: Path, request_: dict[str, object], error: str
) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert await client.ask(**request_) == {"ok": False, "error": error}
        assert (await client.ask(verb="version"))["ok"]


async def test_requests_in_one_packet_are_answered_in_order(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        client.send(b'{"verb":"version"}\r\n{"verb":"status","name":"scale"}\n{"verb":"ver')
        assert "version" in await client.answer()
        assert "ports" in await client.answer()
        client.send(b'sion"}\n')
        assert "version" in await client.answer()


async def test_a_request_without_a_newline_counts_when_the_client_has_no_more_to_say(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        client.send(b'{"verb":"version"}')
        client.hang_up_sending()
        assert (await client.answer())["ok"]
        assert await client.answer() is None


async def test_a_request_may_be_as_long_as_the_limit_and_no_longer(path: Path) -> None:
    limit = Limits().request
    fits = json.dumps({"verb": "version"}).encode().rjust(limit)
    async with control.serve(path, Daemon()):
        async with connected(path) as client:
            client.send(fits + b"\n")
            assert (await client.answer())["ok"]
        async with connected(path) as client:
            client.send(b" " + fits)
            error = f"a request is one line of at most {limit} bytes"
            assert await client.answer() == {"ok": False, "error": error}
            assert await client.answer() is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([b"\n", b'{"verb":', b'"status"}', b"{", b"}"])))
def test_no_bytes_bring_it_down_and_every_answer_is_a_line_of_json(chunks: list[bytes]) -> None:
    async def exchange() -> None:
        path = Path(folder) / "control.sock"
        async with control.serve(path, Daemon("empty")):
            async with connected(path) as client:
                for chunk in chunks:
                    client.send(chunk)
                client.hang_up_sending()
                while (answer := await client.answer()) is not None:
                    assert answer["ok"] in (True, False)
            async with connected(path) as client:
                assert (await client.ask(verb="status"))["ok"]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(exchange())
