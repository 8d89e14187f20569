"""The verbs of the control socket that work on a port's line: read, write, scan, pause and resume."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from control_kit import Client, Daemon, Line, connected, until

from gateway import control
from gateway.contracts import Rank, Settings
from gateway.demo.registers import Registers
from gateway.errors import Busy, Garbled, LineDown, TooLate

FASTER, ODD = Settings(19200, "8E1"), Settings(19200, "8N1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def meters(**others: Any) -> Daemon:
    daemon = Daemon()
    slave = Registers(holding={0: 17254, 1: 6554}, coils={3: False, 4: True}, inputs={7: 1})
    daemon.lines["meters"] = Line({1: slave, 3: Registers()}, **others)
    return daemon


async def asked(path: Path, daemon: Daemon, **request: object) -> dict[str, Any]:
    async with control.serve(path, daemon), connected(path) as client:
        answer: dict[str, Any] = await client.ask(**request)
        answer.pop("took_ms", None)
        return answer


READ = {"verb": "read", "name": "meters", "unit_id": 1, "table": "holding", "address": 0}
WRITE = {"verb": "write", "name": "meters", "unit_id": 1, "table": "holding", "address": 0}


@pytest.mark.parametrize(
    ("request_", "values"),
    [
        ({}, [17254]),
        ({"count": 2}, [17254, 6554]),
        ({"table": "input", "address": 7}, [1]),
        ({"table": "coil", "address": 3, "count": 2}, [0, 1]),
    ],
)
async def test_a_read_gives_the_bare_values(path: Path, request_: dict[str, Any], values: list[int]) -> None:
    assert await asked(path, meters(), **READ | request_) == {"ok": True, "values": values}


async def test_it_says_how_long_it_took(path: Path) -> None:
    async with control.serve(path, meters()), connected(path) as client:
        assert (await client.ask(**READ))["took_ms"] >= 0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"address": 9}, {"error": "unit 1: exception 02 illegal data address", "exception": 2}),
        ({"unit_id": 2}, {"error": "unit 2 did not answer within 1 s", "exception": 11}),
        ({"unit_id": 9}, {"error": "no such device /dev/ttyUSB0", "exception": 10}),
        ({"unit_id": 8}, {"error": "too many requests wait for this line", "exception": 6}),
        ({"count": 126}, {"error": "no read of 126 from 0 on"}),
        ({"table": "registers"}, {"error": "a table is one of coil, discrete_input, holding, input"}),
        ({"name": "metres"}, {"error": 'no port is called "metres"; did you mean "meters"?'}),
        ({"unit_id": "1"}, {"error": '"unit_id" is a number, 0 to 255'}),
        ({"unit_id": 256}, {"error": '"unit_id" is a number, 0 to 255'}),
        ({"unit_id": True}, {"error": '"unit_id" is a number, 0 to 255'}),
        ({"address": -1}, {"error": '"address" is a number, 0 to 65535'}),
        ({"address": 1.5}, {"error": '"address" is a number, 0 to 65535'}),
    ],
)
async def test_what_cannot_be_read_is_told_as_a_master_would_be(
    path: Path, request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    failures = {9: LineDown("no such device /dev/ttyUSB0"), 8: Busy("too many requests wait for this line")}
    assert await asked(path, meters(failures=failures), **READ | request_) == {"ok": False, **answer}


async def test_one_value_is_written_by_the_code_for_one_and_several_by_the_other(path: Path) -> None:
    daemon = meters()
    assert await asked(path, daemon, **WRITE | {"values": [5]}) == {"ok": True}
    assert await asked(path, daemon, **WRITE | {"values": [6, 7]}) == {"ok": True}
    assert await asked(path, daemon, **WRITE | {"table": "coil", "address": 3, "values": [1]}) == {"ok": True}
    line = daemon.lines["meters"]
    assert [request.pdu.hex() for request in line.asked] == [
        "0600000005",
        "1000000002040006" + "0007",
        "050003ff00",
    ]
    assert {(request.rank, request.asker.host) for request in line.asked} == {(Rank.WRITE, "ctl")}
    assert line.slaves[1].holding == {0: 6, 1: 7}


class OnlyMany(Registers):
    """Knows no code for one value."""

    def answer(self, pdu: bytes) -> bytes:
        return bytes((pdu[0] | 0x80, 1)) if pdu[0] in (5, 6) else super().answer(pdu)


async def test_a_device_that_does_not_know_that_code_is_asked_by_the_other(path: Path) -> None:
    daemon = meters()
    daemon.lines["meters"].slaves[1] = device = OnlyMany(holding={0: 0})
    assert await asked(path, daemon, **WRITE | {"values": [5]}) == {"ok": True}
    assert device.holding == {0: 5}
    refused = await asked(path, daemon, **WRITE | {"address": 9, "values": [5]})
    assert refused == {"ok": False, "error": "unit 1: exception 02 illegal data address", "exception": 2}


async def test_a_broadcast_has_no_answer_and_is_good(path: Path) -> None:
    assert await asked(path, meters(), **WRITE | {"unit_id": 0, "values": [5]}) == {"ok": True}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"values": []}, '"values" is a list of numbers, each 0 to 65535'),
        ({"values": [65536]}, '"values" is a list of numbers, each 0 to 65535'),
        ({"values": 5}, '"values" is a list of numbers, each 0 to 65535'),
        ({"values": [2], "table": "coil"}, "a value of coil is 0 to 1"),
        ({"values": [1], "table": "input"}, "input cannot be written: holding or coil can"),
        ({"values": [0] * 124}, "no write of 124 from 0 on"),
        ({}, '"write" needs "values"'),
    ],
)
async def test_what_cannot_be_written_never_reaches_the_line(
    path: Path, request_: dict[str, Any], error: str
) -> None:
    daemon = meters()
    assert await asked(path, daemon, **WRITE | request_) == {"ok": False, "error": error}
    assert daemon.lines["meters"].asked == []


async def scanned(path: Path, daemon: Daemon, **request: object) -> list[dict[str, Any]]:
    async with control.serve(path, daemon), connected(path) as client:
        lines = [await client.ask(verb="scan", name="meters", **request)]
        while lines[-1].get("ok", True) and "asked" not in lines[-1]:
            lines.append(await client.answer())
            lines[-1].pop("took_ms", None)
        return lines


async def test_a_scan_tells_of_each_unit_id_and_an_exception_is_an_answer(path: Path) -> None:
    failures = {4: Garbled("unit 4 answered with a wrong checksum"), 5: TooLate("waited 2.5 s for the line")}
    daemon = meters(failures=failures)
    first, *found, last = await scanned(path, daemon, unit_ids="1-2, 3-5")
    assert first == {"ok": True, "name": "meters", "unit_ids": 5, "lines": ["9600 8E1"]}
    assert [(line["unit_id"], line["state"], line["text"]) for line in found] == [
        (1, "found", "answers"),
        (2, "silent", "unit 2 did not answer within 1 s"),
        (3, "found", "exception 02 illegal data address"),
        (4, "garbled", "unit 4 answered with a wrong checksum"),
        (5, "not asked", "waited 2.5 s for the line"),
    ]
    assert last == {"asked": 5, "found": 2}
    assert daemon.lines["meters"].events == ["unnoticed", "noticed"]
    assert {request.pdu.hex() for request in daemon.lines["meters"].asked} == {"0300000001"}


async def test_without_unit_ids_all_of_them_are_asked(path: Path) -> None:
    daemon = meters()
    assert (await scanned(path, daemon))[-1] == {"asked": 247, "found": 2}
    assert [request.unit for request in daemon.lines["meters"].asked] == list(range(1, 248))


async def test_the_own_settings_come_first_and_only_for_others_the_port_is_taken(path: Path) -> None:
    daemon = meters(others={FASTER: {9: Registers()}, ODD: {}})
    first, *found, last = await scanned(
        path, daemon, unit_ids="9", baudrates=[19200, 9600, 19200], formats=["8E1", "8N1"]
    )
    assert first["lines"] == ["9600 8E1", "19200 8E1", "19200 8N1", "9600 8N1"]
    assert [(line["line"], line["state"]) for line in found] == [
        ("9600 8E1", "silent"),
        ("19200 8E1", "found"),
        ("19200 8N1", "silent"),
        ("9600 8N1", "skipped"),
    ]
    assert found[-1] == {
        "line": "9600 8N1",
        "state": "skipped",
        "text": "/dev/ttyUSB0 does not accept 9600 8N1",
    }
    assert last == {"asked": 3, "found": 1}
    assert daemon.lines["meters"].events == [
        *("unnoticed", "noticed", "lent"),
        *("+19200 8E1", "-19200 8E1", "+19200 8N1", "-19200 8N1"),
        "given back",
    ]


async def test_a_line_that_is_away_is_skipped(path: Path) -> None:
    daemon = meters(failures={1: LineDown("no such device /dev/ttyUSB0")})
    _, *lines = await scanned(path, daemon, unit_ids="1-3")
    assert lines == [
        {"line": "9600 8E1", "state": "skipped", "text": "no such device /dev/ttyUSB0"},
        {"asked": 0, "found": 0},
    ]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"unit_ids": "0-3"}, '"0-3" are no unit ids: "1-10,17", each 1 to 255'),
        ({"unit_ids": "1-300"}, '"1-300" are no unit ids: "1-10,17", each 1 to 255'),
        ({"unit_ids": ""}, '"" are no unit ids: "1-10,17", each 1 to 255'),
        ({"baudrates": [12]}, '"12" is no baudrate: bits per second, such as 9600'),
        (
            {"formats": ["8X1"]},
            '"8X1" is no format: data bits, parity N E O M S and stop bits, such as "8E1"',
        ),
        ({"formats": "8E1"}, '"formats" is a list of strings'),
    ],
)
async def test_a_scan_of_nonsense_is_refused_before_it_begins(
    path: Path, request_: dict[str, Any], error: str
) -> None:
    daemon = meters()
    assert await scanned(path, daemon, **request_) == [{"ok": False, "error": error}]
    assert daemon.lines["meters"].asked == daemon.lines["meters"].events == []


@pytest.mark.parametrize("ending", ["hangs up", "sends something"])
async def test_whoever_leaves_gives_the_port_back(path: Path, ending: str) -> None:
    daemon = meters(others={FASTER: {}}, stuck=True)
    daemon.lines["meters"].others[FASTER][1] = Registers()
    line = daemon.lines["meters"]
    async with control.serve(path, daemon):
        async with connected(path) as client:
            assert (await client.ask(verb="scan", name="meters", unit_ids="1", baudrates=[19200]))["ok"]
            await until(lambda: line.asked)
            if ending == "sends something":
                await over(client)
        await until(lambda: "given back" in line.events)
    assert line.events == ["lent", "+19200 8E1", "-19200 8E1", "given back"]


async def over(client: Client) -> None:
    client.send(b"enough\n")
    assert await client.answer() is None


async def test_a_pause_says_until_when_and_resume_ends_it(path: Path) -> None:
    daemon = meters()
    answer = await asked(path, daemon, verb="pause", name="meters", duration="10m")
    until_ = answer.pop("until")
    assert answer == {"ok": True, "name": "meters", "seconds": 600.0}
    assert until_.endswith("Z")
    assert daemon.paused == {"meters": 600.0}
    assert await asked(path, daemon, verb="resume", name="meters") == {"ok": True, "name": "meters"}
    again = await asked(path, daemon, verb="resume", name="meters")
    assert again == {"ok": False, "error": "meters is not paused"}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, '"pause" needs "duration"'),
        ({"duration": "0s"}, "a pause has an end: after 24h at most"),
        ({"duration": "2d"}, "a pause has an end: after 24h at most"),
        (
            {"duration": "10"},
            'a time is a number and its unit in quotes: "500ms", "20s", "5m", "2h", "7d"',
        ),
    ],
)
async def test_a_pause_without_a_bound_is_refused(path: Path, request_: dict[str, Any], error: str) -> None:
    daemon = meters()
    answer = await asked(path, daemon, verb="pause", name="meters", **request_)
    assert answer == {"ok": False, "error": error}
    assert daemon.paused == {}


async def test_two_clients_of_the_socket_are_one_host_and_two_connections(path: Path) -> None:
    daemon = meters()
    async with control.serve(path, daemon), connected(path) as one, connected(path) as other:
        await asyncio.gather(one.ask(**READ), other.ask(**READ))
    askers = {request.asker for request in daemon.lines["meters"].asked}
    assert len(askers) == 2
    assert {asker.host for asker in askers} == {"ctl"}
