"""Which PDUs are requests, how long their answers are, and what is an answer to what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import ECHOED, PAIRS, UNTOLD

from gateway.errors import BadRequest, GatewayError, Refused
from gateway.wire import modbus

EVERY = [pytest.param(*pair, id=name) for name, pair in PAIRS.items()]


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_every_good_request_passes_the_check(request_: bytes, answer: bytes) -> None:
    modbus.check_request(request_)


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_the_request_tells_the_length_of_its_answer_if_it_tells_any(request_: bytes, answer: bytes) -> None:
    told = modbus.UNKNOWN if request_[0] in UNTOLD else len(answer)

    assert modbus.expected_length(request_) == told


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_an_answer_tells_its_length_as_soon_as_it_can_and_keeps_to_it(request_: bytes, answer: bytes) -> None:
    told = [modbus.answer_length(answer[:end]) for end in range(len(answer) + 1)]
    final = modbus.UNKNOWN if request_[0] in ECHOED else len(answer)
    counted = {24: 3, 43: told.index(final)} | dict.fromkeys((1, 2, 3, 4, 12, 17, 20, 21, 23), 2)
    known = counted.get(request_[0], 1)

    assert told == [modbus.MORE] * known + [final] * (len(told) - known)
    assert modbus.answer_length(answer + b"\x01\x83\x02") == final
    assert modbus.answer_length(modbus.exception(request_[0], 2)[:1]) == 2


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_a_good_answer_and_any_exception_answer_a_request(request_: bytes, answer: bytes) -> None:
    assert modbus.answers(request_, answer)
    assert modbus.answers(request_, modbus.exception(request_[0], 2))


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_what_is_of_another_function_or_too_long_or_too_short_is_no_answer(
    request_: bytes, answer: bytes
) -> None:
    other = bytes((answer[0] ^ 0x01,)) + answer[1:]
    assert not modbus.answers(request_, other)
    assert not modbus.answers(request_, modbus.exception(other[0], 2))
    assert not modbus.answers(request_, modbus.exception(request_[0], 2) + b"\0")
    assert not modbus.answers(request_, answer + b"\0")
    if len(answer) > 1:
        assert not modbus.answers(request_, answer[:-1])


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("05 00ac ff00", "05 00ad ff00"),
        ("06 0001 0003", "06 0101 0003"),
        ("0f 0013 000a 02 cd01", "0f 0013 000b"),
        ("10 0001 0002 04 000a 0102", "10 0001 0001"),
        ("16 0004 00f2 0025", "16 0005 00f2 0025"),
        ("08 0000 a537", "08 0000 a5"),
        ("03 006b 0002", "03 02 022b 0064"),
        ("03 006b 0002", "03 05 022b 0064"),
        ("01 0013 0009", "01 01 cd 01"),
    ],
)
def test_an_answer_to_another_address_or_that_contradicts_itself_is_no_answer(
    request_: str, answer: str
) -> None:
    assert not modbus.answers(bytes.fromhex(request_), bytes.fromhex(answer))


@pytest.mark.parametrize("function", [0, 0x80, 0x83, 0xFF])
def test_a_function_code_that_cannot_be_one_is_exception_01(function: int) -> None:
    with pytest.raises(Refused) as caught:
        modbus.check_request(bytes((function, 0, 0, 0, 1)))

    assert caught.value.modbus == 0x01


@pytest.mark.parametrize(
    "wrong",
    [
        "01 0000 0000",
        "01 0000 07d1",
        "02 0000",
        "03",
        "03 0000 0000",
        "03 0000 007e",
        "03 0000 0001 00",
        "04 0000 ffff",
        "05 0000 ff",
        "06 0000 0000 00",
        "07 00",
        "0b 00",
        "0c 00",
        "0f 0000 0000 00",
        "0f 0000 000a 01 cd",
        "0f 0000 0001 01",
        "0f 0000 07b1 f7" + " 00" * 247,
        "10 0000 0000 00",
        "10 0000 0001 02 00",
        "10 0000 0002 02 0000",
        "10 0000 0001 03 000000",
        "11 00",
        "14",
        "14 00",
        "14 07 06 0004 0001",
        "15 09 06 0004 0007 0001 06",
        "16 0004 00f2",
        "17 0000 0000 0000 0001 02 0000",
        "17 0000 007e 0000 0001 02 0000",
        "17 0000 0001 0000 0002 02 0000",
        "17 0000 0001 0000 0000 00",
        "17 0000 0001 0000",
        "18 00",
    ],
)
def test_a_request_whose_length_or_quantity_cannot_be_is_exception_03(wrong: str) -> None:
    with pytest.raises(BadRequest) as caught:
        modbus.check_request(bytes.fromhex(wrong))

    assert caught.value.modbus == 0x03


@pytest.mark.parametrize("function", [9, 65, 72, 100, 110, 127])
def test_a_function_of_somebodys_own_may_look_like_anything(function: int) -> None:
    request = bytes((function, 14, 2, 3, 4, 5, 6))

    modbus.check_request(request)
    assert modbus.expected_length(request) == modbus.UNKNOWN
    assert modbus.answer_length(request) == modbus.UNKNOWN


@pytest.mark.parametrize(("request_", "answer"), EVERY)
def test_only_what_changes_nothing_in_a_device_is_a_read(request_: bytes, answer: bytes) -> None:
    assert modbus.reads(request_) == (request_[0] not in (5, 6, 8, 15, 16, 21, 22, 23))


def test_what_carries_canopen_may_write() -> None:
    assert not modbus.reads(bytes.fromhex("2b 0d 01 02"))
    assert not modbus.reads(b"\x2b")


def test_writes_are_those_that_change_a_device_and_all_but_one_can_be_broadcast() -> None:
    assert modbus.WRITES == {5, 6, 15, 16, 21, 22, 23}
    assert modbus.WRITES - modbus.BROADCASTS == {23}  # it would have to answer
    assert modbus.BROADCASTS < modbus.WRITES


@given(st.binary(min_size=1, max_size=modbus.MAX_PDU))
def test_whatever_passes_the_check_has_answers_and_nothing_else_raises(request: bytes) -> None:
    try:
        modbus.check_request(request)
    except GatewayError:
        return
    assert -1 <= modbus.expected_length(request) <= modbus.MAX_PDU
    assert modbus.answers(request, modbus.exception(request[0], 4))


@given(st.sampled_from(sorted(modbus.READS | modbus.WRITES)), st.binary(max_size=300))
def test_a_length_that_was_told_once_does_not_change_with_what_comes_later(
    function: int, rest: bytes
) -> None:
    heads = [bytes((function,)) + rest[:end] for end in range(len(rest) + 1)]
    lengths = [modbus.answer_length(head) for head in heads]

    assert len(set(lengths) - {modbus.MORE}) <= 1
    assert all(length in (modbus.UNKNOWN, modbus.MORE) or length >= 2 for length in lengths)


@given(st.integers(1, 127), st.integers(1, 255))
def test_an_exception_is_the_function_with_its_high_bit_and_a_code(function: int, code: int) -> None:
    assert modbus.exception(function, code) == bytes((0x80 + function, code))
    assert modbus.exception(0x80 + function, code) == bytes((0x80 + function, code))
