"""`values` on a raw port: what its frames say, as samples like those of a device."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from conftest import Pty, Until
from parts_kit import running
from pydantic import ValidationError
from raw_kit import CRLF, config, opened
from virtual import in_virtual_time

from gateway.contracts import Frame, Measuring, Reading, Sampled
from gateway.flow import Brake, Fan, Tap
from gateway.ports._values import Values
from gateway.ports.raw import Port

EPOCH = 1_700_000_000.0
WEIGHT: dict[str, Any] = {"weight": {"regex": "([-+]? *[0-9.]+) kg", "unit": "kg"}}
LINES: dict[str, Any] = {"gross": {"regex": "^G (.*)"}, "tare": {"regex": "^T (.*)"}}
BY_LINE = {"delimiter": CRLF, "strip": True}
MARKED = {"delimiter": {"hex": "03"}, "start": {"hex": "02"}, "strip": True}  # frames with a beginning


class Bench:
    """Frames in, samples out; no line. `later` seconds have passed since it was opened."""

    def __init__(self) -> None:
        brake = Brake()
        self.later = 10.0
        self.lines: Fan[Frame] = Fan(brake)
        self.values = Values(brake, lambda: EPOCH)
        self.samples, self.published = self.values.samples.tap(), self.values.frames.tap()

    @contextmanager
    def open(self, values: dict[str, Any] = WEIGHT, **keys: Any) -> Iterator[None]:
        with self.values.picking(self.lines, config("/dev/ttyUSB1", values=values, **keys).rules):
            yield

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            data = line.encode() if isinstance(line, str) else line
            self.lines.push(Frame(EPOCH + self.later, data))


async def said(tap: Tap[Frame]) -> list[Any]:
    """What waits there; nothing is nothing."""
    try:
        async with asyncio.timeout(0):
            return [json.loads(frame.data) for frame in await tap.take()]
    except TimeoutError:
        return []


def kg(*weights: float) -> list[dict[str, Any]]:
    return [{"values": {"weight": weight}} for weight in weights]


async def test_it_is_sampled_under_another_face_than_its_bytes() -> None:
    port = Port(config("/dev/ttyUSB1", values=WEIGHT))
    assert isinstance(port, Measuring)
    assert isinstance(port.values, Sampled)


# On the line


@asynccontextmanager
async def weighing(pty: Pty, **keys: Any) -> AsyncIterator[tuple[Port, Tap[Frame]]]:
    async with opened(pty, frame=MARKED, values=WEIGHT, **keys) as port:
        with port.values.frames.tap() as tap:
            yield port, tap


async def test_numbers_in_frames_are_samples_and_stand_in_the_status(pty: Pty) -> None:
    async with weighing(pty) as (port, tap):
        assert port.status()["values"] == {}
        assert (port.status()["last_good"], port.status()["present"]) == (None, "")
        pty.say(b"\x02ST +  12.50 kg\x03\x02OK\x03")
        frame = (await tap.take())[0]
        assert json.loads(frame.data) == {"values": {"weight": 12.5}}
        assert port.status()["values"] == {"weight": 12.5}
        assert port.status()["present"] == "online"
        assert str(port.status()["last_good"]).endswith("Z")
        assert port.values.newest == {"weight": Reading(12.5, 1)}


async def test_a_port_without_values_says_nothing_of_them(pty: Pty) -> None:
    async with opened(pty) as port:
        assert not {"values", "last_good", "present"} & port.status().keys()


async def test_the_line_is_lost_and_found(pty: Pty, until: Until) -> None:
    port = Port(config(pty.path, frame=MARKED, values=WEIGHT))
    with port.values.frames.tap() as tap, port.values.presence.tap() as presence:
        async with running(port) as life:
            await until(lambda: life.state == "open")
            pty.say(b"\x0212.5 kg\x03")
            await tap.take()
            pty.hang_up()
            lost = json.loads((await tap.take())[0].data)
            assert lost["values"] == {}
            assert "/dev/pts" in lost["errors"]["weight"]
            assert port.values.unread.keys() == {"weight"}
            await until(lambda: life.attempts >= 5)
            assert await said(tap) == []  # it is said once
        assert await presence.take() == [b"online", b"offline"]
        assert port.values.newest == {"weight": Reading(12.5, 1)}


async def test_an_instrument_that_does_not_answer_is_an_error_of_its_values(pty: Pty, until: Until) -> None:
    silent = {"text": "SI\r\n", "every": "50ms", "timeout": "40ms"}
    async with weighing(pty, ask=silent) as (port, tap):
        assert json.loads((await tap.take())[0].data) == {
            "values": {},
            "errors": {"weight": "no answer within 0.04 s"},
        }
        pty.say(b"\x0212.5 kg\x03")
        await until(lambda: port.values.present == b"online")
        await until(lambda: port.values.present == b"offline")
        assert "no answer to the last 3 asks" in str(port.status()["reason"])
        assert port.values.unread == {"weight": "no answer within 0.04 s"}


# What a frame says


async def test_a_sample_has_what_its_frame_said_and_nothing_else() -> None:
    bench = Bench()
    with bench.open(LINES):
        bench.say("G 12.5", "T 1.5", "hello", "G --", "T 2")
    wanted = [
        {"values": {"gross": 12.5}},
        {"values": {"tare": 1.5}},
        {"values": {}, "errors": {"gross": "no number: '--'"}},
        {"values": {"tare": 2.0}},
    ]
    assert await said(bench.samples) == await said(bench.published) == wanted
    assert bench.values.newest == {"gross": Reading(12.5, 1), "tare": Reading(2.0, 4)}
    assert bench.values.unread == {"gross": "no number: '--'"}


async def test_a_sample_has_the_time_of_its_frame() -> None:
    bench = Bench()
    with bench.open():
        bench.say("1 kg")
    assert [frame.at for frame in await bench.published.take()] == [EPOCH + 10]


async def test_the_first_frame_may_have_begun_before_the_line_was_opened() -> None:
    """Of "12.5 kg" only "2.5 kg" came: that is no value."""
    bench = Bench()
    bench.later = 0.02
    with bench.open():
        bench.say("2.5 kg", "12.5 kg")
    assert await said(bench.published) == kg(12.5)


async def test_the_first_frame_counts_behind_a_silence() -> None:
    bench = Bench()
    bench.later = 0.2
    with bench.open():
        bench.say("12.5 kg")
    assert await said(bench.published) == kg(12.5)


async def test_the_first_frame_counts_when_its_beginning_can_be_seen() -> None:
    bench = Bench()
    bench.later = 0.0
    with bench.open(frame=MARKED):
        bench.say("12.5 kg")
    assert await said(bench.published) == kg(12.5)


async def test_a_frame_that_was_cut_gives_nothing_and_nor_does_its_rest() -> None:
    bench = Bench()
    with bench.open(frame={"delimiter": CRLF, "max": "16B"}):
        bench.say("1 kg", b"2 kg".ljust(15) + b"1", "2.5 kg", "3 kg")
    assert await said(bench.published) == kg(1, 3)


async def test_frames_of_one_length_are_never_cut() -> None:
    bench = Bench()
    with bench.open(frame={"length": 6, "max": "6B"}):
        bench.say("1.5 kg", "2.5 kg")
    assert await said(bench.published) == kg(1.5, 2.5)


async def test_values_of_another_meaning_are_forgotten() -> None:
    bench = Bench()
    with bench.open():
        bench.say("12.5 kg")
    with bench.open():
        assert bench.values.newest == {"weight": Reading(12.5, 1)}
    with bench.open({"weight": {"regex": "(.*) g"}}):
        assert bench.values.newest == {}


# Which samples go up


@in_virtual_time
async def test_of_many_frames_one_goes_up_every_so_often() -> None:
    bench = Bench()
    with bench.open(publish={"every": "1s"}):
        for number in range(9):  # at 0 s, 0.3 s, ... 2.4 s
            bench.say(f"{number} kg")
            await asyncio.sleep(0.3)
        assert await said(bench.published) == kg(0, 3, 6)
    assert await said(bench.samples) == kg(*range(9))


@in_virtual_time
async def test_the_last_value_goes_up_even_if_no_other_comes() -> None:
    bench = Bench()
    with bench.open(publish={"every": "10s"}):
        bench.say("1 kg", "2 kg", "3 kg")
        assert await said(bench.published) == kg(1)
        await asyncio.sleep(10.1)
        assert await said(bench.published) == kg(3)
        await asyncio.sleep(100)
        assert await said(bench.published) == []


@in_virtual_time
async def test_what_waits_to_go_up_does_so_when_the_line_is_closed() -> None:
    bench = Bench()
    with bench.open(publish={"every": "10s"}):
        bench.say("1 kg", "2 kg")
    assert await said(bench.published) == kg(1, 2)
    await asyncio.sleep(100)
    assert await said(bench.published) == []


@in_virtual_time
async def test_a_sample_that_waited_has_all_that_came_meanwhile() -> None:
    bench = Bench()
    with bench.open(LINES, publish={"every": "10s"}):
        bench.say("G 1", "G 2", "T 3", "G --")
        await asyncio.sleep(11)
    assert await said(bench.published) == [
        {"values": {"gross": 1.0}},
        {"values": {"tare": 3.0}, "errors": {"gross": "no number: '--'"}},
    ]


@in_virtual_time
async def test_a_change_goes_up_at_once_if_it_is_larger_than_the_deadband() -> None:
    bench = Bench()
    weight = {"weight": WEIGHT["weight"] | {"deadband": 0.1}}
    with bench.open(weight, publish={"on_change": True}):
        bench.say("1 kg", "1.1 kg", "1.05 kg", "1.2 kg", "1.2 kg", "- kg", "1.3 kg")
        await asyncio.sleep(100)
    assert await said(bench.published) == kg(1, 1.2)


@in_virtual_time
async def test_a_value_that_cannot_be_read_any_more_is_a_change() -> None:
    bench = Bench()
    with bench.open({"weight": {"regex": "(.*) kg"}}, publish={"on_change": True}):
        bench.say("1 kg", "-- kg", "-- kg", "1 kg")
    error = {"values": {}, "errors": {"weight": "no number: '--'"}}
    assert await said(bench.published) == [*kg(1), error, *kg(1)]


# The config


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"values": {"v": {"regex": "([0-9+"}}}, "no regular expression"),
        ({"values": {"v": {"regex": "kg"}}}, "one group"),
        ({"values": {"v": {"regex": "(a+)+"}}}, "search for ever"),
        ({"values": {"v": {"regex": "([[a]+)"}}}, "not sure what is meant: Possible nested set"),
        ({"values": {"v": {"regex": "(.)", "type": "text", "scale": 2}}}, "scale goes with numbers"),
        ({"values": {"v": {"regex": "(.)", "type": "bool"}}}, "'float', 'int' or 'text'"),
        ({"publish": {"every": "1s"}}, "publish is about values"),
        ({"values": WEIGHT, "publish": {}}, "no sample would be published"),
    ],
    ids=str,
)
def test_values_that_cannot_be_picked_are_told_so(keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        config("/dev/ttyUSB1", **keys)


def test_with_values_a_port_is_another_thing_to_those_who_use_it() -> None:
    plain, with_values = config("/dev/ttyUSB1"), config("/dev/ttyUSB1", values=WEIGHT)
    assert plain.shape != with_values.shape
    assert with_values.shape == config("/dev/ttyUSB1", values=LINES).shape
    assert (plain.picks, with_values.picks) == ({}, {"weight": "number"})
