"""The key `allow` of links that listen, and addresses in the config file."""

import asyncio
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from papers_kit import certificates
from parts_kit import Wires, running
from pydantic import TypeAdapter, ValidationError
from scada_kit import READ, Line, Scada, client, echo, server
from stream_kit import Port
from tls_kit import table, theirs

from gateway.links import modbus_server, tcp
from gateway.values import Networks

ALLOW = ["10.0.0.0/8", "127.0.0.2"]
ZERO = b"\x03\x02\x00\x00"  # the answer to READ


async def test_a_modbus_server_link_answers_only_those(free_port: int) -> None:
    line = Line(echo)
    async with server(free_port, Wires(meters=line), max_clients=1, allow=ALLOW) as link:
        async with client(free_port, "127.0.0.2") as known:
            assert await known.ask(1, READ) == ZERO
            async with client(free_port) as stranger:
                assert await stranger.rest() == b""
            assert await known.ask(1, READ) == ZERO
        assert [link.status()[key] for key in ("refused", "not_allowed")] == [0, 1]
    assert link.status()["not_allowed"] == 1
    assert {request.asker.host for request in line.asked} == {"127.0.0.2"}


async def test_a_tcp_link_serves_only_those(free_port: int, until: Until) -> None:
    config = tcp.Config.model_validate(
        {"kind": "tcp", "listen": f"127.0.0.1:{free_port}", "port": "scale", "allow": ALLOW}
    )
    port = Port()
    link = config.build("console", Wires(scale=port))
    async with running(link) as life:
        await until(lambda: life.state == "listening")
        async with client(free_port) as stranger, client(free_port, "127.0.0.2") as known:
            assert await stranger.rest() == b""
            known.send(b"weigh")
            await until(lambda: port.told == b"weigh")
        assert link.status()["not_allowed"] == 1


@pytest.mark.needs("openssl")
async def test_strangers_do_not_even_get_a_handshake(free_port: int, tmp_path: Path, until: Until) -> None:
    certificates(tmp_path)
    tls = table(tmp_path, "server", ca=None)
    async with server(free_port, Wires(meters=Line(echo)), tls=tls, allow=ALLOW) as link:
        for _ in range(20):
            async with client(free_port) as stranger:
                assert await stranger.rest() == b""
        streams = await asyncio.open_connection(
            "127.0.0.1", free_port, ssl=theirs(tmp_path, None, serves=False), local_addr=("127.0.0.2", 0)
        )
        known = Scada(*streams)
        assert await known.ask(1, READ) == ZERO
        known.writer.close()
        assert link.status()["not_allowed"] == 20


async def test_what_was_counted_stays_over_sessions(free_port: int, until: Until) -> None:
    keys = {"kind": "modbus-server", "listen": f"127.0.0.1:{free_port}", "port": "meters", "allow": ALLOW}
    link = modbus_server.Config.model_validate(keys).build("scada", Wires(meters=Line(echo)))
    for session in (1, 2):
        async with running(link) as life:
            await until(lambda: life.state == "listening")
            async with client(free_port) as stranger:
                assert await stranger.rest() == b""
            assert link.status()["not_allowed"] == session


# The config


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.8", "10.0.0.8/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.8", "10.0.0.8/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ],
)
def test_an_address_is_one_or_a_network(text: str, network: str) -> None:
    assert TypeAdapter(Networks).validate_python([text]) == (ip_network(network),)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("10.0.0.8/8", 'write "10.0.0.0/8", or for that one address "10.0.0.8"'),
        ("2001:db8::1/32", 'write "2001:db8::/32", or for that one address "2001:db8::1"'),
        ("scada.example.com", "never by name"),
        ("10.0.0.0/33", "an address is written"),
        ("10.0.0.8:502", "an address is written"),
        ("", "an address is written"),
        (10, "addresses stand in quotes"),
    ],
)
def test_what_is_no_address_is_refused_in_words(value: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(Networks).validate_python([value])


@pytest.mark.parametrize("kind", [modbus_server.Config, tcp.Config])
@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":502", "allow": []}, ("allow",), "nobody could connect"),
        ({"listen": ":502", "allow": ["10.0.0.8", "10.0.0.8/8"]}, ("allow", 1), "for that one address"),
        ({"connect": "a:502", "allow": ["10.0.0.8"]}, ("allow",), "allow goes with listen"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    kind: type[modbus_server.Config] | type[tcp.Config],
    keys: dict[str, Any],
    where: tuple[str | int, ...],
    complaint: str,
) -> None:
    name = "modbus-server" if kind is modbus_server.Config else "tcp"
    with pytest.raises(ValidationError, match=complaint) as refused:
        kind.model_validate({"kind": name, "port": "meters"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]
