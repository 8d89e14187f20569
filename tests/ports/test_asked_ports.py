"""role = "server" on a pty: the test is the master on the line; links and other ports answer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ascii_kit import frame as ascii_frame
from asked_kit import READ, VALUES, WRITE, Answer, Somebody, frame
from conftest import Pty, Until
from parts_kit import Instrument, Wires, running
from pydantic import ValidationError

from gateway.contracts import Asking, Transactor
from gateway.demo.line import Lines
from gateway.errors import LinkDown
from gateway.ports import modbus_ascii, modbus_rtu
from gateway.ports._server import Server


def config(tty: str = "/dev/ttyUSB0", mode: str = "modbus-rtu", **keys: Any) -> Any:
    table = {"mode": mode, "tty": tty, "role": "server", "baudrate": 115200, "format": "8N1"}
    model = {"modbus-rtu": modbus_rtu.Config, "modbus-ascii": modbus_ascii.Config}[mode]
    return model.model_validate(table | keys)


def server(tty: str, wires: Wires | None = None, **keys: Any) -> Server:
    port = config(tty, **keys).build("panel", wires or Wires())
    assert isinstance(port, Server)
    return port


async def test_it_is_asking_and_offers_that() -> None:
    assert isinstance(server("/dev/ttyUSB0"), Asking)
    assert not isinstance(server("/dev/ttyUSB0"), Transactor)
    assert config().contract is Asking
    assert config(role="client").contract is Transactor


@pytest.mark.parametrize("mode", ["modbus-rtu", "modbus-ascii"])
async def test_whoever_is_attached_answers_the_master_on_a_real_tty(
    mode: str, pty: Pty, until: Until
) -> None:
    port, somebody = server(pty.path, mode=mode), Somebody()
    framed = frame if mode == "modbus-rtu" else lambda unit, pdu: ascii_frame(bytes((unit,)) + pdu)
    async with running(port) as life:
        await until(lambda: life.state == "open")
        with port.answered_by(somebody, [1, 2]):
            for unit in (1, 2, 1):
                pty.say(framed(unit, READ))
                assert await pty.hears(len(framed(unit, VALUES))) == framed(unit, VALUES)
            pty.say(framed(3, READ))
        pty.say(framed(1, READ) * 2)
        await asyncio.sleep(0.1)
        assert pty.heard() == b""
    assert somebody.pdus == [(1, READ), (2, READ), (1, READ)]
    record = port.status()
    assert (record["mode"], record["role"], record["queue"]) == (mode, "server", 0)
    assert (record["rx_frames"], record["tx_frames"]) == (3, 3)
    assert record["units"]["1"] | {"latency_ms": None} == {
        "state": "ok",
        "requests": 2,
        "answers": 2,
        "timeouts": 0,
        "late": 0,
        "latency_ms": None,
    }


async def test_other_ports_answer_for_the_units_that_the_table_gives_them(pty: Pty, until: Until) -> None:
    meters, pumps = Somebody(), Somebody(Answer(LinkDown("away")))
    units = {"1-31": "meters", "101-131": {"port": "pumps", "first": 1}}
    port = server(pty.path, Wires(meters=meters, pumps=pumps), units=units)
    async with running(port) as life:
        await until(lambda: life.state == "open")
        pty.say(frame(31, READ))
        assert await pty.hears(len(frame(31, VALUES))) == frame(31, VALUES)
        pty.say(frame(102, READ))
        assert await pty.hears(5) == frame(102, b"\x83\x0a")
        pty.say(frame(0, WRITE))
        await until(lambda: len(pumps.asked) == 2)
    assert meters.pdus == [(31, READ), (0, WRITE)]
    assert pumps.pdus == [(2, READ), (0, WRITE)]


async def test_a_link_and_a_port_may_share_a_line(pty: Pty, until: Until) -> None:
    meters, link = Somebody(), Somebody(Answer(b"\x03\x02\x00\x07"))
    port = server(pty.path, Wires(meters=meters), units={"1": "meters"})
    async with running(port) as life:
        await until(lambda: life.state == "open")
        with port.answered_by(link, range(2, 4)):
            for unit, answer in ((1, VALUES), (3, b"\x03\x02\x00\x07")):
                pty.say(frame(unit, READ))
                assert await pty.hears(len(frame(unit, answer))) == frame(unit, answer)
    assert (meters.pdus, link.pdus) == ([(1, READ)], [(3, READ)])


async def test_a_tty_that_vanishes_withdraws_what_was_asked_and_is_used_again(
    tmp_path: Path, until: Until
) -> None:
    line = Instrument(tmp_path / "panel")
    answers = [Answer(None), Answer(VALUES)]
    somebody = Somebody(lambda request: answers.pop(0))
    port = server(line.tty, answer_within="30s")
    with Lines(line) as lines, port.answered_by(somebody, [1]):
        async with running(port) as life:
            await until(lambda: life.state == "open" and line.opened)
            lines.call(lambda: line.say(frame(1, READ), 0.0))
            await until(lambda: somebody.asked)
            lines.call(line.unplug)
            await until(lambda: somebody.left)
            lines.call(line.plug)
            await until(lambda: life.state == "open" and line.opened)
            lines.call(lambda: line.say(frame(1, READ), 0.0))
            await until(lambda: bytes(line.told) == frame(1, VALUES))
            assert life.deaths == 1


# The keys


def test_each_role_has_its_own_keys() -> None:
    with pytest.raises(ValidationError, match='retries goes with role = "client"'):
        config(retries=1)
    with pytest.raises(ValidationError, match='answer_within goes with role = "server"'):
        config(role="client", answer_within="1s")
    with pytest.raises(ValidationError, match='units goes with role = "server"'):
        config(role="client", units={})
    assert config(frame_gap="5ms", echo=True).terms.gap == 0.005
    assert config(mode="modbus-ascii", character_timeout="200ms").terms.quiet == 0.2


def test_the_terms_are_the_keys_of_the_table() -> None:
    terms = config(answer_within="2s", when_away="silence", echo=True, flow="rts-cts").terms
    assert (terms.answer_within, terms.says_why, terms.echo, terms.held_back) == (2.0, False, True, True)
    terms = config(baudrate=9600).terms
    assert (terms.answer_within, terms.says_why, terms.echo, terms.held_back) == (0.9, True, False, False)
    assert terms.gap == pytest.approx(38.5 / 9600)
    assert terms.quiet >= 0.02


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ({"0": "meters"}, "unit ids 1 to 247"),
        ({"240-250": "meters"}, "unit ids 1 to 247"),
        ({"1 to 5": "meters"}, "unit ids are"),
        ({"1-5": "meters", "5": "pumps"}, 'overlaps "1-5"'),
        ({"1-31": {"port": "meters", "first": 240}}, "would be 240 to 270"),
    ],
)
def test_unit_ids_that_cannot_be_are_told(units: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        config(units=units)


def test_another_table_of_units_is_another_shape() -> None:
    assert config().shape != config(units={"1": "meters"}).shape != config(units={"2": "meters"}).shape
    assert config().shape == config(answer_within="2s").shape
    assert config().shape != config(role="client").shape
