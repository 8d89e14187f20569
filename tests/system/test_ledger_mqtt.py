"""What a line says reaches the broker once and in order, however the broker goes away and gatewayd dies.

Three times gatewayd is killed while the broker is away and once in the middle of the replay; then it is
stopped and started again. The one who counts is somebody else behind the broker.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import pytest
from ledger_kit import Stage
from system_kit import eventually
from wires_kit import TOOLS, Wires, wires
from witness_kit import LINK, Broker, closed, witnessed

A_FEW = 200  # lines
pytestmark = pytest.mark.needs("mosquitto")
pytest_plugins = ["show_kit"]


@dataclass(frozen=True)
class Play:
    """All who take part."""

    stage: Stage
    broker: Broker
    wires: Wires | None


@dataclass(frozen=True)
class Outage:
    name: str
    begin: Callable[[Play], None]
    end: Callable[[Play], None]
    seen: bool = True  # gatewayd lives to see it
    far: bool = False  # the broker is on another host

    def __str__(self) -> str:
        return self.name


def _start(play: Play) -> None:
    with play.stage.asleep():
        play.broker.start()


def _cut(play: Play) -> None:
    assert play.wires is not None
    play.wires.cut([play.broker.port])


def _mend(play: Play) -> None:
    assert play.wires is not None
    play.wires.mend([play.broker.port])


OUTAGES = (
    Outage("broker stopped", lambda play: play.broker.end(signal.SIGTERM), _start),
    Outage("broker killed", lambda play: play.broker.end(signal.SIGKILL), _start),
    Outage(
        "broker frozen",
        lambda play: play.broker.tell(signal.SIGSTOP),
        lambda play: play.broker.tell(signal.SIGCONT),
        seen=False,
    ),
    Outage("wire cut", _cut, _mend, far=True),
)


@contextmanager
def playing(*, far: bool = False, **buffer: str) -> Iterator[Play]:
    place: AbstractContextManager[Wires | None] = wires() if far else nullcontext()
    with place as made, witnessed({"spill_after": "1s"} | buffer, made) as (stage, broker):
        yield Play(stage, broker, made)


def in_the_replay(play: Play) -> None:
    """Until the link is up again, and has not sent everything yet."""
    before = play.broker.witness.count
    eventually(lambda: play.broker.witness.count > before + A_FEW)


@pytest.mark.needs(*TOOLS)
@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_nothing_is_lost_however_the_broker_and_gatewayd_end(
    outage: Outage, show: Callable[[str], None]
) -> None:
    with playing(far=outage.far) as play:
        outage.begin(play)
        if outage.seen:
            play.stage.daemon.comes_to(LINK, "waiting")
        for _ in range(2):
            play.stage.says(A_FEW)
            play.stage.crash()
        play.stage.spills()
        play.stage.says(A_FEW)
        play.stage.crash()
        play.stage.says(2 * A_FEW)
        outage.end(play)
        in_the_replay(play)
        play.stage.crash()
        assert play.broker.witness.count < len(play.stage.source.said_at) - A_FEW, "it came after the replay"
        play.stage.says(A_FEW)
        play.stage.restart()
        play.stage.says(A_FEW)
        ledger = closed(play.stage, play.broker, outages=1)
        assert play.stage.dropped == 0
    show(f"{outage}: {ledger}")
    assert not list(ledger.faults()), ledger


@pytest.mark.parametrize("durability", ["crash", "power"])
def test_nothing_is_lost_while_the_link_is_up(durability: str, show: Callable[[str], None]) -> None:
    with playing(durability=durability) as play:
        for _ in range(3):
            play.stage.says(A_FEW)
            play.stage.crash()
        ledger = closed(play.stage, play.broker, outages=0)
    show(f"gatewayd killed on a healthy link, {durability}: {ledger}")
    assert not list(ledger.faults()), ledger
