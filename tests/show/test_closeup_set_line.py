"""`gatewayctl status NAME` tells that a client has set a line otherwise, and who may only look on."""

from gateway.show.closeup import closeup
from gateway.show.picture import Look


def told(section: str, **record: object) -> str:
    return "\n".join(" ".join(line.split()) for line in closeup({section: {"one": record}}, Look(0.0)))


def test_a_line_that_a_client_has_set_is_shown_beside_what_is_configured() -> None:
    line = {"mode": "raw", "line": "9600 7E1", "state": "open"}
    set_by_client = told("ports", **line, flow="rts-cts", configured="115200 8N1, flow none")
    assert (
        "line 9600 7E1, raw\nset by a client, flow rts-cts; configured 115200 8N1, flow none" in set_by_client
    )
    assert "client" not in told("ports", **line)


def test_clients_that_look_on_are_counted() -> None:
    link = {"kind": "tcp", "direction": "listen", "endpoint": ":4002", "state": "listening"}
    assert "readers 2 clients of these may only look on" in told("links", **link, readers=2)
    assert "look on" not in told("links", **link, readers=0)
