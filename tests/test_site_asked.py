"""Lines whose master asks, in a site: who answers on them, from its first session to its last."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from site_kit import ME, BusPort, Line, LostLink, RawPort, Unreachable, a_site, tree, written
from virtual import in_virtual_time

from gateway.contracts import Asking, Part, Request, Transactor, failed
from gateway.errors import LinkDown
from gateway.settings import Claim, Need, Wiring
from gateway.values import Names

ANSWERING: dict[str, dict[int, str]] = {}  # on which line who stands for which unit now
LEADING: dict[str, list[Transactor]] = {}  # of each such line the ports that it was built with


@dataclass(eq=False)
class Panel(Line):
    answering: dict[int, str] = field(default_factory=dict)

    @contextmanager
    def answered_by(self, target: Any, units: Collection[int], /) -> Iterator[None]:
        self.answering |= dict.fromkeys(units, target.name)
        try:
            yield
        finally:
            for unit in units:
                del self.answering[unit]


class PanelPort(RawPort):
    offers: ClassVar[Mapping[str, type]] = {"": Asking}
    mode: Literal["panel"] = "panel"  # type: ignore[assignment]
    buses: Names = ()

    def needs(self) -> Iterator[Need]:
        yield from (Need(("units", name), name, Transactor) for name in self.buses)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        LEADING[name] = [wiring.transactor(bus) for bus in self.buses]
        panel = Panel(f"ports.{name}", self, "open")
        ANSWERING[name] = panel.answering
        return panel


class Away(Unreachable):
    def ask(self, request: Request, /) -> Any:
        return failed(LinkDown("network unreachable"))


class Answerer(LostLink):
    """A link whose far end is never there."""

    kind: Literal["answerer"] = "answerer"  # type: ignore[assignment]
    panel: str = "panel"
    units: tuple[int, int] = (1, 2)

    def needs(self) -> Iterator[Need]:
        yield Need(("panel",), self.panel, Asking)

    def claims(self) -> Iterator[Claim]:
        yield Claim(("units",), self.panel, range(*self.units))

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Away(f"links.{name}", self, "up")


@in_virtual_time
async def test_a_link_stands_for_its_units_as_long_as_it_is_configured_be_its_far_end_away_or_not() -> None:
    async with a_site() as site:
        await site.apply(tree(panel=PanelPort(), plc=Answerer(), other=Answerer(units=(5, 7))), ME)
        assert site.status()["links"]["plc"]["state"] == "waiting"
        assert ANSWERING["panel"] == {1: "links.plc", 5: "links.other", 6: "links.other"}
        await site.apply(
            tree(panel=PanelPort(), plc=Answerer(units=(5, 6)), other=Answerer(units=(1, 2))), ME
        )
        assert ANSWERING["panel"] == {5: "links.plc", 1: "links.other"}
        await site.apply(tree(panel=PanelPort(), plc=Answerer(units=(5, 6))), ME)
        assert ANSWERING["panel"] == {5: "links.plc"}
        await site.stop()
        assert ANSWERING["panel"] == {}


@in_virtual_time
async def test_ports_that_others_answer_for_are_born_behind_those_wherever_they_stand() -> None:
    async with a_site() as site:
        await site.apply(tree(panel=PanelPort(buses=("bus",)), bus=BusPort(), hmi=PanelPort()), ME)
        assert written() == ["+ports.bus", "+ports.hmi", "+ports.panel"]


@in_virtual_time
async def test_a_line_that_is_built_anew_takes_along_who_refers_to_it() -> None:
    async with a_site() as site:
        panel, plc = PanelPort(buses=("bus",)), Answerer()
        await site.apply(tree(panel=panel, bus=BusPort(), plc=plc), ME)
        (bus,) = LEADING["panel"]

        class NewBus(BusPort):
            mode: Literal["new-bus"] = "new-bus"  # type: ignore[assignment]

        changed = await site.apply(tree(panel=panel, bus=NewBus(), plc=plc), ME)
        assert changed == ["links.plc", "ports.bus", "ports.panel"]
        assert LEADING["panel"] != [bus]
        assert ANSWERING["panel"] == {1: "links.plc"}
        assert await site.apply(tree(panel=panel, bus=NewBus(tag="x"), plc=plc), ME) == ["ports.bus"]
