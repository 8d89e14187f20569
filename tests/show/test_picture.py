"""What a technician sees, word for word: tests/data/status holds records and the text that they become."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.show.closeup import closeup
from gateway.show.picture import Look, all_up, outlook, overview

RECORDS = Path(__file__).parents[1] / "data" / "status"
NOW = datetime.fromisoformat("2026-03-02T14:15:01.500Z").timestamp()
NAMES = sorted(path.stem for path in RECORDS.glob("*.json"))


def record(name: str) -> Any:
    return json.loads((RECORDS / f"{name}.json").read_text())


def golden(name: str) -> str:
    return (RECORDS / name).read_text()


def text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_in_a_file_or_pipe(name: str) -> None:
    assert text(overview(record(name), Look(NOW))) == golden(f"{name}.txt")


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_in_80_columns(name: str) -> None:
    assert text(overview(record(name), Look(NOW, width=80))) == golden(f"{name}.80.txt")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "empty"])
def test_everything_about_each_thing(name: str) -> None:
    assert text(closeup(record(name), Look(NOW))) == golden(f"{name}.closeup.txt")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [20, 40, 80, 132])
def test_no_line_but_the_problems_of_the_config_file_is_wider_than_the_terminal(
    name: str, width: int
) -> None:
    lines = overview(record(name), Look(NOW, width))
    assert [line for line in lines if len(line) > width and ".toml:" not in line] == []


def test_colour_marks_what_is_up_what_is_down_and_what_is_to_be_told() -> None:
    lines = overview(record("broker_refused"), Look(NOW, width=80, colour=True))
    red = [line for line in lines if line.startswith("\x1b[31m")]
    assert [line[5:18] for line in red] == ["pump-house-7:", "! cloud    wa"]
    assert "\x1b[33m    broker refused: not authorized; tried 37 times, next try in 42 s\x1b[0m" in lines
    assert overview(record("all_fine"), Look(NOW, colour=True))[0].startswith("\x1b[32mpump-house-7: ok")
    assert closeup(record("all_fine"), Look(NOW, colour=True))[0].startswith("\x1b[32mport meters: open")


def test_without_colour_there_is_no_escape() -> None:
    assert "\x1b" not in text(overview(record("bad_night"), Look(NOW, width=80)))


def test_nothing_is_older_than_the_daemon_when_the_clock_was_set_after_its_start() -> None:
    early = record("all_fine")
    early["gateway"]["uptime_s"] = 65.0
    early["ports"]["scale"]["since"] = "1970-01-01T00:00:09.000Z"
    lines = overview(early, Look(NOW))
    assert next(line for line in lines if line.startswith("  scale")).split()[2:4] == ["1", "min"]
    assert "port scale: open for 1 min" in closeup(early, Look(NOW))


def test_a_moment_in_the_future_is_now() -> None:
    ahead = record("all_fine")
    ahead["devices"]["main-meter"]["last_good"] = "2026-03-02T14:16:00.000Z"
    assert any("0.0 s ago" in line for line in overview(ahead, Look(NOW)))


def test_escape_sequences_in_names_and_reasons_do_not_reach_the_terminal() -> None:
    hostile = record("broker_refused")
    hostile["links"]["\x1b[2Jcloud"] = hostile["links"].pop("cloud")
    hostile["links"]["\x1b[2Jcloud"]["reason"] = "broker refused: \x1b]0;pwned\x07\r\nall is well"
    for draw in (overview, closeup):
        shown = text(draw(hostile, Look(NOW)))
        assert not {"\x1b", "\x07", "\r"} & set(shown)
        assert "?[2Jcloud" in shown


@pytest.mark.parametrize("draw", [overview, closeup])
def test_a_record_of_another_version_is_drawn_as_far_as_it_goes(
    draw: Callable[[Any, Look], list[str]],
) -> None:
    bare: dict[str, Any] = {
        "ports": {"a": {}},
        "links": {"b": {}},
        "devices": {"c": {}},
        "rockets": {"d": {}},
    }
    assert draw(bare, Look(NOW))
    assert draw({"ok": True}, Look(NOW)) is not None
    strange = record("bad_night")
    for section in ("ports", "links", "devices"):
        for thing in strange[section].values():
            for key in ("units", "peers", "buffer", "errors", "last_death", "since", "values", "attempts"):
                thing.pop(key, None)
    assert draw(strange, Look(NOW))


@pytest.mark.parametrize(
    ("name", "up"),
    [
        ("all_fine", True),
        ("empty", True),
        ("last_good_config", True),
        ("broker_refused", False),
        ("missing_tty", False),
        ("silent_device", False),
    ],
)
def test_all_is_up_only_when_every_thing_is(name: str, up: bool) -> None:
    assert all_up(record(name)) is up


@pytest.mark.parametrize(
    ("section", "name", "state"),
    [
        ("ports", "scale", "paused"),
        ("ports", "scale", "closed"),
        ("links", "cloud", "connecting"),
        ("links", "scada", "closed"),
        ("devices", "pump-meter", "unknown"),
        ("ports", "scale", "up"),
    ],
)
def test_every_other_state_is_not_up(section: str, name: str, state: str) -> None:
    changed = record("all_fine")
    changed[section][name]["state"] = state
    assert not all_up(changed)
    assert overview(changed, Look(NOW))[0].startswith("pump-house-7: ok, 1 of 7 not up")
    assert sum(line.startswith("! ") for line in overview(changed, Look(NOW))) == 1


def shown(changed: Any, start: str) -> list[str]:
    """The line of one thing and the notes below it."""
    lines = overview(changed, Look(NOW))
    at = next(number for number, line in enumerate(lines) if line[2:].startswith(start))
    more = lines[at + 1 :]
    end = next((number for number, line in enumerate(more) if not line.startswith("    ")), len(more))
    return [lines[at], *more[:end]]


def test_a_loss_of_yesterday_is_told_and_one_of_last_week_is_not() -> None:
    changed = record("all_fine")
    changed["gateway"]["uptime_s"] = 1e7
    assert "lost 2 times" in shown(changed, "cloud")[1]
    changed["links"]["cloud"]["last_death"]["at"] = "2026-02-25T00:00:00.000Z"
    assert len(shown(changed, "cloud")) == 1


def test_a_backlog_is_told_when_it_is_old_or_the_link_is_away() -> None:
    changed = record("all_fine")
    del changed["links"]["cloud"]["last_death"]
    buffer = changed["links"]["cloud"]["buffer"]
    buffer.update(records=3, bytes=700, oldest_age_s=0.4)
    assert len(shown(changed, "cloud")) == 1
    buffer["oldest_age_s"] = 31.0
    told = ["    buffer: 3 records, 700 B of 64 MB, none dropped, oldest 31 s"]
    buffer["fills_in_s"] = None
    assert shown(changed, "cloud")[1:] == told
    buffer["drain_eta_s"] = 240
    assert shown(changed, "cloud")[1:] == [*told, "    buffer: empty in about 4 min"]
    buffer.update(records=0, oldest_age_s=None, dropped=12)
    assert shown(changed, "cloud")[1:] == ["    buffer: 12 records dropped since the start"]


def test_a_buffer_in_trouble_says_so_although_nothing_waits_in_it() -> None:
    changed = record("all_fine")
    changed["links"]["cloud"]["buffer"]["trouble"] = "/data: permission denied"
    assert shown(changed, "cloud")[1] == "    buffer in memory only: /data: permission denied"
    assert "  trouble      /data: permission denied" in closeup(changed, Look(NOW))
    assert "  buffer       0 records, 0 B of 64 MB, none dropped; in memory only" in closeup(
        changed, Look(NOW)
    )


@pytest.mark.parametrize(
    ("buffer", "told"),
    [
        ({}, ""),
        ({"fills_in_s": None, "drain_eta_s": None}, ""),
        ({"fills_in_s": 21600}, "holds about 6 h at the present rate"),
        ({"fills_in_s": 500, "age_s": 3600.0}, "holds about 8 min at the present rate"),
        ({"fills_in_s": 500, "age_s": 60.0}, "holds 60 s: what is older goes"),
        ({"fills_in_s": 0}, "full"),
        ({"fills_in_s": 21600, "drain_eta_s": 260}, "empty in about 4 min"),
        ({"fills_in_s": 21600, "drain_eta_s": 0}, "empty in about 1 s"),
    ],
)
def test_what_a_buffer_is_heading_for_is_said_in_plain_words(buffer: dict[str, Any], told: str) -> None:
    assert outlook(buffer) == told


def test_a_few_spoiled_answers_are_normal_and_one_in_a_hundred_is_not() -> None:
    changed = record("all_fine")
    changed["ports"]["meters"]["errors"]["crc"] = 7300
    assert len(shown(changed, "meters")) == 1
    changed["ports"]["meters"]["errors"]["crc"] = 7400
    told = "    check wiring, baudrate and format: 7,400 crc of 734,021 answers"
    assert shown(changed, "meters")[1:] == [told]


def test_a_device_that_answers_with_errors_is_told() -> None:
    changed = record("all_fine")
    changed["devices"]["pump-meter"].update(polls=100, errors=2)
    assert shown(changed, "pump-meter")[1:] == ["    errors in 2 of 100 polls"]


def test_a_line_that_is_up_with_a_reason_says_it_without_counting_tries() -> None:
    changed = record("all_fine")
    changed["ports"]["scale"].update(reason="low_latency is not possible here", attempts=5)
    assert shown(changed, "scale")[1:] == ["    low_latency is not possible here"]


def test_peers_with_different_keepalives_are_named() -> None:
    changed = record("all_fine")
    changed["links"]["scada"]["peers"][1]["keepalive"]["idle_s"] = 90
    told = [line for line in closeup(changed, Look(NOW)) if "keep-alive" in line][:2]
    assert told[0].endswith("unacknowledged data 20 s (10.0.0.5:50112)")
    assert "after 90 s of silence" in told[1]
    assert told[1].endswith("(10.0.0.6:41833)")


def test_what_the_far_end_refused_is_told_of_a_link_that_sends() -> None:
    changed = record("all_fine")
    changed["links"]["cloud"].update(sent=12, confirmed=9, refused=2, alive=9)
    told = [line.split(maxsplit=1) for line in closeup(changed, Look(NOW))]
    assert ["sent", "12, 9 of them confirmed, 2 refused"] in told
    assert ["alive", "stands at 9"] in told
    assert not [line for line in told if line[:1] in (["refused"], ["commands"])]
    changed["links"]["cloud"]["commands"] = {"done": 12, "refused": 1, "repeated": 0}
    told = [line.split(maxsplit=1) for line in closeup(changed, Look(NOW))]
    assert ["commands", "12 done, 1 refused, 0 repeated"] in told
