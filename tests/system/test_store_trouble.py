"""Whatever happens to the disk, the gateway goes on from memory, says so, and comes back to the disk by
itself.

In each case the broker is away meanwhile, and the books are exact afterwards.
"""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from disk_kit import TOOLS, Disk, disk
from ledger_kit import Stage
from system_kit import eventually
from witness_kit import LINK, Broker, closed, witnessed

A_FEW = 200  # lines
pytestmark = pytest.mark.needs("mosquitto")


@dataclass(frozen=True)
class Play:
    """All who take part."""

    stage: Stage
    broker: Broker

    @property
    def buffer(self) -> dict[str, Any]:
        buffer: dict[str, Any] = self.stage.daemon.part(LINK)["buffer"]
        return buffer

    def broker_goes(self) -> None:
        self.broker.end(signal.SIGTERM)
        self.stage.daemon.comes_to(LINK, "waiting")

    def broker_comes(self) -> None:
        with self.stage.asleep():
            self.broker.start()

    def says_of_the_disk(self, word: str) -> None:
        """In the status, and the log; and goes on."""
        eventually(lambda: word in (self.buffer["trouble"] or "").lower())
        assert word in self.stage.daemon.log.lower()
        before = self.buffer["records"]
        self.stage.says(A_FEW)
        eventually(lambda: self.buffer["records"] > before)
        assert self.buffer["capacity_bytes"] >= self.buffer["bytes"]

    def is_well_again(self) -> None:
        eventually(lambda: self.buffer["trouble"] is None)

    def closes_the_books(self) -> None:
        """All is there, and none was dropped."""
        ledger = closed(self.stage, self.broker, outages=1)
        print(ledger)
        assert not list(ledger.faults()), ledger
        assert self.stage.dropped == 0


@contextmanager
def playing(place: Disk | None = None) -> Iterator[Play]:
    buffer = {"spill_after": "1s"}
    if place is None:
        with witnessed(buffer) as (stage, broker):
            yield Play(stage, broker)
        return
    with witnessed(buffer, None, place.before, STATE_DIRECTORY=str(place.folder)) as (stage, broker):
        yield Play(stage, broker)


@pytest.mark.needs(*TOOLS)
def test_a_disk_that_is_too_small_is_not_used_before_it_has_grown() -> None:
    with disk("1m") as place, playing(place) as play:
        place.fill(but=700_000)
        play.broker_goes()
        play.says_of_the_disk("full")
        place.remount("size=8m")
        play.is_well_again()
        eventually(lambda: "cloud.mqtt.sqlite" in place.files())
        play.broker_comes()
        play.closes_the_books()


@pytest.mark.needs(*TOOLS)
@pytest.mark.parametrize("left", [0, 400_000])  # bytes; the second is less than must be left free
def test_a_disk_that_others_fill_is_used_again_when_they_have_gone(left: int) -> None:
    with disk("8m") as place, playing(place) as play:
        play.broker_goes()
        eventually(lambda: "cloud.mqtt.sqlite" in place.files())
        place.fill(but=left)
        play.says_of_the_disk("full")
        place.empty()
        play.is_well_again()
        assert play.stage.dropped == 0
        play.stage.crash()
        play.broker_comes()
        play.closes_the_books()


@pytest.mark.needs(*TOOLS)
@pytest.mark.parametrize(
    ("wrong", "right", "word"),
    [
        ("chmod 555 .", "chmod 755 .", "permission denied"),
        ("mount -o remount,ro .", "mount -o remount,rw .", "read-only"),
    ],
)
def test_a_disk_that_cannot_be_written_to_is_used_once_it_can(wrong: str, right: str, word: str) -> None:
    with disk("8m") as place:
        place.run(wrong)
        with playing(place) as play:
            play.broker_goes()
            play.says_of_the_disk(word)
            place.run(right)
            play.is_well_again()
            eventually(lambda: "cloud.mqtt.sqlite" in place.files())
            play.stage.crash()
            play.broker_comes()
            play.closes_the_books()


def test_a_state_directory_that_was_removed_is_made_again() -> None:
    with playing() as play:
        state = play.stage.daemon.folder / "state"
        file = state / "buffers" / "cloud.mqtt.sqlite"
        play.broker_goes()
        play.stage.spills()
        shutil.rmtree(state.rename(state.with_name("gone")))
        play.stage.says(A_FEW)
        eventually(file.exists)
        play.is_well_again()
        gone = play.stage.dropped
        play.stage.crash()
        play.broker_comes()
        ledger = closed(play.stage, play.broker, outages=1)
        assert len(ledger.lost) == gone, ledger  # what stood there, and it was counted
        assert not ledger.reordered
        assert ledger.seq_rises
