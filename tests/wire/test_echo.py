"""The own request given back: dropped exactly, once, however it comes."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.echo import Echo

SENT = b"\x01\x03\x00\x00\x00\x02\xc4\x0b"


@given(st.binary(max_size=20), st.integers(1, 10))
def test_what_comes_behind_the_echo_is_kept_at_any_split(behind: bytes, size: int) -> None:
    echo, came = Echo(SENT), SENT + behind
    kept = b"".join(echo.strip(came[start : start + size]) for start in range(0, len(came), size))

    assert kept == behind


def test_only_the_first_time_is_it_an_echo() -> None:
    assert Echo(SENT).strip(SENT + SENT) == SENT


def test_what_is_no_echo_is_kept_from_the_first_other_byte_on() -> None:
    echo = Echo(SENT)

    assert echo.strip(b"\x01\x03\x04") == b"\x04"
    assert echo.strip(SENT) == SENT
