"""What the kernel says about the host's network, in bytes by hand, and what of it is worth telling."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlink_kit import news

from gateway.host.netlink import (
    Address,
    Change,
    Interfaces,
    Link,
    Message,
    News,
    Route,
    ends,
    messages,
    picture,
    read,
)

ERROR, DONE = 2, 3
NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE = 16, 17, 20, 21, 24, 25
DUMP_INTERRUPTED, DUMP = 0x10, 0x02
IPV4, IPV6, BRIDGE, MPLS = socket.AF_INET, socket.AF_INET6, 7, 28
UP, RUNNING, LOWER_UP, DORMANT = 0x01, 0x40, 0x10000, 0x20000
TENTATIVE, PERMANENT, DADFAILED = 0x40, 0x80, 0x08
UNIVERSE, LINK_LOCAL, HOST = 0, 253, 254
MAIN, LOCAL = 254, 255
UNICAST, BROADCAST, UNREACHABLE = 1, 3, 7
CLONED = 0x200


def message(kind: int, body: bytes, asker: int = 0) -> bytes:
    return padded(struct.pack("=IHHII", 16 + len(body), kind, 0, 7, asker) + body)


def attribute(kind: int, value: bytes) -> bytes:
    return padded(struct.pack("=HH", 4 + len(value), kind) + value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def link(kind: int, flags: int, family: int = 0, name: bytes = b"eth0\0", asker: int = 0) -> bytes:
    alias, stats = attribute(20, b"a port"), attribute(23, bytes(200))
    body = struct.pack("=BxHiII", family, 1, 2, flags, 0)
    return message(kind, body + alias + attribute(3, name) + stats, asker)


def address(
    kind: int,
    text: str,
    flags: int = PERMANENT,
    *,
    scope: int = UNIVERSE,
    far_end: str | None = None,
    asker: int = 0,
) -> bytes:
    family = IPV6 if ":" in text else IPV4
    ours = attribute(1 if far_end is None else 2, socket.inet_pton(family, text))
    theirs = b"" if far_end is None else attribute(1, socket.inet_pton(family, far_end))
    return message(kind, struct.pack("=4Bi", family, 24, flags, scope, 2) + theirs + ours, asker)


def route(
    *attributes: bytes,
    prefix: int = 0,
    table: int = MAIN,
    kind: int = UNICAST,
    flags: int = 0,
    message_kind: int = NEWROUTE,
) -> bytes:
    body = struct.pack("=8BI", IPV4, prefix, 0, 0, table, 4, 0, kind, flags)
    return message(message_kind, body + b"".join(attributes))


THROUGH_ETH0 = attribute(4, struct.pack("=I", 2))
GATEWAY = attribute(5, bytes([10, 0, 0, 254]))
GATEWAY_OF_ANOTHER_FAMILY = attribute(18, struct.pack("=H", IPV6) + bytes(16))
TWO_HOPS = 2 * struct.pack("=HBBi", 8, 0, 0, 2)
MULTIPATH, NESTED_MULTIPATH = attribute(9, TWO_HOPS), attribute(9 | 0x8000, TWO_HOPS)


def changes(datagram: bytes) -> list[Change]:
    return [one for message in messages(datagram) if (one := read(message)) is not None]


@pytest.mark.parametrize(
    ("flags", "carrier"),
    [
        (UP | LOWER_UP | RUNNING, True),
        (UP | RUNNING, True),
        (UP, False),
        (UP | LOWER_UP | DORMANT, False),
        (0, False),
    ],
    ids=["up", "as lo and tunnels", "no carrier", "Wi-Fi before its keys", "switched off"],
)
def test_an_interface_has_carrier_when_it_can_carry_packets(flags: int, carrier: bool) -> None:
    assert changes(link(NEWLINK, flags)) == [Change(Link(2, "eth0", carrier), False)]


def test_an_interface_is_gone_when_it_was_deleted() -> None:
    assert changes(link(DELLINK, 0)) == [Change(Link(2, "eth0", False), True)]


def test_an_interface_that_leaves_a_bridge_is_not_gone() -> None:
    assert changes(link(DELLINK, UP, BRIDGE) + link(NEWLINK, UP, BRIDGE)) == []


def test_the_name_of_an_interface_may_be_any_bytes() -> None:
    assert changes(link(NEWLINK, 0, name=b"a\xff\0")) == [Change(Link(2, "a\ufffd", False), False)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (address(NEWADDR, "10.0.0.1"), Change(Address(2, "10.0.0.1", 24, True), False)),
        (address(DELADDR, "10.0.0.1"), Change(Address(2, "10.0.0.1", 24, True), True)),
        (address(NEWADDR, "fd00::1"), Change(Address(2, "fd00::1", 24, True), False)),
        (address(DELADDR, "fd00::1", TENTATIVE), Change(Address(2, "fd00::1", 24, True), True)),
        (address(NEWADDR, "fe80::1", scope=LINK_LOCAL), Change(Address(2, "fe80::1", 24, False), False)),
        (address(NEWADDR, "127.0.0.1", scope=HOST), Change(Address(2, "127.0.0.1", 24, False), False)),
        (address(NEWADDR, "10.0.0.1", far_end="10.9.9.9"), Change(Address(2, "10.0.0.1", 24, True), False)),
    ],
    ids=["new", "gone", "new v6", "gone before it was usable", "of the link", "of the host", "PPP"],
)
def test_an_address_is_new_or_gone(said: bytes, expected: Change) -> None:
    assert changes(said) == [expected]


@pytest.mark.parametrize("flags", [TENTATIVE, TENTATIVE | PERMANENT, TENTATIVE | DADFAILED])
def test_an_address_that_cannot_be_used_yet_is_none(flags: int) -> None:
    assert changes(address(NEWADDR, "fd00::1", flags)) == []


@pytest.mark.parametrize(
    ("said", "ifindex"),
    [
        (route(THROUGH_ETH0), 2),
        (route(THROUGH_ETH0, GATEWAY), 2),
        (route(THROUGH_ETH0, GATEWAY, prefix=24), 2),
        (route(THROUGH_ETH0, GATEWAY_OF_ANOTHER_FAMILY, prefix=24), 2),
        (route(MULTIPATH), 0),
        (route(MULTIPATH, prefix=24), 0),
        (route(NESTED_MULTIPATH, prefix=24), 0),
    ],
    ids=["default", "default gateway", "gateway", "gateway of IPv6", "multipath", "to a net", "nested"],
)
def test_a_default_route_and_one_through_a_gateway_lead_out(said: bytes, ifindex: int) -> None:
    assert changes(said) == [Change(Route(ifindex), False)]


@pytest.mark.parametrize(
    "said",
    [
        route(THROUGH_ETH0, prefix=24),
        route(THROUGH_ETH0, GATEWAY, table=LOCAL),
        route(THROUGH_ETH0, GATEWAY, table=100),
        route(THROUGH_ETH0, kind=UNREACHABLE),
        route(THROUGH_ETH0, kind=BROADCAST),
        route(THROUGH_ETH0, GATEWAY, flags=CLONED),
        route(THROUGH_ETH0, GATEWAY, message_kind=DELROUTE),
    ],
    ids=["to a neighbour", "local", "another table", "unreachable", "broadcast", "cache", "gone"],
)
def test_other_routes_do_not_matter(said: bytes) -> None:
    assert changes(said) == []


TOGETHER = link(NEWLINK, RUNNING, name=b"x\0") + address(NEWADDR, "10.0.0.1") + route(THROUGH_ETH0, GATEWAY)
FACTS = [
    Change(Link(2, "x", True), False),
    Change(Address(2, "10.0.0.1", 24, True), False),
    Change(Route(2), False),
]


def test_a_datagram_may_hold_several_messages() -> None:
    assert changes(TOGETHER) == FACTS
    assert changes(TOGETHER + message(NEWADDR, b"odd") + TOGETHER) == FACTS + FACTS


def test_a_datagram_that_was_cut_is_read_up_to_there() -> None:
    found = [changes(TOGETHER[:size]) for size in range(len(TOGETHER) + 1)]

    assert all(some == FACTS[: len(some)] for some in found)
    assert [len(some) for some in found] == sorted(len(some) for some in found)
    assert {len(some) for some in found} == {0, 1, 2, 3}
    assert found[-2] == FACTS[:2]


@pytest.mark.parametrize("length", [0, 15, 0xFFFFFFFF])
def test_a_length_that_cannot_be_ends_the_reading(length: int) -> None:
    assert changes(TOGETHER + struct.pack("=I", length) + TOGETHER[4:]) == FACTS


@pytest.mark.parametrize("size", [0, 3, 5, 16])
def test_an_address_of_no_length_that_there_is_is_none(size: int) -> None:
    body = struct.pack("=4Bi", IPV4, 24, 0, 0, 2)

    assert changes(message(NEWADDR, body + attribute(1, bytes(size)))) == []


def test_an_address_of_another_family_is_none() -> None:
    assert changes(message(NEWADDR, struct.pack("=4Bi", MPLS, 24, 0, 0, 2) + attribute(1, bytes(4)))) == []


def test_an_interface_without_a_name_is_none() -> None:
    assert changes(message(NEWLINK, struct.pack("=BxHiII", 0, 1, 2, UP, 0))) == []


def answer(kind: int, code: int = 0, flags: int = DUMP) -> Message:
    return Message(kind, flags, 1, struct.pack("=i", code))


def test_an_answer_has_an_end() -> None:
    assert [ends(answer(kind)) for kind in (NEWLINK, NEWADDR, DONE)] == [False, False, True]


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (answer(ERROR, -errno.EPERM), PermissionError),
        (answer(DONE, -errno.EACCES), PermissionError),
        (answer(ERROR, -errno.EOPNOTSUPP), OSError),
        (answer(DONE, flags=DUMP | DUMP_INTERRUPTED), InterruptedError),
        (answer(NEWLINK, flags=DUMP | DUMP_INTERRUPTED), InterruptedError),
    ],
)
def test_an_answer_that_is_none_is_an_error(last: Message, error: type[OSError]) -> None:
    with pytest.raises(error):
        ends(last)


@given(st.binary(max_size=200))
def test_garbage_is_no_error(data: bytes) -> None:
    changes(data)
    for kind in (NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE):
        changes(message(kind, data))


@given(st.integers(0, len(TOGETHER) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_datagram_is_no_error(at: int, damage: bytes) -> None:
    changes(TOGETHER[:at] + damage + TOGETHER[at + len(damage) :])


# What is worth telling


ETH0_UP, ETH0_DOWN = (Change(Link(2, "eth0", carrier), False) for carrier in (True, False))
WLAN0_UP = Change(Link(3, "wlan0", True), False)


def has(text: str, ifindex: int = 2, prefix: int = 24, wide: bool = True) -> Change:
    return Change(Address(ifindex, text, prefix, wide), False)


def gone(change: Change) -> Change:
    return change._replace(gone=True)


def told(known: list[Change], *changes: Change) -> list[News]:
    interfaces = Interfaces(known)
    return [one for change in changes if (one := interfaces.learn(change)) is not None]


def test_carrier_is_told_when_it_changes() -> None:
    assert told([ETH0_UP, has("10.0.0.1")], ETH0_UP, ETH0_DOWN, ETH0_DOWN, ETH0_UP) == [
        news("carrier lost", "eth0", "10.0.0.1"),
        news("carrier back", "eth0", "10.0.0.1"),
    ]


def test_a_new_interface_is_told_once_it_has_carrier() -> None:
    assert told([], ETH0_DOWN, ETH0_UP, WLAN0_UP) == [
        news("carrier back", "eth0"),
        news("carrier back", "wlan0"),
    ]


def test_an_address_that_goes_is_told_and_so_is_its_return() -> None:
    known = [ETH0_UP, has("10.0.0.1"), has("10.0.0.2")]

    assert told(known, gone(has("10.0.0.1")), gone(has("10.0.0.1")), has("10.0.0.1"), has("10.0.0.1")) == [
        news("address gone", "eth0", "10.0.0.1"),
        news("way back", "eth0", "10.0.0.1"),
    ]


def test_an_address_is_not_gone_while_it_is_there_once_more() -> None:
    known = [ETH0_UP, WLAN0_UP, has("10.0.0.1")]

    assert told(known, has("10.0.0.1", prefix=16), gone(has("10.0.0.1"))) == [
        news("way back", "eth0", "10.0.0.1")
    ]
    assert told(known, has("10.0.0.1", 3), gone(has("10.0.0.1")), gone(has("10.0.0.1", 3))) == [
        news("way back", "wlan0", "10.0.0.1"),
        news("address gone", "wlan0", "10.0.0.1"),
    ]


def test_an_address_of_the_link_is_no_way_out_but_its_loss_is_told() -> None:
    assert told([ETH0_UP], has("fe80::1", wide=False), gone(has("fe80::1", wide=False))) == [
        news("address gone", "eth0", "fe80::1")
    ]


def test_an_interface_that_goes_takes_its_addresses_along() -> None:
    known = [ETH0_UP, WLAN0_UP, has("10.0.0.1"), has("fd00::1"), has("10.0.0.3", 3)]

    assert told(known, gone(ETH0_UP), gone(has("10.0.0.1")), gone(has("fd00::1"))) == [
        news("address gone", "eth0", "10.0.0.1", "fd00::1")
    ]


def test_each_route_is_told() -> None:
    through_eth0, through_several = Change(Route(2), False), Change(Route(0), False)

    assert told([ETH0_UP], through_eth0, through_eth0, through_several) == [
        *[news("way back", "eth0")] * 2,
        news("way back", ""),
    ]


def test_all_differences_are_told_at_once() -> None:
    before = Interfaces([ETH0_UP, WLAN0_UP, has("10.0.0.1"), has("10.0.0.2"), has("10.0.0.3", 3)])
    now = Interfaces([ETH0_DOWN, has("10.0.0.2"), has("10.0.0.4"), Change(Link(4, "ppp0", True), False)])

    assert sorted(before.become(now)) == [
        news("address gone", "eth0", "10.0.0.1"),
        news("address gone", "wlan0", "10.0.0.3"),
        news("carrier back", "ppp0"),
        news("carrier lost", "eth0", "10.0.0.1", "10.0.0.2"),
        news("way back", "eth0", "10.0.0.4"),
    ]
    assert before.become(now) == []


def test_an_address_that_moved_unseen_is_not_gone() -> None:
    before = Interfaces([ETH0_UP, WLAN0_UP, has("10.0.0.1")])

    assert before.become(Interfaces([ETH0_UP, WLAN0_UP, has("10.0.0.1", 3)])) == [
        news("way back", "wlan0", "10.0.0.1")
    ]


def test_what_is_told_is_newer_than_an_answer_that_comes_behind_it() -> None:
    us, another = 4711, 42
    before = Interfaces([ETH0_UP, has("10.0.0.1")])
    deleted, answers = address(DELADDR, "10.0.0.1", asker=another), address(NEWADDR, "10.0.0.1", asker=us)
    received = [*messages(deleted + answers + link(NEWLINK, RUNNING, asker=us))]

    assert before.become(picture(received, us)) == [news("address gone", "eth0", "10.0.0.1")]
