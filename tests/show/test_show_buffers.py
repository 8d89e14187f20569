"""`gatewayctl buffer` word for word."""

from typing import Any

import pytest

from gateway.show.buffers import detail, question, table
from gateway.show.picture import Look

NOW = 0.0
PLAIN = Look(NOW)
TROUBLE = "/var/lib/gateway/buffers: permission denied"


def buffer(**more: Any) -> dict[str, Any]:
    """One that is healthy and empty, but for what is said."""
    return {
        "link": "cloud",
        "kind": "mqtt",
        "configured": True,
        "records": 0,
        "bytes": 0,
        "oldest_age_s": None,
        "age_s": 604800.0,
        "dropped": 0,
        "capacity_bytes": 64 << 20,
        "fills_in_s": None,
        "drain_eta_s": None,
        "durability": "crash",
        "trouble": None,
        "written_today_bytes": 0,
    } | more


AWAY = buffer(records=4506, bytes=1258291, oldest_age_s=3741.4, fills_in_s=21900, written_today_bytes=3 << 20)
EVERYTHING = {
    "cloud": AWAY,
    "cloud.refused": buffer(kind="refused", configured=False, records=2, bytes=180, oldest_age_s=90.0),
    "far": buffer(link="far", kind="tcp", capacity_bytes=65536, fills_in_s=30, dropped=12),
    "old.tcp": buffer(link="old", kind="tcp", configured=False, records=7, bytes=700, oldest_age_s=1e6),
    "plant": buffer(link="plant", kind="modbus-client", trouble=TROUBLE, written_today_bytes=None),
}
DRAWN = """\
  BUFFER         RECORDS  SIZE    OF     OLDEST     DROPPED  WRITTEN TODAY  DURABILITY
  cloud            4,506  1.2 MB  64 MB  1 h 2 min        0  3 MB           crash
    holds about 6 h at the present rate
  cloud.refused        2  180 B          1 min            0  0 B            crash
    what the far end of cloud refused: kept until it is cleared
  far                  0  0 B     64 KB                  12  0 B            crash
    holds about 30 s at the present rate
  old.tcp              7  700 B          11 d 13 h        0  0 B            crash
    no tcp link of that name is configured: kept until it is cleared
! plant                0  0 B     64 MB                   0  ?              crash
    in memory only: /var/lib/gateway/buffers: permission denied"""


def test_a_table_has_a_line_for_each_and_what_is_to_be_said_of_it() -> None:
    assert "\n".join(table(EVERYTHING, PLAIN)) == DRAWN


@pytest.mark.parametrize("width", [20, 40, 80])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, table(EVERYTHING, Look(NOW, width)))) <= width


def test_trouble_is_red_and_what_is_to_be_told_is_yellow() -> None:
    lines = table(EVERYTHING, Look(NOW, colour=True))
    assert [line[7:12] for line in lines if line.startswith("\x1b[31m")] == ["plant"]
    assert f"\x1b[33m    in memory only: {TROUBLE}\x1b[0m" in lines
    assert detail({"plant": EVERYTHING["plant"]}, Look(NOW, colour=True))[0].startswith(
        "\x1b[31mbuffer plant"
    )


def test_a_gateway_that_keeps_nothing_says_so() -> None:
    assert table({}, PLAIN) == ["no link keeps anything"]


def test_one_in_detail() -> None:
    assert detail({"cloud": AWAY}, PLAIN) == [
        "buffer cloud: 4,506 records",
        "  link         cloud, mqtt",
        "  holds        4,506 records, 1.2 MB of 64 MB, none dropped, oldest 1 h 2 min",
        "  outlook      holds about 6 h at the present rate",
        "  written      3 MB to the disk since midnight UTC",
        "  durability   crash: survives a crash",
    ]


def test_one_in_trouble_says_what_it_is_and_no_figure_that_nobody_knows() -> None:
    assert detail({"plant": EVERYTHING["plant"]}, PLAIN)[3:] == [
        "  durability   crash: in memory only",
        f"  trouble      {TROUBLE}",
    ]


def test_one_whose_link_has_gone_says_how_long_it_stays() -> None:
    assert detail({"old.tcp": EVERYTHING["old.tcp"]}, PLAIN)[-1] == (
        "               no tcp link of that name is configured: kept until it is cleared"
    )


def test_what_a_record_does_not_say_is_left_out() -> None:
    assert table({"x": {}}, PLAIN)
    assert detail({"x": {}}, PLAIN)


def test_names_from_outside_cannot_move_the_cursor() -> None:
    evil = {"\x1b[2Jx": buffer(trouble="\x07", link="\r")}
    for shown in (*table(evil, PLAIN), *detail(evil, PLAIN), question("\x1b[2Jx", AWAY)):
        assert shown.isprintable()


def test_before_it_is_cleared_it_says_what_would_be_lost() -> None:
    told = "cloud: 4,506 records, the oldest 1 h 2 min old, will be gone for good. Clear them?"
    assert question("cloud", AWAY) == told
