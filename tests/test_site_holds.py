"""Ports that are let go of for a while: a pause, a scan with other settings."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from site_kit import BUILT, ME, BusPort, Line, LiveLink, RawPort, a_site, device, tree, written
from virtual import in_virtual_time

from gateway.contracts import Asker, Request, Stream
from gateway.errors import GatewayError, LineDown
from gateway.site import Site, at_work

SCADA = Asker("10.0.0.8", 1)


def meters(**keys: Any) -> Any:
    return tree(meters=BusPort(**keys), meter=device("meters"), scada=LiveLink(buses=("meters",)))


def port(site: Site, name: str = "meters") -> dict[str, Any]:
    return site.status()["ports"][name]


@in_virtual_time
async def test_a_pause_closes_the_port_alone_and_takes_it_back_by_itself() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        written()
        await site.pause("meters", 600.0)
        assert written() == ["-ports.meters"]
        assert (port(site)["state"], port(site)["next_try_s"]) == ("paused", 600.0)
        assert port(site)["reason"].startswith("paused until ")
        assert not at_work(site.status())
        await asyncio.sleep(599)
        assert written() == []
        await asyncio.sleep(2)
        assert written() == ["+ports.meters"]
        assert (port(site)["state"], port(site)["reason"]) == ("open", "")


@in_virtual_time
async def test_whoever_asks_meanwhile_is_told_that_it_is_paused() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        await site.pause("meters", 600.0)
        with pytest.raises(LineDown, match="paused until") as down:
            await site.transactor("meters").ask(Request(1, b"\x03\x00\x00\x00\x01", SCADA))
        assert down.value.modbus == 0x0A


@in_virtual_time
async def test_resume_ends_a_pause_and_nothing_else() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        with pytest.raises(GatewayError, match="meters is not paused"):
            site.resume("meters")
        await site.pause("meters", 600.0)
        written()
        site.resume("meters")
        await asyncio.sleep(0.1)
        assert written() == ["+ports.meters"]
        with pytest.raises(GatewayError, match="meters is not paused"):
            site.resume("meters")


@in_virtual_time
async def test_a_pause_during_a_pause_moves_its_end() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        await site.pause("meters", 600.0)
        await site.pause("meters", 5.0)
        written()
        await asyncio.sleep(6)
        assert written() == ["+ports.meters"]
        await asyncio.sleep(600)
        assert written() == []


@in_virtual_time
async def test_a_reload_during_a_pause_leaves_the_port_paused_and_counts_after_it() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        await site.pause("meters", 600.0)
        written()
        await site.apply(meters(tag="new"), ME)
        await asyncio.sleep(500)
        assert [entry for entry in written() if "ports." in entry] == []
        assert port(site)["state"] == "paused"
        await asyncio.sleep(101)
        assert written() == ["+ports.meters new"]


@in_virtual_time
async def test_a_port_that_is_built_anew_stays_paused_too() -> None:
    class NewBus(BusPort):
        mode: Any = "new-bus"

    async with a_site() as site:
        await site.apply(meters(), ME)
        before = BUILT["scada"][1]
        await site.pause("meters", 600.0)
        after = tree(meters=NewBus(), meter=device("meters"), scada=LiveLink(buses=("meters",)))
        await site.apply(after, ME)
        (line,) = BUILT["scada"][1]
        assert [line] != before
        assert isinstance(line, Line)
        assert line.away.startswith("paused until")
        assert port(site)["state"] == "paused"
        site.resume("meters")
        await asyncio.sleep(0.1)
        assert (port(site)["state"], line.away) == ("open", "the port is not open yet")


@in_virtual_time
async def test_a_raw_port_can_be_paused_too() -> None:
    async with a_site() as site:
        await site.apply(tree(scale=RawPort()), ME)
        await site.pause("scale", 60.0)
        assert port(site, "scale")["state"] == "paused"
        assert written() == ["+ports.scale", "-ports.scale"]


@in_virtual_time
async def test_a_port_that_is_lent_is_back_however_the_block_ends() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        written()
        async with site.lent("meters") as line:
            assert line is site.transactor("meters")
            assert written() == ["-ports.meters"]
            assert (port(site)["state"], port(site)["reason"]) == ("paused", "being scanned by gatewayctl")
            assert port(site)["next_try_s"] is None
            await asyncio.sleep(3600)
            assert written() == []
        await asyncio.sleep(0.1)
        assert written() == ["+ports.meters"]
        with pytest.raises(ZeroDivisionError):
            async with site.lent("meters"):
                raise ZeroDivisionError
        await asyncio.sleep(0.1)
        assert written() == ["-ports.meters", "+ports.meters"]


@in_virtual_time
async def test_whoever_is_cancelled_while_the_port_closes_gives_it_back() -> None:
    async def scan(site: Site) -> None:
        async with site.lent("meters"):
            raise AssertionError("it was cancelled before")

    async with a_site() as site:
        await site.apply(meters(stubborn_for=1.0), ME)
        written()
        task = asyncio.create_task(scan(site))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.sleep(2)
        assert task.cancelled()
        assert sorted(written()) == ["+ports.meters", "-ports.meters"]
        assert port(site)["state"] == "open"


@in_virtual_time
async def test_one_scan_or_pause_at_a_time() -> None:
    async with a_site() as site:
        await site.apply(meters(), ME)
        async with site.lent("meters"):
            for attempt in (site.pause("meters", 1.0), lend(site)):
                with pytest.raises(GatewayError, match="meters is being scanned by gatewayctl"):
                    await attempt
            with pytest.raises(GatewayError, match="meters is being scanned by gatewayctl"):
                site.resume("meters")
        await asyncio.sleep(0.1)
        await site.pause("meters", 60.0)
        with pytest.raises(GatewayError, match="meters is paused until"):
            await lend(site)
        assert port(site)["state"] == "paused"


async def lend(site: Site) -> None:
    async with site.lent("meters"):
        raise AssertionError("it is taken")


@in_virtual_time
async def test_a_port_that_leaves_the_config_meanwhile_is_gone() -> None:
    async with a_site() as site:
        await site.apply(tree(meters=BusPort(), scale=RawPort()), ME)
        async with site.lent("meters"):
            assert await site.apply(tree(scale=RawPort()), ME) == ["ports.meters"]
        await asyncio.sleep(0.1)
        assert list(site.status()["ports"]) == ["scale"]
        await site.apply(tree(meters=BusPort(), scale=RawPort()), ME)
        await asyncio.sleep(0.1)
        assert port(site)["state"] == "open"


@in_virtual_time
async def test_a_line_on_which_we_do_not_ask_says_why() -> None:
    class ServerPort(RawPort):
        offers: ClassVar[Mapping[str, type]] = {"server": Stream}
        mode: Any = "modbus"
        role: str = "server"

    async with a_site() as site:
        await site.apply(tree(meters=BusPort(), scale=RawPort(), panel=ServerPort()), ME)
        assert site.line("meters") is site.transactor("meters")
        with pytest.raises(GatewayError, match="scale cannot be asked: a raw port has no unit ids"):
            site.line("scale")
        with pytest.raises(GatewayError, match='panel cannot be asked: its role is "server"'):
            site.line("panel")
