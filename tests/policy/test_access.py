"""Who may do what: functions, unit ids, registers, and whose rights an address has."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Forbidden, GatewayError, Refused
from gateway.policy.access import (
    EVERYTHING,
    NOTHING,
    Asked,
    Rights,
    Span,
    address_of,
    joined,
    nearest,
)

TABLES = ("coil", "discrete_input", "holding", "input")
spans = st.builds(
    lambda table, start, count: (table, range(start, start + count)),
    st.sampled_from(TABLES),
    st.integers(0, 40),
    st.integers(1, 12),
)


def asked(
    function: int = 3, unit: int = 1, reads: bool = True, touches: Sequence[Span] = (("holding", range(1)),)
) -> Asked:
    return Asked(unit=unit, function=function, reads=reads, touches=touches)


requests = st.builds(
    asked,
    st.integers(1, 127),
    st.integers(0, 255),
    st.booleans(),
    st.lists(spans, max_size=2).map(tuple),
)


def of(*spans: Span) -> Rights:
    return Rights(registers=joined(spans))


def code(error: GatewayError | None) -> int:
    return 0 if error is None else error.modbus


@given(requests)
def test_who_may_do_everything_may_do_anything_and_the_others_do_not(request: Asked) -> None:
    assert EVERYTHING.objection(request) is None
    assert isinstance(NOTHING.objection(request), Refused)


@given(requests)
def test_read_only_lets_pass_what_leaves_the_device_as_it_is(request: Asked) -> None:
    assert code(Rights(read_only=True).objection(request)) == (0 if request.reads else 1)


@given(requests, st.frozensets(st.integers(1, 127)))
def test_functions_are_those_that_are_named(request: Asked, functions: frozenset[int]) -> None:
    objection = Rights(functions=functions).objection(request)
    assert code(objection) == (0 if request.function in functions else 1)


@given(requests, st.frozensets(st.integers(0, 255)))
def test_unit_ids_are_those_that_are_named(request: Asked, unit_ids: frozenset[int]) -> None:
    assert code(Rights(unit_ids=unit_ids).objection(request)) == (0 if request.unit in unit_ids else 2)


@given(st.lists(spans, max_size=6), st.lists(spans, min_size=1, max_size=2))
def test_all_that_a_request_touches_has_to_be_inside(allowed: list[Span], touched: list[Span]) -> None:
    good = {(table, address) for table, addresses in allowed for address in addresses}
    wanted = {(table, address) for table, addresses in touched for address in addresses}
    objection = of(*allowed).objection(asked(touches=touched))
    assert code(objection) == (0 if wanted <= good else 2)


@given(st.lists(spans))
def test_joined_ranges_are_the_same_addresses_with_gaps_between_them(given_spans: list[Span]) -> None:
    tables = joined(given_spans)
    kept = [(table, address) for table, ranges in tables.items() for one in ranges for address in one]
    assert sorted(kept) == sorted({(table, address) for table, one in given_spans for address in one})
    for ranges in tables.values():
        assert all(one.stop < other.start for one, other in pairwise(ranges))


def test_a_request_may_go_over_two_ranges_that_are_neighbours_and_not_over_a_gap() -> None:
    rights = of(("holding", range(10)), ("holding", range(10, 20)), ("holding", range(21, 30)))
    assert rights.objection(asked(touches=[("holding", range(5, 15))])) is None
    assert isinstance(rights.objection(asked(touches=[("holding", range(15, 25))])), Forbidden)


def test_both_ranges_of_a_request_have_to_be_inside() -> None:
    rights = of(("holding", range(10)))
    inside, outside = ("holding", range(2)), ("holding", range(9, 11))
    assert rights.objection(asked(23, touches=[inside, inside])) is None
    for touches in ([inside, outside], [outside, inside]):
        assert isinstance(rights.objection(asked(23, touches=touches)), Forbidden)


def test_the_same_addresses_of_another_table_are_others() -> None:
    assert isinstance(of(("input", range(10))).objection(asked(touches=[("holding", range(1))])), Forbidden)


def test_what_ends_beyond_the_last_address_is_never_inside() -> None:
    whole = of(("holding", range(65536)))
    assert whole.objection(asked(touches=[("holding", range(65530, 65536))])) is None
    assert isinstance(whole.objection(asked(touches=[("holding", range(65530, 65537))])), Forbidden)


@pytest.mark.parametrize(
    ("functions", "exception"), [(None, 1), (frozenset((3, 43)), 0), (frozenset((3,)), 1)]
)
def test_a_code_without_addresses_gets_past_registers_only_by_its_own_number(
    functions: frozenset[int] | None, exception: int
) -> None:
    rights = Rights(functions=functions, registers=joined([("holding", range(10))]))
    assert code(rights.objection(asked(43, touches=()))) == exception


def test_the_function_is_judged_before_what_it_is_about() -> None:
    rights = Rights(functions=frozenset((3,)), unit_ids=frozenset((1,)), registers=joined([]))
    assert isinstance(rights.objection(asked(6, unit=2)), Refused)
    assert isinstance(rights.objection(asked(3, unit=2)), Forbidden)
    assert isinstance(rights.objection(asked(3)), Forbidden)


# Whose rights


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.8", "10.0.0.8/32"),
        ("10.0.0.9", "10.0.0.0/24"),
        ("10.9.9.9", "10.0.0.0/8"),
        ("11.0.0.1", None),
        ("2001:db8::1", "2001:db8::/32"),
        ("2001:db9::1", "::/0"),
    ],
)
def test_the_smallest_network_decides(address: str, found: str | None) -> None:
    networks = ["10.0.0.0/8", "10.0.0.8/32", "::/0", "10.0.0.0/24", "2001:db8::/32"]
    for order in (networks, networks[::-1]):
        nearest_one = nearest(ip_address(address), map(ip_network, order))
        assert nearest_one == (None if found is None else ip_network(found))


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=8),
)
def test_no_smaller_network_has_the_address(address: int, given_networks: list[tuple[int, int]]) -> None:
    networks = [ip_network((number, prefix), strict=False) for number, prefix in given_networks]
    found = nearest(ip_address(address), networks)
    prefixes = [
        prefix for number, prefix in given_networks if number >> (32 - prefix) == address >> (32 - prefix)
    ]
    assert (None if found is None else found.prefixlen) == max(prefixes, default=None)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.8", "10.0.0.8"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("?", None),
        ("", None),
    ],
)
def test_a_host_is_read_as_connections_write_it(host: str, address: str | None) -> None:
    assert address_of(host) == (None if address is None else ip_address(address))


def test_a_link_local_address_is_in_its_network_on_any_interface() -> None:
    address = address_of("[fe80::1%eth0]")
    assert address is not None
    assert nearest(address, [ip_network("fe80::/10")]) is not None
