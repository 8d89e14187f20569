"""The Modbus PDU: which codes read and write, how long requests and answers are, what an exception looks
like.

A PDU is function code and data, without unit id, CRC or MBAP header; at most 253 bytes. Lengths are those of
the MODBUS Application Protocol V1.1b3, chapter 6.
"""

from ..errors import BadRequest, Refused

MAX_PDU = 253
READS = frozenset((1, 2, 3, 4, 7, 11, 12, 17, 20, 24, 43))
WRITES = frozenset((5, 6, 15, 16, 21, 22, 23))
BROADCASTS = frozenset((5, 6, 15, 16, 21, 22))  # writes without an answer of their own
EXCEPTION = 0x80
UNKNOWN = -1  # a length that only silence tells
MORE = 0  # a length that later bytes will tell

_BIT_READS, _REGISTER_READS = (1, 2), (3, 4)
_COUNTED = (12, 17, 20, 21)  # answers whose second byte counts the rest
_FIXED = {5: 5, 6: 5, 7: 2, 11: 5, 15: 5, 16: 5, 22: 7}
_SAME_AS_REQUEST = (8, 21)
_REPEATED = {5: 3, 6: 3, 8: 3, 15: 5, 16: 5, 21: 9, 22: 3, 43: 2}  # bytes in front that the answer repeats
_REQUEST_LENGTHS = {1: 5, 2: 5, 3: 5, 4: 5, 5: 5, 6: 5, 7: 1, 11: 1, 12: 1, 17: 1, 22: 7, 24: 3}
_COUNTED_REQUESTS = {15: 5, 16: 5, 20: 1, 21: 1, 23: 9}  # where the byte stands that counts the rest
_FILE_COUNTS = {20: range(7, 246, 7), 21: range(9, 252)}  # what it may count
_QUANTITIES = {  # where they stand, and how large they may be
    1: ((3, 2000),),
    2: ((3, 2000),),
    3: ((3, 125),),
    4: ((3, 125),),
    15: ((3, 1968),),
    16: ((3, 123),),
    23: ((3, 125), (7, 121)),
}


def reads(pdu: bytes) -> bool:
    """Whether asking again changes nothing in the device. 43/13 may write: it carries CANopen."""
    return pdu[0] in READS and (pdu[0] != 43 or pdu[1:2] == b"\x0e")


def exception(function: int, code: int) -> bytes:
    return bytes((function & 0x7F | EXCEPTION, code))


def check_request(pdu: bytes) -> None:
    """Raises Refused (01) for a function code that cannot be one, BadRequest (03) for a length that cannot
    be.
    """
    if not 0 < pdu[0] < EXCEPTION:
        raise Refused(f"function code {pdu[0]} does not exist")
    if not _fits_together(pdu):
        raise BadRequest(f"a request of function {pdu[0]} does not look like this")


def _fits_together(pdu: bytes) -> bool:
    """Its length, its quantities and its byte count, as far as its function has any."""
    function, size = pdu[0], len(pdu)
    at = _COUNTED_REQUESTS.get(function)
    if at is not None:
        whole = size > at and size == at + 1 + pdu[at] and _counts_right(pdu, at)
    elif function == 8:
        whole = size >= 3
    elif function == 43:
        whole = size == 4 if pdu[1:2] == b"\x0e" else size > 1
    else:
        whole = size == _REQUEST_LENGTHS.get(function, size)
    return whole and all(1 <= _word(pdu, at) <= most for at, most in _QUANTITIES.get(function, ()))


def is_request(pdu: bytes) -> bool:
    """Whether this can be one by its function and length, as far as that is known; else it is an answer, or
    nothing at all.
    """
    return 0 < pdu[0] < EXCEPTION and request_length(pdu) in (UNKNOWN, len(pdu))


def expected_length(request: bytes) -> int:
    """How long a good answer to `request` will be, as far as the request tells; else UNKNOWN."""
    function = request[0]
    if function in _BIT_READS:
        return 2 + _bytes(_word(request, 3))
    if function in _REGISTER_READS or function == 23:
        return 2 + 2 * _word(request, 3)
    if function in _SAME_AS_REQUEST:
        return len(request)
    return _FIXED.get(function, UNKNOWN)


def request_length(head: bytes | bytearray) -> int:
    """How long the request PDU that begins with `head` is, by its own words: a length, MORE or UNKNOWN, also
    where these contradict one another.

    Function 8 has two bytes of data but for subfunction 0, which may have any number.
    """
    if not head:
        return MORE
    function = head[0]
    if (at := _COUNTED_REQUESTS.get(function)) is not None:
        if len(head) <= at:
            return MORE
        return at + 1 + head[at] if _counts_right(head, at) else UNKNOWN
    if function == 8:
        if len(head) < 3:
            return MORE
        return 5 if _word(head, 1) else UNKNOWN
    if function == 43:
        if len(head) < 2:
            return MORE
        return 4 if head[1] == 14 else UNKNOWN
    return _REQUEST_LENGTHS.get(function, UNKNOWN)


def answer_length(head: bytes | bytearray) -> int:
    """How long the answer PDU that begins with `head` is, by its own words: a length, MORE or UNKNOWN.

    More than MAX_PDU: it is none.
    """
    if not head:
        return MORE
    function = head[0]
    if function & EXCEPTION:
        return 2
    if function in _FIXED:
        return _FIXED[function]
    if function in _BIT_READS or function in _REGISTER_READS or function == 23 or function in _COUNTED:
        return 2 + head[1] if len(head) > 1 else MORE
    if function == 24:
        return 3 + _word(head, 1) if len(head) > 2 else MORE
    if function == 43 and head[1:2] in (b"", b"\x0e"):
        return _identification_length(head)
    return UNKNOWN


def confirmation(request: bytes) -> bytes:
    """What a device answers to one of the BROADCASTS when it is meant alone: all of it but the values that
    15 and 16 write.
    """
    return request[: _FIXED.get(request[0], len(request))]


def answers(request: bytes, pdu: bytes | bytearray) -> bool:
    """Whether `pdu` can be the answer to `request`: function, length, and what is repeated of the request."""
    if pdu[0] & 0x7F != request[0]:
        return False
    if pdu[0] & EXCEPTION:
        return len(pdu) == 2
    size = len(pdu)
    if expected_length(request) not in (UNKNOWN, size) or answer_length(pdu) not in (UNKNOWN, size):
        return False
    repeated = _REPEATED.get(request[0], 1)
    return pdu[:repeated] == request[:repeated]


def _identification_length(head: bytes | bytearray) -> int:
    """Code 43/14 tells its length object by object: id, length, data.

    Where they do not fit into a PDU it is the length of those that do and one more.
    """
    if len(head) < 7:
        return MORE
    end = 7
    for _ in range(head[6]):
        if end + 2 > MAX_PDU:
            return end + 2
        if len(head) < end + 2:
            return MORE
        end += 2 + head[end + 1]
    return end


def _counts_right(head: bytes | bytearray, at: int) -> bool:
    """The byte at `at` counts what the quantity before it takes, or what a list of file records may take."""
    match head[0]:
        case 15:
            return head[at] == _bytes(_word(head, at - 2))
        case 16 | 23:
            return head[at] == 2 * _word(head, at - 2)
        case function:
            return head[at] in _FILE_COUNTS[function]


def _word(pdu: bytes | bytearray, at: int) -> int:
    return pdu[at] << 8 | pdu[at + 1]


def _bytes(bits: int) -> int:
    return (bits + 7) // 8
