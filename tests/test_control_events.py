"""The ring of what the daemon said last, and the verb that asks for it."""

import logging
from pathlib import Path

from control_kit import Daemon, connected

from gateway import control
from gateway.control import Events
from gateway.status import Life

EVENT: control.Event = {"at": "2026-03-02T14:15:02.500Z", "level": "warning", "text": "links.cloud: gone"}


def logger(events: Events, name: str) -> logging.Logger:
    """One that tells nobody else."""
    made = logging.Logger(name)
    made.addHandler(events)
    return made


def test_the_newest_events_are_kept_in_their_order() -> None:
    events = Events(most=3)
    log = logger(events, "ring")
    for number in range(5):
        log.info("links.cloud: %d", number)
    log.warning("ports.meters: away")
    assert [(event["level"], event["text"]) for event in events.told()] == [
        ("info", "links.cloud: 3"),
        ("info", "links.cloud: 4"),
        ("warning", "ports.meters: away"),
    ]
    assert all(event["at"].endswith("Z") for event in events.told())


def test_a_traceback_is_part_of_its_event_and_neither_is_too_long() -> None:
    events = Events()
    log = logger(events, "long")
    try:
        raise ZeroDivisionError("x" * 100_000)
    except ZeroDivisionError:
        log.exception("links.cloud: internal error")
    log.info("y" * 100_000)
    first, second = (event["text"] for event in events.told())
    assert first.startswith("links.cloud: internal error\nTraceback")
    assert max(len(first), len(second)) <= 2000
    assert "[...]" in first


def test_an_outage_of_a_day_pushes_nothing_out() -> None:
    """Its lines of each minute are one event, the latest; the loss itself stays."""
    events, now = Events(most=10), 0.0
    root = logging.getLogger()
    root.addHandler(events)
    try:
        lives = [Life(name, "connecting", lambda: now, lambda: now) for name in ("links.a", "links.b")]
        logging.getLogger("gateway").warning("the cause")
        for life in lives:
            life.begin()
        for _ in range(24 * 60):
            for life in lives:
                life.waits("no route to host", 60.0)
            now += 60.0
    finally:
        root.removeHandler(events)
    told = [event["text"] for event in events.told()]
    assert told[0] == "the cause"
    assert told[1:3] == [f"links.{name}: no route to host; next try in 60.0 s" for name in "ab"]
    assert told[3:] == [
        f"links.{name}: no route to host; away for 86340 s; next try in 60.0 s" for name in "ab"
    ]


async def test_the_socket_tells_them(tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.said.append(EVENT)
    async with (
        control.serve(tmp_path / "control.sock", daemon),
        connected(tmp_path / "control.sock") as client,
    ):
        assert await client.ask(verb="events") == {"ok": True, "events": [EVENT]}
        assert not (await client.ask(verb="events", name="cloud"))["ok"]
