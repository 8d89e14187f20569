"""When a heartbeat goes out, and where: never inside a frame of the line, whose bytes pass on at once.

A frame in which nothing came for a whole period counts as over: a noise byte on a line with delimiters must
not silence heartbeats for ever.
"""


class Schedule:
    """Of one connection. Every `every` seconds without anything said there; `strict`: whatever was said.

    All times are seconds on the caller's clock; it begins when the connection does, `now`.
    """

    def __init__(self, every: float, strict: bool, now: float) -> None:
        self._every, self._strict = every, strict
        self._said, self._due = now, now + every

    def said(self, now: float) -> None:
        """Until now the far end was being told what the line says; nothing more waits."""
        self._said = now

    def beaten(self, now: float) -> None:
        """A heartbeat went out. A strict one that was late does not delay those after it."""
        late = (now - self._due) % self._every if self._strict else 0.0
        self._due = now - late + self._every

    def due(self, now: float) -> bool:
        """`place` may find one, if no frame is in the way."""
        return now >= self._due and (self._strict or now >= self._said + self._every)

    def place(self, size: int, unfinished: int, now: float) -> int | None:
        """How many of the `size` bytes that go out now, the last that came, go in front of a heartbeat.

        None: no heartbeat now. `unfinished`: how many bytes came of a frame that has not ended.
        """
        if now < self._due:
            return None
        if now >= self._said + self._every:  # these bytes begin something new
            return 0
        return size - unfinished if self._strict and unfinished <= size else None

    def next(self, now: float) -> float:
        """When to look again, after `place` said None, if nothing is said and no frame ends until then."""
        return self._due if now < self._due else self._said + self._every
