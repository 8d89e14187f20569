"""A device asks on its schedule and says what it read, and what it could not read, in virtual time."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from log_kit import ours
from virtual import in_virtual_time

from gateway.contracts import Frame, Part, Rank, Reading, Request, Sampled, Transactor
from gateway.devices.model import DeviceConfig
from gateway.devices.poller import PLANNED_AFRESH, SPREAD, Device, first_wait
from gateway.errors import Busy, GatewayError, LineDown, NoAnswer
from gateway.flow import Tap
from gateway.status import Life

EPOCH = 1_700_000_000.0  # wall time at loop time 0
REFUSED = b"\x02"
Answers = Callable[[int, int], bytes | GatewayError]


def registers(address: int, count: int) -> bytes:
    """A device in which every register holds its own address."""
    return b"".join(number.to_bytes(2, "big") for number in range(address, address + count))


def lacks(*missing: int) -> Answers:
    """A device without these registers."""
    return lambda address, count: (
        REFUSED if set(missing) & set(range(address, address + count)) else registers(address, count)
    )


class Line:
    """A port with one device of holding registers behind it, which answers after `latency` seconds."""

    def __init__(self, answers: Answers = registers, latency: float = 0.01) -> None:
        self.answers, self.latency = answers, latency
        self.asked: list[tuple[float, Request]] = []
        self.withdrawn = 0

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        self.asked.append((loop.time(), request))
        answer: asyncio.Future[bytes] = loop.create_future()
        answer.add_done_callback(self._count)
        loop.call_later(self.latency, self._answer, request, answer)
        return answer

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(address, count) of every request, in order."""
        return [
            (int.from_bytes(one.pdu[1:3], "big"), int.from_bytes(one.pdu[3:5], "big"))
            for _, one in self.asked
        ]

    def _answer(self, request: Request, answer: asyncio.Future[bytes]) -> None:
        address, count = int.from_bytes(request.pdu[1:3], "big"), int.from_bytes(request.pdu[3:5], "big")
        if answer.done():
            return
        match self.answers(address, count):
            case GatewayError() as error:
                answer.set_exception(error)
            case bytes() as code if len(code) == 1:
                answer.set_result(b"\x83" + code)
            case data:
                answer.set_result(bytes((3, len(data))) + data)

    def _count(self, answer: asyncio.Future[bytes]) -> None:
        self.withdrawn += answer.cancelled()


def config(*addresses: int, **keys: Any) -> DeviceConfig:
    points = {f"p{address}": {"holding": address} for address in addresses}
    table = {"port": "meters", "unit_id": 7, "poll_interval": "1s", "points": points} | keys
    return DeviceConfig.model_validate(table).with_model(None)


def wall() -> float:
    return EPOCH + asyncio.get_running_loop().time()


def device(line: Line, settings: DeviceConfig, name: str = "main-meter") -> Device:
    return Device(name, settings, line, wall)


@asynccontextmanager
async def polling(part: Device) -> AsyncIterator[Life]:
    life = Life("main-meter", "unknown", asyncio.get_running_loop().time, wall)
    session = asyncio.create_task(part.session(life))
    try:
        yield life
    finally:
        session.cancel()
        with suppress(asyncio.CancelledError):
            await session


async def samples(tap: Tap[Frame], count: int) -> list[dict[str, Any]]:
    found: list[Frame] = []
    while len(found) < count:
        found += await tap.take()
    return [json.loads(frame.data) for frame in found]


def test_a_device_is_a_part_and_sampled_and_a_line_a_transactor() -> None:
    made: Part = Device("d", config(0), Line())

    assert isinstance(made, Sampled)
    assert isinstance(Line(), Transactor)


@in_virtual_time
async def test_a_sample_has_all_values_and_the_wall_time_of_the_first_answer() -> None:
    line = Line(latency=0.25)
    meter = device(line, config(points={"a": {"holding": 300}, "b": {"holding": 5, "scale": 0.1}}))
    with meter.frames.tap() as tap:
        async with polling(meter):
            (frame,) = await tap.take()

    assert frame.data == b'{"values":{"b":0.5,"a":300}}'
    assert frame.at == pytest.approx(EPOCH + line.asked[0][0] + 0.25)


@in_virtual_time
async def test_a_device_asks_with_the_lowest_rank_and_always_as_the_same_asker() -> None:
    line = Line()
    for _ in range(2):
        meter = device(line, config(0))
        with meter.frames.tap() as tap:
            async with polling(meter):
                await samples(tap, 1)

    asked = {(request.unit, request.rank, request.asker) for _, request in line.asked}
    ((unit, rank, asker),) = asked
    assert (unit, rank, asker.host) == (7, Rank.POLL, "device")


@in_virtual_time
async def test_two_devices_are_two_askers() -> None:
    line = Line()
    for name in ("main-meter", "sub-meter"):
        meter = device(line, config(0), name)
        with meter.frames.tap() as tap:
            async with polling(meter):
                await samples(tap, 1)

    assert len({request.asker for _, request in line.asked}) == 2


@in_virtual_time
async def test_rounds_begin_exactly_one_interval_apart_however_long_they_take() -> None:
    line = Line(latency=0.3)
    meter = device(line, config(0, 500))
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 100)

    begins = [at for (at, _), (address, _) in zip(line.asked, line.spans, strict=True) if address == 0]
    first = first_wait("main-meter", 1.0)
    assert begins == pytest.approx([first + number for number in range(100)], abs=1e-6)


@in_virtual_time
async def test_a_round_longer_than_its_interval_skips_whole_intervals() -> None:
    line = Line(latency=2.5)
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 3)

    first = line.asked[0][0]
    assert [at - first for at, _ in line.asked] == pytest.approx([0.0, 3.0, 6.0])


def test_the_devices_of_a_bus_begin_at_different_times() -> None:
    waits = sorted(first_wait(f"meter-{number}", 5.0) for number in range(1, 32))

    assert waits[0] >= 0.0
    assert waits[-1] < 5.0
    for quarter in range(4):
        assert any(1.25 * quarter <= wait < 1.25 * (quarter + 1) for wait in waits)
    assert first_wait("meter-1", 3600.0) < SPREAD


@in_virtual_time
async def test_a_value_that_is_no_reading_is_absent_and_named() -> None:
    points = {"good": {"holding": 1}, "odd": {"holding": 2, "invalid": 2}}
    meter = device(Line(), config(points=points))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {"good": 1}, "errors": {"odd": "the device has no reading (raw value 2)"}}
    assert (life.state, life.reason) == ("ok", "odd: the device has no reading (raw value 2)")
    assert meter.present == b"online"


@in_virtual_time
async def test_one_lost_answer_costs_only_the_points_of_that_read() -> None:
    line = Line(lambda address, count: NoAnswer("no answer in 1 s") if address else registers(address, count))
    meter = device(line, config(0, 500, 501))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            (sample,) = await samples(tap, 1)

    assert sample == {
        "values": {"p0": 0},
        "errors": {"p500": "no answer in 1 s", "p501": "no answer in 1 s"},
    }
    assert (life.state, life.reason) == ("ok", "p500: no answer in 1 s (and 1 more)")


@in_virtual_time
async def test_a_gap_that_the_device_does_not_have_loses_no_point() -> None:
    line = Line(lacks(3))
    meter = device(line, config(0, 1, 5, 6))
    with meter.frames.tap() as tap:
        async with polling(meter):
            first, second = await samples(tap, 2)

    assert first == second == {"values": {"p0": 0, "p1": 1, "p5": 5, "p6": 6}}
    assert line.spans == [(0, 7), (0, 2), (5, 2), (0, 2), (5, 2)]


@in_virtual_time
async def test_one_wrong_address_is_found_and_costs_only_its_own_point() -> None:
    line = Line(lacks(2))
    meter = device(line, config(*range(8)))
    with meter.frames.tap() as tap:
        async with polling(meter):
            first, second = await samples(tap, 2)

    assert first == second
    assert first["errors"] == {"p2": "exception 02 illegal data address"}
    assert sorted(first["values"]) == ["p0", "p1", "p3", "p4", "p5", "p6", "p7"]
    assert line.spans[-4:] == [(0, 2), (2, 1), (3, 1), (4, 4)]


@in_virtual_time
async def test_a_device_that_gives_less_at_once_than_configured_is_asked_for_less() -> None:
    line = Line(lambda address, count: b"\x03" if count > 8 else registers(address, count))
    meter = device(line, config(*range(12)))
    with meter.frames.tap() as tap:
        async with polling(meter):
            first, second = await samples(tap, 2)

    assert first == second == {"values": {f"p{number}": number for number in range(12)}}
    assert line.spans == [(0, 12), (0, 6), (6, 6), (0, 6), (6, 6)]


@in_virtual_time
async def test_a_read_of_which_no_part_is_there_is_asked_once_per_round() -> None:
    line = Line(lacks(0, 1))
    meter = device(line, config(0, 1))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            await samples(tap, 3)

    assert line.spans == [(0, 2), (0, 1), (1, 1), (0, 2), (0, 2)]
    assert life.state == "unknown"
    assert "exception 02 illegal data address" in life.reason


@in_virtual_time
async def test_a_line_lost_while_a_read_was_split_leaves_it_to_be_split_again() -> None:
    line = Line(lacks(1))
    meter = device(line, config(0, 2))
    line.answers = lambda address, count: REFUSED if count > 1 else LineDown("no such device /dev/ttyUSB0")
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 1)
            line.answers = lacks(1)
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {"p0": 0, "p2": 2}}


@in_virtual_time
async def test_a_plan_that_was_spoiled_by_a_starting_device_is_made_afresh_in_time() -> None:
    line = Line(lacks(1))
    meter = device(line, config(0, 2))
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 1)
            line.answers = registers
            await samples(tap, PLANNED_AFRESH)

    assert line.spans[:5] == [(0, 3), (0, 1), (2, 1), (0, 1), (2, 1)]
    assert line.spans[-1] == (0, 3)


@in_virtual_time
async def test_a_device_is_online_after_the_first_good_read_and_offline_when_nothing_answers() -> None:
    line = Line()
    meter = device(line, config(0))
    assert meter.present == b""
    with meter.frames.tap() as tap, meter.presence.tap() as presence:
        async with polling(meter) as life:
            await samples(tap, 2)
            assert (meter.present, life.state) == (b"online", "ok")
            line.answers = lambda address, count: NoAnswer("no answer in 1 s")
            await samples(tap, 2)
            assert (meter.present, life.state, life.reason) == (b"offline", "silent", "no answer in 1 s")
            line.answers = registers
            await samples(tap, 1)
        assert await presence.take() == [b"online", b"offline", b"online"]


@in_virtual_time
async def test_a_device_that_never_answered_is_offline_too() -> None:
    meter = device(Line(lambda address, count: NoAnswer("no answer in 1 s")), config(0))
    with meter.frames.tap() as tap:
        async with polling(meter):
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {}, "errors": {"p0": "no answer in 1 s"}}
    assert meter.present == b"offline"


@pytest.mark.parametrize("answer", [b"\x04", b"\x00\x01\x00\x02"], ids=["exception", "wrong length"])
def test_a_device_that_answers_but_gives_nothing_is_not_offline(answer: bytes) -> None:
    @in_virtual_time
    async def run() -> None:
        line = Line()
        meter = device(line, config(0))
        with meter.frames.tap() as tap:
            async with polling(meter) as life:
                await samples(tap, 1)
                line.answers = lambda address, count: answer
                await samples(tap, 1)
                assert (meter.present, life.state) == (b"online", "unknown")

    run()


@in_virtual_time
async def test_a_question_that_never_left_says_nothing_about_the_device() -> None:
    line = Line()
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            await samples(tap, 1)
            line.answers = lambda address, count: Busy("16 requests wait")
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {}, "errors": {"p0": "16 requests wait"}}
    assert (meter.present, life.state, life.reason) == (b"online", "ok", "p0: 16 requests wait")


@in_virtual_time
async def test_a_silent_device_costs_one_read_per_round() -> None:
    line = Line(lambda address, count: NoAnswer("no answer in 1 s"))
    meter = device(line, config(0, 500, 1000))
    with meter.frames.tap() as tap:
        async with polling(meter):
            first, second = await samples(tap, 2)
            assert line.spans == [(0, 1), (0, 1)]
            line.answers = registers
            (third,) = await samples(tap, 1)

    assert (
        first
        == second
        == {"values": {}, "errors": dict.fromkeys(("p0", "p500", "p1000"), "no answer in 1 s")}
    )
    assert sorted(third["values"]) == ["p0", "p1000", "p500"]


@in_virtual_time
async def test_a_line_that_is_down_is_a_reason_and_not_the_end() -> None:
    line = Line(lambda address, count: LineDown("no such device /dev/ttyUSB0"), latency=0.0)
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            await samples(tap, 3)
            assert (life.state, life.reason) == ("silent", "no such device /dev/ttyUSB0")
            line.answers = registers
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {"p0": 0}}
    first = line.asked[0][0]
    assert [at - first for at, _ in line.asked] == pytest.approx([0.0, 1.0, 2.0, 3.0])


@in_virtual_time
async def test_status_tells_the_last_good_values_and_when_they_were_read() -> None:
    line = Line(latency=0.0)
    meter = device(line, config(3))
    before = meter.status()
    with meter.frames.tap() as tap:
        async with polling(meter):
            (frame,) = await tap.take()
            line.answers = lambda address, count: NoAnswer("no answer in 1 s")
            await samples(tap, 2)

    record = {"port": "meters", "unit_id": 7}
    assert before == {
        **record,
        "present": "",
        "last_good": None,
        "polls": 0,
        "errors": 0,
        "values": {},
    }
    assert frame.at == pytest.approx(EPOCH + first_wait("main-meter", 1.0))
    assert meter.status() == {
        **record,
        "present": "offline",
        "last_good": "2023-11-14T22:13:20" + f"{frame.at - EPOCH:.3f}Z"[1:],
        "polls": 3,
        "errors": 2,
        "values": {"p3": 3},
    }


def changing(*values: int | GatewayError) -> Answers:
    """Each poll brings the next one, and the last of them for ever."""
    left = [*values]

    def answers(address: int, count: int) -> bytes | GatewayError:
        value = left.pop(0) if len(left) > 1 else left[0]
        return value if isinstance(value, GatewayError) else value.to_bytes(2, "big")

    return answers


@in_virtual_time
async def test_what_is_published_is_what_the_rule_says_and_the_status_has_every_poll() -> None:
    silent = NoAnswer("no answer in 1 s")
    points = {"p": {"holding": 0, "deadband": 2, "scale": 0.5}}
    settings = config(points=points, publish={"every": "8s", "on_change": True})
    meter = device(Line(changing(10, 13, 14, 15, silent, silent, 15, 15)), settings)
    with meter.samples.tap() as every, meter.frames.tap() as published, meter.presence.tap() as presence:
        async with polling(meter):
            all_of_them = await samples(every, 16)
            seen = meter.status()["values"]
        there = [json.loads(frame.data) for frame in await published.take()]
        assert await presence.take() == [b"online", b"offline", b"online"]

    read = [sample["values"].get("p") for sample in all_of_them]
    assert read == [5.0, 6.5, 7.0, 7.5, None, None, *[7.5] * 10]
    assert [sample["values"].get("p") for sample in there] == [5.0, 7.5, None, 7.5, 7.5]
    assert there[2]["errors"] == {"p": "no answer in 1 s"}
    assert seen == {"p": 7.5}


@in_virtual_time
async def test_the_first_sample_of_a_session_is_always_published() -> None:
    meter = device(Line(), config(0, publish={"on_change": True}))
    for _ in range(2):
        with meter.samples.tap() as every, meter.frames.tap() as published:
            async with polling(meter):
                await samples(every, 5)
            assert len(await published.take()) == 1


@in_virtual_time
async def test_nobody_is_asked_while_a_buffer_that_keeps_the_samples_has_no_room() -> None:
    line = Line()
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter) as life:
            await samples(tap, 1)
            tap.hold(True)
            asked = len(line.asked)
            await asyncio.sleep(10)
            assert len(line.asked) == asked
            assert (life.state, life.reason) == ("ok", 'not asked: a buffer with when_full = "block" is full')
            tap.hold(False)
            await samples(tap, 2)
            assert life.reason == ""


@in_virtual_time
async def test_a_new_config_counts_from_the_next_session_and_forgets_nothing() -> None:
    meter = device(Line(), config(0))
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 2)
        meter.config = config(9)
        async with polling(meter) as life:
            await asyncio.sleep(0)
            assert life.state == "ok"
            (sample,) = await samples(tap, 1)

    assert sample == {"values": {"p9": 9}}
    assert meter.status()["polls"] == 3


@in_virtual_time
async def test_a_session_that_ends_withdraws_its_question() -> None:
    line = Line(latency=60.0)
    async with polling(device(line, config(0))):
        while not line.asked:
            await asyncio.sleep(1.0)

    assert line.withdrawn == 1


@in_virtual_time
async def test_a_trace_shows_each_sample_while_somebody_looks() -> None:
    meter = device(Line(lacks(1)), config(0, 1))
    with meter.trace.tap() as trace:
        async with polling(meter):
            (line,) = await trace.take()

    assert (line.way, line.text) == ("rx", "p1: exception 02 illegal data address")
    assert json.loads(line.data)["values"] == {"p0": 0}


@in_virtual_time
async def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    line = Line()
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter):
            await samples(tap, 3)
            line.answers = lambda address, count: NoAnswer("no answer in 1 s")
            await samples(tap, 3)

    assert [record.getMessage() for record in ours(caplog)] == [
        "main-meter: ok",
        "main-meter: silent: no answer in 1 s",
    ]


@in_virtual_time
async def test_a_device_that_flaps_is_a_few_lines_a_minute_and_the_last_one_is_true(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    line = Line()
    well = line.answers
    meter = device(line, config(0))
    with meter.frames.tap() as tap:
        async with polling(meter):
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - began < 600:
                line.answers = lambda address, count: NoAnswer("no answer in 1 s")
                await samples(tap, 1)
                line.answers = well
                await samples(tap, 1)
            told = len(ours(caplog))
            assert 20 < told < 50
            while asyncio.get_running_loop().time() - began < 700:
                await samples(tap, 1)

    assert ours(caplog)[-1].getMessage() == "main-meter: ok"
    assert len(ours(caplog)) <= told + 1


# What it knows of each point


@in_virtual_time
async def test_of_each_point_the_last_value_that_could_be_read_is_known_and_of_which_poll() -> None:
    line = Line()
    meter = device(line, config(0, 500))
    assert (meter.newest, meter.unread) == ({}, {})
    with meter.samples.tap() as tap:
        async with polling(meter):
            await samples(tap, 1)
            first = meter.newest
            assert first == {"p0": Reading(0, 1), "p500": Reading(500, 1)}
            line.answers = lacks(500)
            await samples(tap, 1)
            assert meter.newest == {"p0": Reading(0, 2), "p500": Reading(500, 1)}
            assert meter.unread == {"p500": "exception 02 illegal data address"}
            line.answers = lambda address, count: NoAnswer("unit 7 does not answer")
            await samples(tap, 1)
            assert meter.newest["p0"] == Reading(0, 2)
            assert meter.unread.keys() == {"p0", "p500"}
            line.answers = registers
            await samples(tap, 1)
            assert (meter.newest["p500"], meter.unread) == (Reading(500, 4), {})
    assert first == {"p0": Reading(0, 1), "p500": Reading(500, 1)}


@in_virtual_time
async def test_what_is_known_is_as_new_as_the_sample_that_is_pushed() -> None:
    meter = device(Line(), config(7))
    seen: list[int] = []

    def look(sample: Frame) -> bool:
        seen.append(meter.newest["p7"].poll)
        return True

    with meter.samples.tap(offer=look):
        async with polling(meter):
            await asyncio.sleep(SPREAD + 3)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 2


@in_virtual_time
async def test_after_a_reload_nothing_is_known_of_points_that_may_be_others_now() -> None:
    meter = device(Line(), config(7))
    with meter.samples.tap() as tap:
        for settings in (config(7), config(8)):
            meter.config = settings
            async with polling(meter):
                await samples(tap, 1)
                assert [*meter.newest] == [*settings.points]
