"""News in short, and a network of its own in which a process follows them."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process

from gateway.host.netlink import News


def news(what: str, interface: str, *addresses: str) -> News:
    return News(what, interface, frozenset(addresses))  # type: ignore[arg-type]


FOLLOWER = """
import asyncio, json
from gateway.host.loop import new_event_loop
from gateway.host.netlink import follow

def tell(news):
    print(json.dumps([news.what, news.interface, sorted(news.addresses)]), flush=True)

print(flush=True)
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(follow(tell))
"""


class Namespace:
    """A network of its own, and a process in it that follows the news."""

    def __init__(self, follower: Process) -> None:
        self.follower = follower
        self._marks = 0

    async def ip(self, *commands: str) -> None:
        """In one go, as `ip -batch` has them."""
        inside = ("nsenter", f"--target={self.follower.pid}", "--user", "--net", "--preserve-credentials")
        ip = await asyncio.create_subprocess_exec(*inside, "ip", "-batch", "-", stdin=PIPE)
        await ip.communicate("\n".join(commands).encode())
        assert ip.returncode == 0, commands

    async def news(self) -> News:
        assert self.follower.stdout is not None
        async with asyncio.timeout(30):
            line = await self.follower.stdout.readline()
        what, interface, addresses = json.loads(line)
        return news(what, interface, *addresses)

    async def news_of(self, *commands: str) -> list[News]:
        """What is told of them and of nothing later."""
        self._marks += 1
        mark = f"198.18.0.{self._marks}"
        await self.ip(*commands, f"address add {mark}/32 dev lo")
        heard = []
        while (one := await self.news()) != news("way back", "lo", mark):
            heard.append(one)
        return heard

    async def hears(self, what: str, interface: str) -> News:
        """The next of this kind, with whatever else is told before it."""
        while (one := await self.news())[:2] != (what, interface):
            pass
        return one


async def begun(host: Namespace) -> None:
    """Nothing is told before the follower knows how it was: something is changed until it tells."""
    heard = asyncio.create_task(host.news())
    while not heard.done():
        await host.ip("address add 198.18.1.1/32 dev lo", "address del 198.18.1.1/32 dev lo")
        await asyncio.wait((heard,), timeout=0.1)
    await host.ip("link set lo up", "link add eth0 type veth peer name switch")
    await host.ip(*(f"link set {end} addrgenmode none up" for end in ("eth0", "switch")))
    await host.hears("carrier back", "eth0")
    await host.news_of()
