"""What config tables share: values with units, and the tables that every link has."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.settings import Identity, LinkTables, Liveness, PortConfig, Reconnect
from gateway.values import (
    Connect,
    Duration,
    Endpoint,
    Fault,
    FilePath,
    Listen,
    Model,
    Names,
    Octets,
    PortName,
    Size,
    duration,
    endpoint,
    unit_range,
)


def read(kind: Any, value: object, **context: object) -> Any:
    return TypeAdapter(kind).validate_python(value, context=context)


def refusals(make: Callable[[], object]) -> dict[tuple[int | str, ...], str]:
    """Where and why a value is refused."""
    with pytest.raises(ValidationError) as caught:
        make()
    return {error["loc"]: error["msg"] for error in caught.value.errors()}


# Values with units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("20s", 20),
        ("20 s", 20),
        ("0.5s", 0.5),
        ("0s", 0),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604_800),
    ],
)
def test_a_time_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert read(Duration, text) == seconds
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "wrong", ["20", "20 sec", "-1s", "s", "", "1.s", ".5s", "1e3s", "1s ", "1  s", 20, 1.5, None, True]
)
def test_a_time_without_unit_is_told_how_to_write_it(wrong: object) -> None:
    (words,) = refusals(lambda: read(Duration, wrong)).values()

    assert words.endswith('a time is a number and its unit in quotes: "500ms", "20s", "5m", "2h", "7d"')


@given(st.floats(0, 1e6).map(lambda value: round(value, 3)))
def test_a_time_is_read_as_it_is_written(value: float) -> None:
    assert duration(f"{value:.3f}ms") == pytest.approx(value / 1000)


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KB", 65_536), ("1 MB", 1_048_576), ("2GB", 2_147_483_648)]
)
def test_a_size_is_a_number_and_its_unit(text: str, size: int) -> None:
    assert read(Size, text) == size


@pytest.mark.parametrize("wrong", ["64", "64kb", "64K", "1.5MB", "-1B", 64, None])
def test_a_size_without_unit_is_told_how_to_write_it(wrong: object) -> None:
    (words,) = refusals(lambda: read(Size, wrong)).values()

    assert words.endswith('a size is a number and its unit in quotes: "512B", "64KB", "1MB", "2GB"')


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5:502", "10.0.0.5", 502),
        ("broker.example:1883", "broker.example", 1883),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("[::]:1", "::", 1),
    ],
)
def test_an_address_is_host_and_port_and_is_shown_as_it_was_written(text: str, host: str, port: int) -> None:
    assert read(Connect, text) == (read(Listen, text),) == (Endpoint(host, port),)
    assert str(endpoint(text)) == text


def test_a_link_may_have_several_far_ends_in_their_order() -> None:
    assert read(Connect, ["b:1", "a:2"]) == (Endpoint("b", 1), Endpoint("a", 2))
    assert "at least one is needed" in refusals(lambda: read(Connect, []))[()]
    assert 'an address is written "10.0.0.5:502"' in refusals(lambda: read(Connect, ["a:1", "b"]))[()]


def test_only_who_listens_may_leave_the_host_out() -> None:
    assert read(Listen, ":502") == Endpoint("", 502)
    assert '"10.0.0.5:502"' in refusals(lambda: read(Connect, ":502"))[()]


@pytest.mark.parametrize(
    "wrong", ["10.0.0.5", "502", 502, "2001:db8::1:502", "[::1]", "a:b", "a:", "a:-1", "tcp://a:1", None]
)
def test_what_is_no_address_is_told_how_to_write_one(wrong: object) -> None:
    for kind in (Connect, Listen):
        assert 'an address is written "10.0.0.5:502"' in refusals(partial(read, kind, wrong))[()]


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_tcp_port_is_1_to_65535(port: str) -> None:
    assert "a TCP port is 1 to 65535" in refusals(lambda: read(Listen, f"a:{port}"))[()]


def test_a_tcp_port_in_the_place_of_a_ports_name_is_told_where_it_goes() -> None:
    assert read(PortName, "meters") == "meters"
    assert "the TCP port goes into listen" in refusals(lambda: read(PortName, 502))[()]


@pytest.mark.parametrize(
    ("text", "expected"), [("ca.pem", "/etc/gateway/ca.pem"), ("/x/ca.pem", "/x/ca.pem")]
)
def test_a_path_is_relative_to_the_config_file(text: str, expected: str) -> None:
    assert read(FilePath, text, folder=Path("/etc/gateway")) == Path(expected)


@pytest.mark.parametrize("wrong", ["", 5, None])
def test_a_path_is_text(wrong: object) -> None:
    assert "a path is text in quotes" in refusals(lambda: read(FilePath, wrong))[()]


def test_a_list_of_names_can_be_compared_and_hashed() -> None:
    assert read(Names, ["a", "b"]) == ("a", "b")


# Tables


class Table(Model):
    """Two values that have to fit together."""

    low: int = 0
    high: int = 10

    def faults(self) -> Iterator[Fault]:
        if self.low > self.high:
            yield Fault(("low",), "low is above high")
        if self.high > 100:
            yield Fault(("high",), "high is above 100")


def test_an_unknown_key_a_wrong_type_and_a_number_that_is_none_are_refused() -> None:
    class Numbers(Model):
        ratio: float = 0.0

    assert set(refusals(lambda: Table.model_validate({"lwo": 1, "high": "5"}))) == {("lwo",), ("high",)}
    assert set(refusals(lambda: Numbers.model_validate({"ratio": float("nan")}))) == {("ratio",)}


def test_a_table_does_not_change() -> None:
    assert ("low",) in refusals(lambda: setattr(Table(), "low", 5))


def test_every_fault_is_told_at_its_key() -> None:
    class Outer(Model):
        table: Table

    assert refusals(lambda: Outer.model_validate({"table": {"low": 200, "high": 150}})) == {
        ("table", "low"): "low is above high",
        ("table", "high"): "high is above 100",
    }


@pytest.mark.parametrize(
    ("table", "octets"),
    [
        ({"text": "grüß\r\n"}, "grüß\r\n".encode()),
        ({"hex": "02 03"}, b"\x02\x03"),
        ({"hex": " 0dFF "}, b"\x0d\xff"),
    ],
)
def test_bytes_are_written_as_text_or_in_hexadecimal(table: dict[str, str], octets: bytes) -> None:
    assert Octets.model_validate(table).octets == octets


@pytest.mark.parametrize(
    ("table", "where", "words"),
    [
        ({}, (), 'bytes are written { text = "..." } or { hex = "02 03" }'),
        ({"text": "a", "hex": "61"}, (), 'bytes are written { text = "..." } or { hex = "02 03" }'),
        ({"text": ""}, (), "at least one byte is needed"),
        ({"hex": ""}, (), "at least one byte is needed"),
        ({"hex": "2"}, ("hex",), 'pairs of hexadecimal digits: "02 03"'),
        ({"hex": "0 2"}, ("hex",), 'pairs of hexadecimal digits: "02 03"'),
        ({"hex": "0x02"}, ("hex",), 'pairs of hexadecimal digits: "02 03"'),
    ],
)
def test_what_is_not_bytes_is_told_how_to_write_them(
    table: dict[str, str], where: tuple[str, ...], words: str
) -> None:
    assert refusals(lambda: Octets.model_validate(table)) == {where: words}


@pytest.mark.parametrize(("written", "seconds"), [("lan", 5), ("metered", 300), ("12s", 12), ("1h", 3600)])
def test_detection_is_a_time_or_the_name_of_one(written: str, seconds: float) -> None:
    assert Liveness.model_validate({"detect_within": written}).detect_within == seconds
    assert Liveness().detect_within == 20


@pytest.mark.parametrize("wrong", ["2s", "2h", "wifi", 20])
def test_detection_is_bounded(wrong: object) -> None:
    assert ("detect_within",) in refusals(lambda: Liveness.model_validate({"detect_within": wrong}))


@pytest.mark.parametrize("table", [{"first": "10s", "max": "5s"}, {"max": "500ms"}])
def test_the_first_pause_is_not_longer_than_the_longest(table: dict[str, str]) -> None:
    assert refusals(lambda: Reconnect.model_validate(table)) == {("first",): "first is longer than max"}


@pytest.mark.parametrize("table", [{"first": "0s"}, {"max": "0s"}])
def test_pauses_of_no_length_are_refused(table: dict[str, str]) -> None:
    assert refusals(lambda: Reconnect.model_validate(table))


def test_a_link_has_its_own_tables_of_defaults() -> None:
    tables = LinkTables.model_validate({"liveness": {"detect_within": "lan"}, "reconnect": {"stable": "0s"}})

    assert (tables.liveness.detect_within, tables.reconnect.first, tables.reconnect.stable) == (5, 1, 0)
    assert LinkTables() == LinkTables.model_validate({})


class Port(PortConfig):
    """A mode with two roles."""

    offers = {"client": int, "server": str}  # noqa: RUF012
    role: str = "client"


PORT = {"tty": "/dev/ttyUSB0", "mode": "x", "baudrate": 9600, "format": "8E1"}


def test_a_port_is_the_line_that_it_opens_and_offers_the_contract_of_its_role() -> None:
    port = Port.model_validate(PORT)

    assert port.line == "9600 8E1"
    assert port.contract is int
    assert Port.model_validate({**PORT, "role": "server"}).contract is str
    assert port.low_latency
    assert (port.flow, port.dtr, port.rts) == ("none", None, None)


def test_a_ports_shape_changes_with_its_mode_and_role_and_with_nothing_else() -> None:
    port = Port.model_validate(PORT)

    assert port.shape == Port.model_validate({**PORT, "tty": "/dev/ttyS0", "baudrate": 19200}).shape
    assert port.shape != Port.model_validate({**PORT, "mode": "y"}).shape
    assert port.shape != Port.model_validate({**PORT, "role": "server"}).shape


@pytest.mark.parametrize("line", ["5N1", "7E1", "8O2", "8M1.5", "6S2"])
def test_a_format_is_data_bits_parity_and_stop_bits(line: str) -> None:
    assert Port.model_validate({**PORT, "format": line}).format == line


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "9N1"},
        {"format": "8X1"},
        {"format": "8N3"},
        {"format": "8n1"},
        {"format": "8N1x"},
        {"format": "8N1\n"},
        {"tty": "ttyUSB0"},
        {"tty": ""},
        {"baudrate": 49},
        {"baudrate": 4_000_001},
        {"baudrate": "9600"},
        {"flow": "rts"},
    ],
)
def test_a_line_that_cannot_be_is_refused_at_its_key(wrong: dict[str, object]) -> None:
    assert set(refusals(lambda: Port.model_validate({**PORT, **wrong}))) == {(key,) for key in wrong}


# Names and numbers


def test_an_identity_fills_its_own_words_and_leaves_other_braces_alone() -> None:
    me = Identity("boiler", "pi-7", "b8:27:eb:00:00:01")

    assert me.fill("{name}/{hostname}/{mac}/{port}/{}") == "boiler/pi-7/b8:27:eb:00:00:01/{port}/{}"


@pytest.mark.parametrize(
    ("text", "units"),
    [("5", range(5, 6)), ("1-31", range(1, 32)), ("0-255", range(256)), ("7-7", range(7, 8))],
)
def test_units_are_a_number_or_a_range(text: str, units: range) -> None:
    assert unit_range(text) == units


@pytest.mark.parametrize("wrong", ["", "a", "256", "1-256", "31-1", "-1", "1-", "1,2", "1 - 5"])
def test_other_units_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match='unit ids are "5" or "1-31", each 0 to 255'):
        unit_range(wrong)
