"""What is true of a queue beside its records, and outlives them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

from .frames import Kept, pack

NUMBER = 0  # of the frame that holds it; records begin at 1


@dataclass(frozen=True, kw_only=True)
class Meta:
    """Written in the transaction of the records that it speaks of."""

    next_number: int = 1
    confirmed: int = 0  # nothing up to here is wanted: it has arrived, was dropped, or is too old
    # By stream, the last that may have been given. A stream that is absent is new, or was lost with a file:
    # whoever begins it begins where no number has been, by the clock.
    seqs: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0  # records, since the queue exists
    records: int = 0  # how many stand in the file; counted by Cold, whatever it is told

    def at_least(self, other: "Meta") -> "Meta":
        """Whatever must not go back does not."""
        seqs = {**other.seqs, **self.seqs}
        return replace(
            self,
            next_number=max(self.next_number, other.next_number),
            confirmed=max(self.confirmed, other.confirmed),
            seqs={stream: max(seq, other.seqs.get(stream, 0)) for stream, seq in seqs.items()},
        )

    def frame(self) -> bytes:
        """Packed like a record: found, and proved, in a damaged file like one."""
        return pack(Kept(NUMBER, "", 0, 0.0, False, json.dumps(asdict(self)).encode()))


def meta_of(record: Kept | None) -> Meta | None:
    """What `frame` made a record of; None, if that is anything else."""
    if record is None or record.number != NUMBER:
        return None
    with suppress(ValueError, TypeError):
        return Meta(**json.loads(record.payload))
    return None
