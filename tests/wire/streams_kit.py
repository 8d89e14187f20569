"""Streams as bad lines and bad programs make them: parts in any order, and the whole cut anywhere."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

NOISE = st.binary(max_size=60)
CUTS = st.lists(st.integers(0, 3000), max_size=8)
EVERYWHERE = None  # instead of cuts: each byte by itself


def pieces(data: bytes, cuts: Sequence[int] | None) -> list[bytes]:
    """`data` as it is read: in one piece with no cuts."""
    if cuts is None:
        return [data[at : at + 1] for at in range(len(data))]
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def truncated(frame: bytes) -> st.SearchStrategy[bytes]:
    """Its beginning, or its end."""
    inside = st.integers(1, len(frame) - 1)
    return inside.map(lambda at: frame[:at]) | inside.map(lambda at: frame[at:])


def damaged(frame: bytes) -> st.SearchStrategy[bytes]:
    """The same with some wrong bits of one byte."""

    def damage(at: int, change: int) -> bytes:
        return frame[:at] + bytes((frame[at] ^ change,)) + frame[at + 1 :]

    return st.builds(damage, st.integers(0, len(frame) - 1), st.integers(1, 255))


def in_any_order(*parts: st.SearchStrategy[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(*parts), max_size=most).map(b"".join)
