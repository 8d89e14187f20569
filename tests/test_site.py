"""The running set of parts.

Start and reload are one function.
"""

import asyncio
from typing import Literal

from buffer_kit import Store
from site_kit import (
    BUFFERS,
    BUILT,
    ME,
    BusPort,
    KeepingLink,
    Line,
    LiveLink,
    LostLink,
    LostPort,
    RawPort,
    a_site,
    device,
    tree,
    written,
)
from virtual import in_virtual_time

from gateway.config import Tree
from gateway.config.sections import Gateway
from gateway.contracts import Frame
from gateway.policy.backoff import EARLY_TRY_WITHIN
from gateway.site import at_work


@in_virtual_time
async def test_ports_are_born_first_and_links_die_first() -> None:
    async with a_site() as site:
        assert await site.apply(tree(cloud=LiveLink(ports=("scale",)), scale=RawPort()), ME) == [
            "links.cloud",
            "ports.scale",
        ]
        assert written() == ["+ports.scale", "+links.cloud"]
        await site.stop()
        assert written() == ["-links.cloud", "-ports.scale"]


@in_virtual_time
async def test_the_same_config_once_more_changes_nothing() -> None:
    async with a_site() as site:
        config = {
            "scale": RawPort(),
            "cloud": LiveLink(ports=("scale",)),
            "bus": BusPort(),
            "meter": device("bus"),
        }
        await site.apply(tree(**config), ME)
        before, parts = written(), dict(BUILT)
        assert await site.apply(tree(**{name: part.model_copy() for name, part in config.items()}), ME) == []
        assert (len(before), written()) == (3, [])
        assert parts == BUILT


@in_virtual_time
async def test_with_the_same_shape_a_part_stays_and_lives_on_with_its_new_config() -> None:
    async with a_site() as site:
        link = LiveLink(ports=("scale",))
        await site.apply(tree(scale=RawPort(tag="old"), cloud=link), ME)
        written()
        port = BUILT["cloud"][1]
        assert await site.apply(tree(scale=RawPort(tag="new"), cloud=link), ME) == ["ports.scale"]
        assert written() == ["-ports.scale old", "+ports.scale new"]
        assert await site.apply(
            tree(scale=RawPort(tag="new"), cloud=LiveLink(ports=("scale",), tag="x")), ME
        ) == ["links.cloud"]
        assert BUILT["cloud"][1] == port


@in_virtual_time
async def test_another_shape_is_built_anew_with_all_that_refers_to_it() -> None:
    async with a_site() as site:
        others = {
            "meter": device("line"),
            "near": LiveLink(buses=("line",)),
            "far": KeepingLink(devices=("meter",)),
            "other": LiveLink(ports=("scale",)),
            "scale": RawPort(),
        }
        await site.apply(tree(line=BusPort(), **others), ME)
        line, scale = BUILT["near"][1], BUILT["other"][1]
        written()

        class NewBus(BusPort):
            mode: Literal["new-bus"] = "new-bus"  # type: ignore[assignment]

        assert await site.apply(tree(line=NewBus(), **others), ME) == [
            "devices.meter",
            "links.far",
            "links.near",
            "ports.line",
        ]
        assert "+links.other" not in written()
        assert BUILT["other"][1] == scale
        assert BUILT["near"][1] != line


@in_virtual_time
async def test_another_name_of_the_gateway_builds_the_links_anew_and_nothing_else() -> None:
    async with a_site() as site:
        config = tree(scale=RawPort(), cloud=LiveLink(ports=("scale",)))
        await site.apply(config, ME)
        written()
        assert await site.apply(config, ME._replace(name="there")) == ["links.cloud"]
        assert written() == ["-links.cloud", "+links.cloud"]
        assert BUILT["cloud"][0] == "there"


@in_virtual_time
async def test_what_leaves_the_config_ends_and_leaves_the_status_and_the_traces() -> None:
    async with a_site() as site:
        await site.apply(tree(scale=RawPort(), printer=RawPort()), ME)
        assert await site.apply(tree(scale=RawPort()), ME) == ["ports.printer"]
        assert written()[-1] == "-ports.printer"
        assert list(site.status()["ports"]) == ["scale"]
        assert list(site.traces()) == ["scale", "ports.scale"]


@in_virtual_time
async def test_a_link_keeps_its_records_over_a_reload_and_misses_none() -> None:
    async with a_site() as site:
        await site.apply(tree(scale=RawPort(), cloud=KeepingLink(ports=("scale",))), ME)
        (scale,) = BUILT["cloud"][1]
        assert isinstance(scale, Line)
        scale.frames.push(Frame(0.0, b"one"))
        more = tree(scale=RawPort(), printer=RawPort(), cloud=KeepingLink(ports=("scale", "printer")))
        assert "links.cloud" in await site.apply(more, ME)
        scale.frames.push(Frame(0.0, b"two"))
        assert [record.payload for record in await BUFFERS["cloud"].read(0, 10)] == [b"one", b"two"]


@in_virtual_time
async def test_what_is_said_while_buffers_are_made_ready_is_kept_and_the_status_is_whole() -> None:
    store = Store()
    async with a_site(store) as site:
        await site.apply(tree(scale=RawPort(), cloud=KeepingLink(ports=("scale",))), ME)
        (scale,) = BUILT["cloud"][1]
        assert isinstance(scale, Line)
        seen: list[object] = []

        def meanwhile() -> None:
            scale.frames.push(Frame(0.0, b"meanwhile"))
            seen.append(sorted(site.status()["links"]))

        store.meanwhile = meanwhile
        more = tree(scale=RawPort(), cloud=KeepingLink(ports=("scale",)), other=KeepingLink(ports=("scale",)))
        await site.apply(more, ME._replace(name="renamed"))
        assert [record.payload for record in await BUFFERS["cloud"].read(0, 10)] == [b"meanwhile"]
        assert seen == [["cloud"]]


@in_virtual_time
async def test_what_a_link_kept_is_there_again_when_it_comes_back_and_not_filled_meanwhile() -> None:
    async with a_site() as site:
        keeping = tree(scale=RawPort(), cloud=KeepingLink(ports=("scale",)))
        for later in (tree(scale=RawPort()), tree(scale=RawPort(), cloud=LiveLink(ports=("scale",)))):
            await site.apply(keeping, ME)
            (scale,) = BUILT["cloud"][1]
            assert isinstance(scale, Line)
            scale.frames.push(Frame(0.0, b"old"))
            await site.apply(later, ME)
            assert not scale.frames.taps
            scale.frames.push(Frame(0.0, b"nobody listens"))
        await site.apply(keeping, ME)
        assert [record.payload for record in await BUFFERS["cloud"].read(0, 10)] == [b"old", b"old"]


@in_virtual_time
async def test_a_part_that_does_not_end_holds_up_nobody_for_long() -> None:
    async with a_site() as site:
        await site.apply(tree(stuck=RawPort(stubborn_for=60.0), scale=RawPort()), ME)
        before = asyncio.get_running_loop().time()
        await site.apply(tree(scale=RawPort()), ME)
        assert asyncio.get_running_loop().time() - before < 3.0
        assert list(site.status()["ports"]) == ["scale"]


@in_virtual_time
async def test_it_is_healthy_while_all_that_is_configured_is_at_work() -> None:
    async with a_site() as site:
        await site.apply(tree(scale=RawPort()), ME)
        assert at_work(site.status())
        await site.apply(tree(scale=RawPort(), bus=BusPort(), meter=device("bus")), ME)
        assert not at_work(site.status())  # the meter was not asked yet
        assert site.status()["devices"]["meter"]["state"] == "unknown"
        assert site.status()["ports"]["scale"]["state"] == "open"


@in_virtual_time
async def test_a_name_that_two_have_is_traced_at_the_link() -> None:
    async with a_site() as site:
        ports = {"raw": RawPort(), "scale": RawPort()}
        await site.apply(tree(**ports), ME)
        at_the_port = site.traces()["scale"]
        links = {"scale": LiveLink(ports=("raw",))}
        await site.apply(Tree(gateway=Gateway(name="here"), ports=ports, links=links, devices={}), ME)
        assert site.traces()["scale"] is not at_the_port


@in_virtual_time
async def test_when_the_network_is_back_each_link_that_waits_tries_once_and_soon() -> None:
    async with a_site() as site:
        await site.apply(tree(a=LostLink(), b=LostLink(), up=LiveLink(), scale=RawPort()), ME)
        await asyncio.sleep(10)
        written()
        for _ in range(3):
            site.way_back()
        await asyncio.sleep(0)
        soon = [site.status()["links"][name]["next_try_s"] for name in ("a", "b")]
        assert all(isinstance(wait, float) and 0 < wait <= EARLY_TRY_WITHIN for wait in soon)
        assert soon[0] != soon[1]
        await asyncio.sleep(EARLY_TRY_WITHIN)
        assert sorted(written()) == ["links.a tries", "links.b tries"]
        assert site.status()["links"]["up"]["state"] == "up"


@in_virtual_time
async def test_the_network_is_nothing_to_a_serial_line() -> None:
    async def tries(network: bool) -> list[str]:
        async with a_site() as site:
            await site.apply(tree(scale=LostPort()), ME)
            for _ in range(100):
                await asyncio.sleep(0.1)
                if network:
                    site.way_back()
            return written()

    assert await tries(network=True) == await tries(network=False)
