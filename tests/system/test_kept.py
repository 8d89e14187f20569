"""What a link keeps while nobody is there, as gatewayctl tells it, copies it and throws it away."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from accounts_kit import line
from ledger_kit import Stage, stage
from system_kit import eventually, mqtt, raw_port

from gateway.demo.gatewayd import free_port

A_FEW = 300  # lines
SOURCE = raw_port("source", "{tty}")


@pytest.fixture
def play() -> Iterator[Stage]:
    """A line that talks, and a broker that is not there."""
    link = mqtt("cloud", free_port(), buffer={"spill_after": "1s"})
    with stage(0.005, SOURCE + link, "links.cloud") as begun:
        begun.says(A_FEW)
        yield begun


def kept(play: Stage) -> dict[str, Any]:
    """By name."""
    buffers: dict[str, Any] = json.loads(play.daemon.ctl("--json", "buffer").stdout)["buffers"]
    return buffers


def exported(play: Stage, name: str) -> list[dict[str, Any]]:
    file = play.daemon.folder / "copy.jsonl"
    done = play.daemon.ctl("buffer", "export", "--force", name, str(file))
    records = [json.loads(record) for record in file.read_text().splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(records):,} records in {file}\n"
    return records


def said(numbers: range) -> list[str]:
    return [line(number).decode().strip() for number in numbers]


def test_in_an_outage_it_is_shown_copied_and_cleared(play: Stage) -> None:
    eventually(lambda: kept(play)["cloud"]["written_today_bytes"])  # some of it is on the disk by now
    cloud = eventually(lambda: kept(play)["cloud"] if kept(play)["cloud"]["fills_in_s"] else None)
    assert (cloud["kind"], cloud["configured"], cloud["durability"]) == ("mqtt", True, "crash")
    assert cloud["records"] >= A_FEW
    assert cloud["trouble"] is None
    head, row, outlook = play.daemon.ctl("buffer").stdout.splitlines()
    assert head.split()[:3] == ["BUFFER", "RECORDS", "SIZE"]
    assert row.split()[0] == "cloud"
    assert outlook.startswith("    holds ")
    assert "\n    buffer: holds " in play.daemon.ctl("status").stdout

    told = len(play.source.said_at)
    eventually(lambda: kept(play)["cloud"]["records"] >= told)
    records = exported(play, "cloud")
    assert len(records) >= told
    assert [record["text"] for record in records] == said(range(1, len(records) + 1))
    assert {record["stream"] for record in records} == {"port/source"}
    first = records[0]["seq"]
    assert [record["seq"] for record in records] == list(range(first, first + len(records)))
    assert [record["ts"] for record in records] == sorted(record["ts"] for record in records)

    cleared = json.loads(play.daemon.ctl("--json", "buffer", "clear", "cloud", "--yes").stdout)
    assert cleared["records"] >= len(records)
    rest = eventually(lambda: exported(play, "cloud"))
    assert rest[0]["seq"] == first + cleared["records"]
    assert rest[0]["text"] == said(range(cleared["records"] + 1, cleared["records"] + 2))[0]


def test_what_a_link_left_when_it_left_the_config_stays_until_it_is_cleared(play: Stage) -> None:
    config = play.daemon.file.read_text()
    play.daemon.file.write_text(config[: config.index("[links.cloud]")])
    play.daemon.reload_by_ctl()
    left = kept(play)
    assert list(left) == ["cloud.mqtt"]
    assert left["cloud.mqtt"]["configured"] is False
    records = exported(play, "cloud.mqtt")
    assert len(records) == left["cloud.mqtt"]["records"] >= A_FEW
    assert [record["text"] for record in records] == said(range(1, len(records) + 1))
    assert play.daemon.status()["gateway"]["state"] == "ok"
    assert play.daemon.ctl("buffer", "cloud").returncode == 1

    play.restart()
    assert exported(play, "cloud.mqtt") == records
    done = play.daemon.ctl("buffer", "clear", "--yes", "cloud.mqtt")
    assert done.stdout == f"cloud.mqtt: {len(records):,} records cleared\n"
    eventually(lambda: not kept(play))
    assert play.daemon.ctl("buffer").stdout == "no link keeps anything\n"
