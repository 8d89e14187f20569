"""What is found between the tables of a file, and what is only doubted."""

from pathlib import Path

import pytest
from config_kit import METERS, SCALE, read, said

from gateway.config import load

DEVICE = """
[devices.{name}]
port = "{port}"
unit_id = 1
points = {{ total = {{ holding = 60 }} }}
"""


def test_two_devices_may_share_a_unit_id(tmp_path: Path) -> None:
    two = DEVICE.format(name="a", port="meters") + DEVICE.format(name="b", port="meters")
    assert said(read(tmp_path, METERS + two)) == []


@pytest.mark.parametrize(
    "bad",
    [
        METERS.replace('"modbus-rtu"', '"modbuss"'),
        METERS.replace("mode", "mod"),
        METERS.replace("mode", "# mode"),
        METERS.replace('tty = "/dev/ttyUSB0"', 'role = "slave"'),
        METERS.replace("9600", "9600 8E1"),
        METERS.replace("[ports.", "[port."),
        METERS.replace("[ports.meters]", "[[ports.meters]]"),
    ],
)
def test_a_bad_port_is_told_once_and_not_by_those_who_use_it(bad: str, tmp_path: Path) -> None:
    users = '[links.scada]\nkind = "modbus-server"\nlisten = ":502"\nport = "meters"\n'
    told = said(read(tmp_path, bad + users + DEVICE.format(name="a", port="meters")))
    assert told
    assert not [line for line in told if "links" in line or "devices" in line]


def test_a_bad_link_still_says_which_port_and_address_it_means(tmp_path: Path) -> None:
    told = said(
        read(
            tmp_path,
            METERS
            + """
            [links.one]
            kind = "modbus-server"
            listen = ":502"
            port = "meters"
            max_client = 1
            [links.two]
            kind = "modbus-server"
            listen = ":502"
            port = "metres"
            max_clients = 0
            liveness = 5
            """,
        )
    )
    assert told == [
        'links.one.max_client: unknown key, did you mean "max_clients"?',
        "links.two.listen: links.one listens on :502 already",
        'links.two.port: there is no port "metres", did you mean "meters"?',
        "links.two.max_clients: this must be 1 to 1000",
        'links.two.liveness: expected a table, not a number: { detect_within = "20s" }',
    ]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (":502", ":502", True),
        (":502", ":503", False),
        ("0.0.0.0:502", "127.0.0.1:502", True),
        ("10.0.0.1:502", "127.0.0.1:502", False),
        ("10.0.0.1:502", "[::]:502", True),
        ("localhost:502", "127.0.0.1:502", True),
        ("GW.local:502", "gw.local:502", True),
        ("[::1]:502", "127.0.0.1:502", False),
        ("[::1]:502", "0.0.0.0:502", False),
        ("[::1]:502", ":502", True),
    ],
)
def test_two_links_may_not_listen_on_one_address(one: str, other: str, clash: bool, tmp_path: Path) -> None:
    link = '[links.{0}]\nkind = "modbus-server"\nlisten = "{1}"\nport = "meters"\n'
    for first, second in ((one, other), (other, one)):
        told = said(read(tmp_path, METERS + link.format("a", first) + link.format("b", second)))
        assert told == ([f"links.b.listen: links.a listens on {first} already"] if clash else [])


def test_tcp_and_udp_have_addresses_of_their_own(tmp_path: Path) -> None:
    link = '[links.{0}]\nkind = "modbus-server"\nlisten = ":502"\nport = "meters"\ntransport = "{1}"\n'
    both = METERS + link.format("a", "tcp") + link.format("b", "udp")
    assert said(read(tmp_path, both)) == []
    assert said(read(tmp_path, both + link.format("c", "udp"))) == [
        "links.c.listen: links.b listens on :502 already"
    ]


def test_two_names_of_one_line_are_found_out(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("ttyUSB0")
    text = METERS.replace("/dev/", f"{tmp_path}/") + SCALE.replace("/dev/ttyUSB1", f"{tmp_path}/by-id")
    assert said(read(tmp_path, text)) == [
        f"ports.scale.tty: this is the line of ports.meters already: {tmp_path}/ttyUSB0"
    ]


# Points that links name

PUSH = """
[devices.main-meter]
port = "meters"
unit_id = 1
model = "m"
points = {{ relay = {{ coil = 3 }} }}
[models.m.points]
voltage = {{ input = 0, type = "float32" }}
state = {{ holding = 5, map = {{ "0" = "off" }} }}
[links.plant]
kind = "modbus-client"
connect = "10.0.0.7:502"
push = {{ "{0}" = {{ {1} }} }}
"""


@pytest.mark.parametrize(
    ("name", "target", "told"),
    [
        ("main-meter.voltage", "holding = 100", ""),
        ("main-meter.voltage", "coil = 100", '"voltage" is a number, and this takes a bool'),
        (
            "main-meter.voltage",
            'holding = 1, type = "string(4)"',
            '"voltage" is a number, and this takes a text',
        ),
        ("main-meter.relay", "coil = 100", ""),
        ("main-meter.relay", "holding = 100", ""),
        ("main-meter.state", 'holding = 1, type = "string(4)"', ""),
        ("main-meter.state", "holding = 1", '"state" is a text, and this takes a number or a bool'),
        ("main-meter.volts", "holding = 1", 'main-meter has no point "volts", did you mean "voltage"?'),
        ("main-metre.voltage", "holding = 1", 'there is no device "main-metre", did you mean "main-meter"?'),
    ],
)
def test_what_is_pushed_is_a_point_of_a_device_or_of_its_model(
    name: str, target: str, told: str, tmp_path: Path
) -> None:
    expected = [f'links.plant.push."{name}": {told}'] if told else []
    assert said(read(tmp_path, METERS + PUSH.format(name, target))) == expected


def test_a_bad_device_is_told_once_and_not_by_those_who_push_its_points(tmp_path: Path) -> None:
    bad = PUSH.replace("coil = 3", "coils = 3").format("main-meter.volts", "holding = 1")
    assert [line for line in said(read(tmp_path, METERS + bad)) if "links" in line] == []


def test_addresses_to_push_to_are_doubted_as_those_of_points_are(tmp_path: Path) -> None:
    text = METERS + PUSH.format("main-meter.voltage", "holding = 40101") + "alive = { holding = 40100 }"
    assert said(read(tmp_path, text)) == [
        'warning: links.plant.push."main-meter.voltage".holding: manuals write 40101 for holding = 100',
        "warning: links.plant.alive.holding: manuals write 40100 for holding = 99",
    ]


# Warnings


@pytest.mark.parametrize(("name", "hostname"), [('name = "raspberrypi"', "gw"), ("", "raspberrypi")])
def test_a_gateway_with_the_name_of_all_is_warned(name: str, hostname: str, tmp_path: Path) -> None:
    loaded = read(tmp_path, f"[gateway]\n{name}\n", hostname=hostname)
    assert loaded.tree is not None
    assert said(loaded) == [
        'warning: gateway.name: many are called "raspberrypi": give this one a name of its own'
    ]


def test_a_password_is_warned_of_when_others_may_read_it(tmp_path: Path) -> None:
    path, secret = tmp_path / "gateway.toml", tmp_path / "secret"
    secret.touch()
    table = '[links.{0}]\nkind = "mqtt"\nconnect = "mqtt://b"\nusername = "u"\n{0} = "secret"\n'
    path.write_text(table.format("password") + table.format("password_file"))
    for file in (path, secret):
        file.chmod(0o640)
    assert said(load(path, {}, hostname="gw")) == []
    for file in (path, secret):
        file.chmod(0o644)
    assert said(load(path, {}, hostname="gw")) == [
        "warning: links.password.password: others may read this file: "
        f"chmod 640 {path}, or use password_file",
        f"warning: links.password_file.password_file: others may read it: chmod 640 {secret}",
    ]


@pytest.mark.parametrize(
    ("every", "told"),
    [
        # 15 characters of request and answer and twice 3.5 of silence, 11 bits each: 25.2 ms at 9600
        ("50ms", []),
        (
            "40ms",
            ["warning: ports.meters: polls need 0.025 s of every 0.04 s: raise poll_interval or baudrate"],
        ),
    ],
)
def test_a_line_that_is_polled_too_much_is_warned_of(every: str, told: list[str], tmp_path: Path) -> None:
    device = DEVICE.format(name="a", port="meters") + f'poll_interval = "{every}"\n'
    assert said(read(tmp_path, METERS + device)) == told


def test_an_ascii_line_is_full_of_half_the_polls(tmp_path: Path) -> None:
    # 32 characters of request and answer and two gaps of one, 10 bits each: 35.4 ms at 9600
    line = METERS.replace("modbus-rtu", "modbus-ascii")
    polled = [DEVICE.format(name="a", port="meters") + f'poll_interval = "{ms}ms"\n' for ms in (60, 50)]
    assert [said(read(tmp_path, line + device)) for device in polled] == [
        [],
        ["warning: ports.meters: polls need 0.035 s of every 0.05 s: raise poll_interval or baudrate"],
    ]


@pytest.mark.parametrize(
    ("point", "meant"),
    [
        ("holding = 40001", "manuals write 40001 for holding = 0"),
        ("holding = 49999", "manuals write 49999 for holding = 9998"),
        ("input = 30010", "manuals write 30010 for input = 9"),
        ("discrete_input = 10001", "manuals write 10001 for discrete_input = 0"),
        ("holding = 40000", None),
        ("holding = 30001", None),
        ("coil = 10001", None),
    ],
)
def test_addresses_as_manuals_print_them_are_doubted(point: str, meant: str | None, tmp_path: Path) -> None:
    device = f'[devices.a]\nport = "meters"\nunit_id = 1\npoints = {{ x = {{ {point} }} }}'
    where = f"warning: devices.a.points.x.{point.split()[0]}: "
    assert said(read(tmp_path, METERS + device)) == ([where + meant] if meant else [])
