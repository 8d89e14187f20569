"""`gatewayctl status NAME` tells who was not let in, for whom there was no place, what is not permitted."""

from gateway.show.closeup import closeup
from gateway.show.picture import Look


def told(**counts: int) -> list[str]:
    link = {"kind": "modbus-server", "direction": "listen", "endpoint": ":502", "state": "listening"}
    lines = closeup({"links": {"scada": link | counts}}, Look(0.0))
    return [" ".join(line.split()) for line in lines[2:]]


def test_each_reason_has_a_line_of_its_own() -> None:
    assert told(refused=1, not_allowed=1203, denied=7) == [
        "refused 1 client",
        "not allowed 1,203 connections from addresses that allow does not name",
        "denied 7 requests that access does not permit",
    ]


def test_what_never_happened_is_not_told() -> None:
    assert told(refused=0, not_allowed=0, denied=0) == told() == []
