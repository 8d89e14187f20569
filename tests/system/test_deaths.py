"""However a link dies, it is known in time, in the right words, and it comes back soon after its wire.

Every link kind in both directions, two bounds, four kinds of traffic and seven deaths, all side by side in
one gateway; once more as on a kernel without TCP_RTO_MAX_MS.
"""

import asyncio
from functools import partial

import pytest
from deaths_kit import Death, Kind, Outcome, as_table, every_case
from lab_kit import lab
from programs_kit import gatewayd
from wires_kit import TOOLS, Wires, wires

BOUNDS = (3, 5)
SETTLES = 1.5  # seconds, longer than `stable`: what dies is a link that was well
LATE = 1.0  # seconds before the bound: the worst moment, because a write starts the kernel's clock anew
NO_PROOF = "no round trip for|no acknowledgement from the peer|no PINGRESP"
REASONS = {
    Death.BOTH: NO_PROOF,
    Death.OURS: NO_PROOF,
    Death.THEIRS: NO_PROOF,
    Death.MAPPING: NO_PROOF,
    Death.POWER: "reset by the peer",
    Death.ADDRESS: "address",
    Death.CONNECT: "no answer from",
}
pytestmark = [pytest.mark.needs("mosquitto", *TOOLS), pytest.mark.timeout(180)]


@pytest.fixture(scope="module", params=[False, True], ids=["this kernel", "without TCP_RTO_MAX_MS"])
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    """Of all cases."""
    with wires() as made:
        return asyncio.run(_of_all(made, old_kernel=request.param))


async def _of_all(made: Wires, *, old_kernel: bool) -> list[Outcome]:
    cases = every_case(BOUNDS)
    async with lab(cases, made, partial(gatewayd, old_kernel=old_kernel)) as running:
        await asyncio.sleep(SETTLES)
        groups = [(death, [case for case in cases if case.death is death]) for death in Death]
        ends = await asyncio.gather(*(running.die(death, group, LATE) for death, group in groups))
    outcomes = [outcome for end in ends for outcome in end]
    print(as_table(outcomes))
    return outcomes


@pytest.mark.parametrize("death", Death)
@pytest.mark.parametrize("kind", Kind)
def test_a_death_is_reported_in_time_and_the_link_comes_back(
    outcomes: list[Outcome], kind: Kind, death: Death
) -> None:
    ours = [outcome for outcome in outcomes if (outcome.case.kind, outcome.case.death) == (kind, death)]
    faults = [fault for outcome in ours for fault in outcome.faults(REASONS[death])]
    assert not faults, "\n" + as_table(ours, REASONS[death])
