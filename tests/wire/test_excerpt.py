"""A part of a larger answer is what the device itself would have answered: the demo's registers say what."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.registers import Registers
from gateway.wire.excerpt import excerpt, extent

_RANDOM = Random(1)
DEVICE = Registers(
    coils={address: _RANDOM.random() < 0.5 for address in range(3000)},
    discrete_inputs={address: _RANDOM.random() < 0.5 for address in range(3000)},
    holding={address: _RANDOM.randrange(1 << 16) for address in range(300)},
    inputs={address: _RANDOM.randrange(1 << 16) for address in range(300)},
)


def request(code: int, start: int, many: int) -> bytes:
    return bytes((code,)) + start.to_bytes(2, "big") + many.to_bytes(2, "big")


@given(st.sampled_from([1, 2, 3, 4]), st.integers(0, 150), st.data())
def test_an_excerpt_is_the_answer_to_the_smaller_read(code: int, start: int, data: st.DataObject) -> None:
    many = data.draw(st.integers(1, 2000 if code < 3 else 125))
    skip = data.draw(st.integers(0, many - 1))
    wanted = data.draw(st.integers(1, many - skip))
    whole = DEVICE.answer(request(code, start, many))

    assert excerpt(whole, skip, wanted) == DEVICE.answer(request(code, start + skip, wanted))


def test_only_reads_of_bits_and_registers_have_an_extent() -> None:
    assert [extent(request(code, 0x1234, 7)) for code in (1, 2, 3, 4)] == [(0x1234, 7)] * 4
    assert [extent(request(code, 0x1234, 7)) for code in (5, 6, 15, 16, 23, 43, 65)] == [None] * 7
