"""One performance: the plant, the story and somebody who watches."""

import asyncio

from ..scope import Scope
from .gatewayd import GatewaydError
from .plant import Plant, plant
from .screen import Paper, Screen
from .story import Claim, Story


async def play(seconds: float | None) -> int:
    """For `seconds`, or on the screen until [q]. The exit code."""
    try:
        async with plant() as whole:
            claims = await (_on_screen(whole) if seconds is None else _on_paper(whole, seconds))
    except GatewaydError as error:
        print(error)
        return 1
    for claim in claims:
        print("ok    " if claim.good else "FAILED", claim.text)
    return 0 if all(claim.good for claim in claims) else 1


async def _on_paper(whole: Plant, seconds: float) -> list[Claim]:
    paper = Paper()
    paper.tell(
        f"SCADA polls Modbus TCP 127.0.0.1:{whole.scada.port}, the broker is 127.0.0.1:{whole.cable.port}"
    )
    async with Scope() as watching:
        watching.start(paper.show(whole))
        claims = await Story(whole, paper.tell).by_clock(seconds)
    print(await asyncio.to_thread(whole.gateway.ctl, "status"), end="")
    return claims


async def _on_screen(whole: Plant) -> list[Claim]:
    with Screen() as screen:
        async with Scope() as watching:
            watching.start(screen.show(whole))
            return await Story(whole, screen.tell).by_keys(screen.keys)
