"""The shape of the status record, as the interface page has it, and where a record differs from it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

TEXT, WHEN = (str,), (datetime,)  # a time is RFC 3339, UTC, milliseconds
COUNT, NUMBER = (int,), (int, float)
MAYBE_COUNT, MAYBE_NUMBER, MAYBE_WHEN = (int, type(None)), (int, float, type(None)), (datetime, type(None))

NOTHING = (type(None),)

Shape = dict[str, Any]  # of one object: by key the types, or a shape, or a list of one shape

LIFE: Shape = {
    "state": TEXT,
    "since": WHEN,
    "reason": TEXT,
    "next_try_s": MAYBE_NUMBER,
    "attempts": COUNT,
    "reconnects": COUNT,
    "deaths": COUNT,
    "last_death": NOTHING,
}
GATEWAY: Shape = {
    "name": TEXT,
    "version": TEXT,
    "pid": COUNT,
    "uptime_s": NUMBER,
    "config": TEXT,
    "config_loaded_at": WHEN,
    "config_problems": [],
    "state": TEXT,
}
UNIT: Shape = {
    "state": TEXT,
    "requests": COUNT,
    "answers": COUNT,
    "timeouts": COUNT,
    "late": COUNT,
    "latency_ms": {"p50": NUMBER, "p99": NUMBER},
}
RAW_PORT: Shape = LIFE | {
    "mode": TEXT,
    "tty": TEXT,
    "line": TEXT,
    "real_baudrate": MAYBE_COUNT,
    "rs485": NOTHING,
    "rx_bytes": COUNT,
    "tx_bytes": COUNT,
    "rx_frames": COUNT,
    "tx_frames": COUNT,
    "errors": {
        **dict.fromkeys(("timeout", "crc", "short", "late", "foreign", "echo", "exceptions"), COUNT),
        **dict.fromkeys(("overrun", "framing", "parity", "break"), MAYBE_COUNT),
    },
    "units": {},
    "role": NOTHING,
    "queue": COUNT,
    "busy_pct": NOTHING,
    "dropped_bytes": COUNT,
}
MODBUS_PORT: Shape = {key: value for key, value in RAW_PORT.items() if key != "dropped_bytes"} | {
    "role": TEXT,
    "busy_pct": NUMBER,
    "units": {"1": UNIT},
}
PEER: Shape = {
    "address": TEXT,
    "since": WHEN,
    "rx_bytes": COUNT,
    "tx_bytes": COUNT,
    "requests": COUNT,
    "silent_s": NUMBER,
    "proof_age_s": NUMBER,
    "detect_within_s": NUMBER,
    "rtt_ms": NUMBER,
    "rto_ms": NUMBER,
    "retransmits": COUNT,
    "unacked_bytes": COUNT,
    "keepalive": {"idle_s": COUNT, "interval_s": COUNT, "count": COUNT, "user_timeout_ms": COUNT},
}
LINK: Shape = LIFE | {
    "kind": TEXT,
    "direction": TEXT,
    "endpoint": TEXT,
    "detect_within_s": NUMBER,
    "peers": [PEER],
}
LISTENER: Shape = LINK | {"refused": COUNT, "not_allowed": COUNT}
BUFFERED: Shape = {
    "buffer": {
        "records": COUNT,
        "bytes": COUNT,
        "oldest_age_s": MAYBE_NUMBER,
        "age_s": NUMBER,
        "dropped": COUNT,
        "capacity_bytes": COUNT,
        "fills_in_s": MAYBE_COUNT,
        "drain_eta_s": MAYBE_COUNT,
        "durability": TEXT,
        "trouble": NOTHING,
    },
    "sent": COUNT,
    "confirmed": COUNT,
}
LINKS: Shape = {
    "scada": LISTENER | {"ports": [TEXT], "denied": COUNT},
    "console": LISTENER | {"port": TEXT},
    "far": LINK | BUFFERED | {"port": TEXT},
    "cloud": LINK
    | BUFFERED
    | {
        "ports": [TEXT],
        "devices": [TEXT],
        "refused": COUNT,
        "commands": dict.fromkeys(("done", "refused", "repeated"), COUNT),
    },
}
DEVICE: Shape = LIFE | {
    "port": TEXT,
    "unit_id": COUNT,
    "present": TEXT,
    "last_good": MAYBE_WHEN,
    "polls": COUNT,
    "errors": COUNT,
    "values": {"count": COUNT},
}
RECORD: Shape = {
    "ok": (bool,),
    "gateway": GATEWAY,
    "ports": {"meters": MODBUS_PORT, "scale": RAW_PORT},
    "links": LINKS,
    "devices": {"meter": DEVICE},
}


def misfits(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """Where a value is not what its shape says."""
    match shape:
        case list():
            if not isinstance(value, list):
                yield f"{path}: {value!r} is no list"
                return
            for place, inner in enumerate(value):
                yield from misfits(inner, shape[0], f"{path}[{place}]") if shape else [f"{path} is not empty"]
        case tuple():
            if type(value) not in shape and not (datetime in shape and _is_time(value)):
                yield f"{path}: {value!r}"
        case _:
            for key in sorted(value.keys() ^ shape.keys()):
                yield f"{path}.{key} is {'missing' if key in shape else 'more than agreed'}"
            for key in value.keys() & shape.keys():
                yield from misfits(value[key], shape[key], f"{path}.{key}")


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not value.endswith("Z") or len(value) != 24:
        return False
    return datetime.fromisoformat(value).utcoffset() is not None
