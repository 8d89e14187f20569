"""gatewayctl ports: the serial lines of this machine, and what the daemon has on them.

Without a daemon it looks for itself. With one, too: who has a line is seen better by root than by the daemon.
"""

from typing import Any

from ..host.holders import holders
from ..host.survey import survey
from ..show.ttys import table
from .asking import GOOD, Failed, Options, good, one, print_json
from .terminal import look


def ports(options: Options) -> int:
    try:
        rows, trouble = good(one(options, "ports")).get("ttys", []), None
    except Failed as failed:
        rows, trouble = survey({}), str(failed)
    _add_holders(rows)
    if options.json:
        print_json({"ok": True, "daemon": trouble is None, "trouble": trouble, "ttys": rows})
    else:
        print("\n".join(table(rows, look(), trouble)))
    return GOOD


def _add_holders(rows: list[Any]) -> None:
    """Those that we may see, and the daemon not."""
    held = holders({row["tty"] for row in rows})
    for row in rows:
        known = {holder["pid"] for holder in row["holders"]}
        mine = (holder for holder in held.get(row["tty"], ()) if holder.pid not in known)
        row["holders"] += [{**holder._asdict(), "how": list(holder.how)} for holder in mine]
