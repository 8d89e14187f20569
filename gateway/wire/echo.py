"""The own request, given back by a 2-wire line: exactly its bytes, once, before anything else."""


class Echo:
    def __init__(self, sent: bytes) -> None:
        self._left = sent

    def strip(self, data: bytes) -> bytes:
        """What of `data` is no echo. From the first other byte on nothing is."""
        many = min(len(data), len(self._left))
        if data[:many] != self._left[:many]:
            same = next(at for at in range(many) if data[at] != self._left[at])
            self._left = b""
            return data[same:]
        self._left = self._left[many:]
        return data[many:]
