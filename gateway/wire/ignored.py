"""Exact bytes that a far end says by itself between requests, such as its heartbeat: to be dropped."""

from collections.abc import Iterable


class Ignored:
    """The words of the key `ignore`."""

    def __init__(self, words: Iterable[bytes]) -> None:
        self.words = sorted(words, key=len, reverse=True)

    def in_front(self, got: bytearray) -> int:
        """The length of the word that `got` begins with; 0 if with none, or if more may make it longer."""
        if self.may_grow(got):
            return 0
        return next((len(word) for word in self.words if got.startswith(word)), 0)

    def may_grow(self, got: bytearray) -> bool:
        """`got` is the beginning of a word."""
        return any(len(word) > len(got) and word.startswith(got) for word in self.words)
