"""What `gatewayctl status NAME` says of a driver's RS-485 mode."""

import pytest

from gateway.show.closeup import closeup
from gateway.show.picture import Look

MODE = {
    "rts_on_send": True,
    "rts_after_send": False,
    "rx_during_tx": False,
    "delay_before_ms": 0,
    "delay_after_ms": 0,
}


def shown(mode: object) -> list[str]:
    lines = closeup({"ports": {"meters": {"state": "open", "rs485": mode}}}, Look(0.0))
    return [" ".join(line.split()) for line in lines if "RS-485" in line]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "RTS on while we send, off after"),
        ({"rts_on_send": False, "rts_after_send": True}, "RTS off while we send, on after"),
        ({"delay_before_ms": 3}, "RTS on while we send, off after, 3 ms before"),
        (
            {"delay_after_ms": 2, "rx_during_tx": True},
            "RTS on while we send, off after, 2 ms behind, hears itself",
        ),
    ],
)
def test_a_mode_is_one_sentence(changed: dict[str, object], words: str) -> None:
    assert shown(MODE | changed) == [f"RS-485 by the driver: {words}"]


@pytest.mark.parametrize("mode", [None, {}])
def test_no_mode_is_no_line(mode: object) -> None:
    assert shown(mode) == []
