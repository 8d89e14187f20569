"""gatewayctl read, write, scan, pause and resume: what they print, what they ask, and their exit codes."""

import json
import struct
from pathlib import Path

import pytest
from control_kit import Daemon, Line, until
from ctl_kit import Run, ctl, ended, run, started
from terminal_kit import terminal

from gateway import control
from gateway.contracts import Settings
from gateway.demo.registers import Registers
from gateway.errors import Garbled

FASTER = Settings(19200, "8E1")
ORDERS = ("4366199A", "199A4366", "66439A19", "9A196643")  # of holding 0 and 1: ABCD, CDAB, BADC, DCBA


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


def meters() -> Daemon:
    daemon = Daemon()
    holding = {0: 0x4366, 1: 0x199A, 2: 0xFFFF, 3: 0x3132}
    slave = Registers(holding=holding, coils={0: False, 3: False, 4: True})
    daemon.lines["meters"] = Line({1: slave}, others={FASTER: {9: Registers()}})
    return daemon


def table(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


# read


async def test_a_read_shows_registers_in_each_way(path: Path) -> None:
    code, out, err = await ctl(path, meters(), "read", "meters", "1", "holding", "0", "3")
    assert (code, err) == (0, "")
    assert table(out) == [
        ["HOLDING", "SIGNED", "HEX"],
        ["0", "17254", "17254", "0x4366"],
        ["1", "6554", "6554", "0x199A"],
        ["2", "65535", "-1", "0xFFFF"],
    ]


async def test_a_read_of_bits_shows_on_and_off(path: Path) -> None:
    done = await ctl(path, meters(), "rea", "meters", "1", "coil", "3", "2")
    assert (done.code, table(done.out)) == (0, [["COIL"], ["3", "off"], ["4", "on"]])


async def test_all_orders_stand_side_by_side_for_every_type_that_fits(path: Path) -> None:
    done = await ctl(path, meters(), "read", "meters", "1", "holding", "0", "2", "--all-orders")
    rows = {(row[1], row[0]): row[2:] for row in table(done.out)[1:]}
    assert (done.code, table(done.out)[0]) == (0, ["HOLDING", "TYPE", "ABCD", "CDAB", "BADC", "DCBA"])
    floats = [struct.unpack(">f", bytes.fromhex(words))[0] for words in ORDERS]
    assert [float(shown) for shown in rows["float32", "0"]] == pytest.approx(floats, rel=1e-7)
    assert rows["float32", "0"][0] == "230.1"
    assert rows["uint16", "1"] == ["6554", "6554", "39449", "39449"]
    assert rows["int32", "0"][0] == str(0x4366199A)
    assert rows["string(4)", "0"][0].startswith("Cf")
    assert not {"int64", "float64", "bool"} & {kind for kind, _ in rows}


async def test_all_orders_read_enough_for_every_type_by_themselves(path: Path) -> None:
    done = await ctl(path, meters(), "--json", "read", "meters", "1", "holding", "0", "--all-orders")
    answer = json.loads(done.out)
    assert answer["values"] == [0x4366, 0x199A, 0xFFFF, 0x3132]
    assert answer["orders"]["float32"]["ABCD"] == [230.1, None]
    assert {"int64", "uint64", "float64", "string(8)"} <= set(answer["orders"])


async def test_a_type_is_read_in_as_many_registers_as_it_takes(path: Path) -> None:
    typed = ("read", "meters", "1", "holding", "0", "--type", "float32")
    assert table((await ctl(path, meters(), *typed)).out) == [["HOLDING", "FLOAT32"], ["0", "230.1"]]
    swapped = await ctl(path, meters(), "--json", *typed, "--byte-order", "CDAB")
    (value,) = json.loads(swapped.out)["typed"]
    assert struct.pack(">f", value) == bytes.fromhex(ORDERS[1])
    two = ("read", "meters", "1", "holding", "0", "4", "--type", "uint32")
    assert table((await ctl(path, meters(), *two)).out)[1:] == [["0", "1130764698"], ["2", "4294914354"]]


async def test_what_the_device_refuses_is_bad_news(path: Path) -> None:
    refused = await ctl(path, meters(), "read", "meters", "1", "holding", "9")
    assert refused == Run(1, "", "gatewayctl: unit 1: exception 02 illegal data address\n")
    silent = await ctl(path, meters(), "--json", "read", "meters", "7", "holding", "0")
    assert silent.code == 1
    answer = {"ok": False, "error": "unit 7 did not answer within 1 s", "exception": 11}
    assert json.loads(silent.out) == answer


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("coil", "0", "--all-orders"), "a coil is one bit: it has no type and no byte order"),
        (("holding", "0", "--type", "float33"), "a type is one of bool int16"),
        (("holding", "0", "--byte-order", "ACBD"), "a byte order is one of ABCD CDAB BADC DCBA"),
        (("holding", "0", "3", "--type", "float32"), "float32 takes 2 registers: COUNT is a multiple"),
        (("holdings", "0"), "argument TABLE: invalid choice: 'holdings'"),
    ],
)
async def test_a_read_that_makes_no_sense_is_a_usage_error(
    path: Path, arguments: tuple[str, ...], error: str
) -> None:
    daemon = meters()
    code, out, err = await ctl(path, daemon, "read", "meters", "1", *arguments)
    assert (code, out) == (2, "")
    assert error in err
    assert daemon.lines["meters"].asked == []


# write


async def test_a_write_without_a_terminal_needs_yes(path: Path) -> None:
    daemon = meters()
    asked = await started(path, "write", "meters", "1", "holding", "0", "5")
    assert await ended(asked) == Run(
        2, "", "gatewayctl: nobody can be asked here: --yes writes without asking\n"
    )
    done = await ctl(path, daemon, "write", "meters", "1", "holding", "0", "5", "-1", "0x10", "--yes")
    assert done == Run(0, "holding 0..2 of unit 1 on meters written\n", "")
    assert daemon.lines["meters"].slaves[1].holding == {0: 5, 1: 0xFFFF, 2: 0x10, 3: 0x3132}


async def test_coils_are_written_as_true_and_false(path: Path) -> None:
    daemon = meters()
    done = await ctl(path, daemon, "--json", "write", "meters", "1", "coil", "3", "true", "false", "--yes")
    assert (done.code, json.loads(done.out)["ok"]) == (0, True)
    assert daemon.lines["meters"].slaves[1].coils == {0: False, 3: True, 4: False}


async def test_a_typed_value_is_written_in_its_byte_order(path: Path) -> None:
    daemon = meters()
    write = ("write", "meters", "1", "holding", "0", "230.1", "--type", "float32", "--byte-order", "CDAB")
    assert (await ctl(path, daemon, *write, "--yes")).code == 0
    assert [daemon.lines["meters"].slaves[1].holding[at] for at in (0, 1)] == [0x199A, 0x4366]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("holding", "0", "65536"), "65536 is no register: -32768 to 65535"),
        (("holding", "0", "230.1"), "230.1 is no register: "),
        (("coil", "0", "5"), "5 is neither true nor false"),
        (("coil", "0", "1", "--type", "bool"), "a coil is one bit: it has no type"),
        (("holding", "0", "-1", "--type", "uint32"), "-1 does not fit uint32"),
        (("holding", "0", "x", "--type", "float32"), "x does not fit float32"),
    ],
)
async def test_what_does_not_fit_is_never_written(path: Path, arguments: tuple[str, ...], error: str) -> None:
    daemon = meters()
    code, _, err = await ctl(path, daemon, "write", "meters", "1", *arguments, "--yes")
    assert code == 2
    assert error in err
    assert daemon.lines["meters"].asked == []


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 1), ("", 1), ("yep", 1)])
async def test_on_a_terminal_it_shows_what_goes_where_and_writes_after_a_yes(
    path: Path, answer: str, code: int
) -> None:
    daemon = meters()
    line = daemon.lines["meters"]
    command = ("write", "meters", "1", "holding", "0", "230.1", "--type", "float32")
    async with control.serve(path, daemon):
        with terminal(path, *command, size=(50, 80)) as screen:
            await screen.shows("Write it? [y/N] ")
            assert line.asked == []
            screen.types(f"{answer}\n")
            assert await screen.ended() == code
    port = daemon.record["ports"]["meters"]
    shown = [text.split() for text in screen.seen.splitlines()]
    where = f"write to unit 1 on meters ({port['tty']}, {port['line']}): float32 230.1, ABCD"
    assert shown[:3] == [
        where.split(),
        ["0", "17254", "17254", "0x4366"],
        ["1", "6554", "6554", "0x199A"],
    ]
    assert bool(line.asked) == (code == 0)


# scan


async def test_a_scan_prints_what_it_finds_and_the_sum(path: Path) -> None:
    daemon = meters()
    daemon.lines["meters"].failures[4] = Garbled("unit 4 answered with a wrong checksum")
    code, out, err = await ctl(
        path, daemon, "scan", "meters", "--unit-ids", "1-9", "--baudrate", "9600,19200"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("9600 8E1: unit 1: answers, ")
    assert lines[1] == "9600 8E1: unit 4: unit 4 answered with a wrong checksum"
    assert lines[2].startswith("19200 8E1: unit 9: exception 02 illegal data address, ")
    assert lines[3:] == ["2 units found, 18 asked"]


async def test_a_scan_that_finds_nothing_is_bad_news(path: Path) -> None:
    done = await ctl(path, meters(), "scan", "meters", "--unit-ids", "2", "--format", "8N2")
    assert done == Run(1, "9600 8N2: /dev/ttyUSB0 does not accept 9600 8N2\n0 units found, 0 asked\n", "")


async def test_a_scan_for_programs_is_a_line_of_json_each(path: Path) -> None:
    done = await ctl(path, meters(), "--json", "scan", "meters", "--unit-ids", "1,2")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert [line.get("state") for line in lines] == [None, "found", "silent", None]
    assert (lines[0]["lines"], lines[-1]) == (["9600 8E1"], {"asked": 2, "found": 1})


async def test_a_scan_shows_its_progress_on_a_terminal(path: Path) -> None:
    async with control.serve(path, meters()):
        with terminal(path, "scan", "meters", "--unit-ids", "1-3", size=(50, 80)) as screen:
            await screen.shows("1 unit found, 3 asked")
            assert await screen.ended() == 0
    assert "\r9600 8E1: unit 2 is silent, 2 of 3\x1b[K" in screen.seen


async def test_a_scan_that_is_killed_gives_the_port_back(path: Path) -> None:
    daemon = meters()
    line = daemon.lines["meters"]
    line.stuck = True
    async with control.serve(path, daemon):
        process = await started(path, "scan", "meters", "--unit-ids", "9", "--baudrate", "19200")
        await until(lambda: line.asked)
        process.kill()
        await process.communicate()
        await until(lambda: "given back" in line.events)


# pause and resume


async def test_pause_and_resume_say_what_they_did(path: Path) -> None:
    daemon = meters()
    async with control.serve(path, daemon):
        assert await run(path, "pause", "meters", "--for", "10m") == Run(
            0, "meters is let go of; taken back in 10 min, or by: gatewayctl resume meters\n", ""
        )
        assert daemon.paused == {"meters": 600.0}
        assert await run(path, "resume", "meters") == Run(
            0, "meters goes back to work: gatewayctl status meters\n", ""
        )
        assert await run(path, "resume", "meters") == Run(1, "", "gatewayctl: meters is not paused\n")
        refused = await run(path, "pause", "meters", "--for", "ever")
    assert refused.code == 1
    assert "a time is a number and its unit" in refused.err
