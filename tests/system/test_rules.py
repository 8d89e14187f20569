"""Which tests prove which rule of the protocols. Tests that begin with test_r1_, test_r2_ ... stand in
tests/system/test_rules_serial.py and test_rules_tcp.py; what others prove already is named here.

R1   a line carries one transaction at a time
     ports/test_bus_any.py
       test_no_fault_and_no_order_of_questions_breaks_a_rule_of_the_bus
R2   unit ids: 0 is a broadcast, 1 to 247 are devices, the others are none
     system/test_bad_modbus.py
       test_a_unit_that_no_line_has_gets_exception_0a
R3   RTU frames: up to 256 bytes, CRC low byte first
     wire/test_rtu.py
       test_the_crc_is_that_of_the_specification
R4   3.5 characters of silence before a request; answers are found by length, not by silences
     ports/test_modbus_rtu.py
       test_on_a_line_that_keeps_the_time_of_a_wire_every_gap_is_kept
     system/test_main_job.py
       test_all_it_asks_keeps_the_rules_of_the_bus
R5   the format of the line is a setting
     host/test_serial.py
       test_any_line_opens_again_and_again
R6   response timeout; turnaround delay behind a broadcast, which is a write and has no answer
     ports/test_bus_answers.py
       test_a_broadcast_has_an_empty_answer_and_the_devices_get_their_time
R7   silence and broken answers: only reads are repeated
     system/test_bad_modbus.py
       test_garbage_around_an_answer_does_not_spoil_the_value
R8   an answer has the unit, function, length and CRC that were asked for
     system/test_late_answers.py
       test_an_answer_of_another_unit_or_function_is_counted_and_waited_past
R9   a late answer is nobody's
     ports/test_bus_late.py
       test_within_the_guard_not_even_reads_that_look_alike_get_a_wrong_answer
     system/test_late_answers.py
       test_each_answer_of_a_unit_is_late_and_none_is_taken_for_another
R10  behind garbage the next good answer is found, at any offset
     system/test_bad_modbus.py
       test_garbage_between_two_requests_does_not_spoil_the_next_value
     wire/test_streams_answers.py
       test_behind_anything_the_answer_is_found_with_its_last_byte
R11  the echo of two wires is dropped where it is known, and told of where it is not
R12  ASCII: colon, pairs of digits, LRC, CR LF
     system/test_ascii_line.py
       test_mbpoll_reads_and_writes_what_the_device_holds
R13  as a slave: what the master asks others, and what these answer, is not for us
     system/test_asked_line.py
       test_each_unit_is_answered_by_whoever_stands_for_it_and_the_others_are_left_alone
R20  Modbus TCP is read by the length in its header
     system/test_bad_modbus.py
       test_requests_are_found_by_their_length_however_they_arrive
R21  a header that cannot be trusted ends the connection
     system/test_bad_modbus.py
       test_a_header_that_cannot_be_trusted_ends_that_connection_alone
R22  a request that contradicts itself gets exception 03, and the stream stays whole
     system/test_bad_modbus.py
       test_a_request_that_contradicts_itself_gets_an_exception_and_the_next_one_its_answer
R23  function codes 0 and above 127 get exception 01 (the same test)
     system/test_bad_modbus.py
       test_a_request_that_contradicts_itself_gets_an_exception_and_the_next_one_its_answer
R24  transaction ids pair within a connection, in any order; more than `queue` is exception 06
     system/test_bad_modbus.py
       test_the_same_transaction_id_twice_gets_two_answers
       test_who_asks_too_much_at_once_is_told_busy_once_for_each_that_is_too_many
     links/test_modbus_client_deaths.py
       test_an_answer_with_another_transaction_id_is_passed_over
R25  unit ids of the gateway itself and of nobody
     system/test_bad_modbus.py
       test_a_unit_that_no_line_has_gets_exception_0a
R26  0A: no way there; 0B: no answer in time; exceptions of the device pass unchanged
     system/test_bad_input.py
       test_a_device_that_is_not_there_is_named_and_the_rest_works
       test_a_tty_that_vanishes_in_a_transaction_comes_back_behind_the_same_link
R27  answers come before the client gives up; what nobody waits for never reaches the line
     ports/test_bus_queue.py
       test_a_request_that_is_withdrawn_while_it_waits_never_reaches_the_wire
R28  TCP: tuned sockets, and a place for the newcomer
     system/test_sockets.py
       test_every_connection_is_tuned_from_detect_within_and_the_status_says_how
     host/test_listener.py
       test_who_was_idle_for_longest_makes_room
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RULES = [f"R{number}" for number in (*range(1, 14), *range(20, 29))]  # there are none between
SCRIPTED = ("test_rules_serial.py", "test_rules_tcp.py")
_LINE = re.compile(r"(?P<rule>R\d+) +\w.*| {5}(?P<file>\S+\.py)| {7}(?P<name>test_\w+)")
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def in_the_table() -> Iterator[tuple[str, str, str]]:
    """Rule, file and test."""
    assert __doc__
    rule = file = ""
    for line in __doc__.splitlines():
        if found := _LINE.fullmatch(line):
            rule, file = found["rule"] or rule, found["file"] or file
            if found["name"]:
                yield rule, file, found["name"]


def named_in(file: str) -> list[str]:
    return _TEST.findall((TESTS / file).read_text())


def scripted() -> Iterator[tuple[str, str]]:
    """Each test with a script, and the rule that its name begins with."""
    for file in SCRIPTED:
        for name in named_in(f"system/{file}"):
            found = re.match(r"test_r(\d+)_", name)
            yield f"R{found[1]}" if found else "", name


@pytest.mark.parametrize(("rule", "file", "name"), list(in_the_table()))
def test_what_the_table_names_is_there(rule: str, file: str, name: str) -> None:
    assert rule in RULES
    assert name in named_in(file)


def test_each_line_of_the_table_is_understood() -> None:
    assert __doc__
    _, table = __doc__.split("\n\n")
    assert [line for line in table.splitlines() if not _LINE.fullmatch(line)] == []


def test_each_rule_is_proved() -> None:
    assert {rule for rule, _, _ in in_the_table()} | {rule for rule, _ in scripted()} == set(RULES)


def test_each_test_with_a_script_says_which_rule_it_proves() -> None:
    assert [name for rule, name in scripted() if rule not in RULES] == []
