"""What a real kernel says about the network of a namespace, and one that says nothing."""

import asyncio
import errno
import os
import platform
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from netlink_kit import FOLLOWER, Namespace, begun, news

from gateway.host.netlink import follow
from gateway.scope import Scope


@pytest_asyncio.fixture
async def namespace() -> AsyncIterator[Namespace]:
    """With lo, and eth0 and switch, which are the ends of one cable; all of them are switched on."""
    if subprocess.run(["unshare", "-Urn", "true"], check=False).returncode:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("unshare is not allowed here")
    follower = await asyncio.create_subprocess_exec(
        "unshare", "-Urn", sys.executable, "-c", FOLLOWER, stdout=PIPE
    )
    try:
        assert follower.stdout is not None
        await follower.stdout.readline()
        host = Namespace(follower)
        await begun(host)
        yield host
    finally:
        with suppress(ProcessLookupError):
            follower.kill()
        await follower.communicate()


in_a_namespace = pytest.mark.needs("ip", "unshare", "nsenter")


@in_a_namespace
async def test_the_kernel_tells_of_addresses(namespace: Namespace) -> None:
    assert await namespace.news_of("address add 10.0.0.1/24 dev eth0") == [
        news("way back", "eth0", "10.0.0.1")
    ]
    assert await namespace.news_of("address add 10.0.0.2 peer 10.9.9.9 dev eth0") == [
        news("way back", "eth0", "10.0.0.2")
    ]
    assert await namespace.news_of("address del 10.0.0.1/24 dev eth0") == [
        news("address gone", "eth0", "10.0.0.1")
    ]
    await namespace.ip("address add fd00::1/64 dev eth0 nodad")
    assert await namespace.hears("way back", "eth0") == news("way back", "eth0", "fd00::1")
    assert await namespace.news_of("address del fd00::1/64 dev eth0") == [
        news("address gone", "eth0", "fd00::1")
    ]


@in_a_namespace
async def test_the_kernel_tells_of_carrier(namespace: Namespace) -> None:
    await namespace.ip("address add 10.0.0.1/24 dev eth0")
    await namespace.ip("link set switch down")

    assert await namespace.hears("carrier lost", "eth0") == news("carrier lost", "eth0", "10.0.0.1")
    await namespace.ip("link set switch up")
    assert await namespace.hears("carrier back", "eth0") == news("carrier back", "eth0", "10.0.0.1")
    heard = await namespace.news_of("link set eth0 down")
    assert news("carrier lost", "eth0", "10.0.0.1") in heard
    await namespace.ip("link set eth0 up")
    await namespace.hears("carrier back", "eth0")


@in_a_namespace
async def test_an_address_of_ipv6_is_told_when_nobody_else_has_it(namespace: Namespace) -> None:
    await namespace.ip("link set switch down")
    await namespace.hears("carrier lost", "eth0")

    assert await namespace.news_of("address add fd00::1/64 dev eth0") == []
    await namespace.ip("link set switch up")
    await namespace.hears("carrier back", "eth0")
    assert await namespace.hears("way back", "eth0") == news("way back", "eth0", "fd00::1")


@in_a_namespace
async def test_the_kernel_tells_of_routes_that_lead_out(namespace: Namespace) -> None:
    await namespace.news_of("address add 10.0.0.1/24 dev eth0")
    await namespace.ip("address add fd00::1/64 dev eth0 nodad")
    await namespace.hears("way back", "eth0")

    for way in (
        "default via 10.0.0.254",
        "192.0.2.0/24 via 10.0.0.254",
        "default dev eth0 metric 9",
        "default via fd00::2",
    ):
        assert await namespace.news_of(f"route add {way}") == [news("way back", "eth0")]
    assert await namespace.news_of(
        "route add 192.0.3.0/24 nexthop via 10.0.0.253 nexthop via 10.0.0.252",
    ) == [news("way back", "")]


@in_a_namespace
@pytest.mark.parametrize(
    "commands",
    [
        ["address change 10.0.0.1/24 dev eth0 valid_lft 600 preferred_lft 300"],
        ["link set eth0 mtu 1400", "link set eth0 alias outside"],
        ["link add br0 type bridge", "link set eth0 master br0", "link set eth0 nomaster"],
        ["address add 169.254.1.1/16 dev eth0 scope link"],
        ["route add 192.0.2.0/24 dev eth0", "route add 192.0.3.0/24 via 10.0.0.254 table 100"],
        ["route add default via 10.0.0.254 table 100", "route add unreachable default metric 99"],
        ["link add name spare type veth peer name spare_end"],
    ],
    ids=lambda commands: commands[0],
)
async def test_what_takes_nothing_and_leads_nowhere_is_not_told(
    namespace: Namespace, commands: list[str]
) -> None:
    await namespace.ip("address add 10.0.0.1/24 dev eth0")
    await namespace.news_of()

    assert await namespace.news_of(*commands) == []


@in_a_namespace
async def test_an_interface_that_is_unplugged_loses_its_addresses(namespace: Namespace) -> None:
    await namespace.news_of("address add 10.0.0.1/24 dev eth0")

    heard = await namespace.news_of("link del eth0")
    assert [one for one in heard if one.interface == "eth0"] == [
        news("carrier lost", "eth0", "10.0.0.1"),
        news("address gone", "eth0", "10.0.0.1"),
    ]


@in_a_namespace
async def test_what_changed_while_messages_were_lost_is_told_afterwards(namespace: Namespace) -> None:
    await namespace.news_of("address add 10.0.0.1/24 dev eth0", "address add 10.0.0.2/24 dev eth0")
    room = int(Path("/proc/sys/net/core/rmem_default").read_text())
    storm = [f"link set lo mtu {1500 + number % 2}" for number in range(room // 1000)]  # bytes of a message

    namespace.follower.send_signal(signal.SIGSTOP)
    await namespace.ip(*storm, "address del 10.0.0.2/24 dev eth0", "address add 10.0.0.3/24 dev switch")
    namespace.follower.send_signal(signal.SIGCONT)

    assert [await namespace.news() for _ in range(3)] == [
        news("way back", "switch", "10.0.0.3"),
        news("address gone", "eth0", "10.0.0.2"),
        news("way back", ""),
    ]
    assert await namespace.news_of("address del 10.0.0.1/24 dev eth0") == [
        news("address gone", "eth0", "10.0.0.1")
    ]


async def test_following_ends_with_its_scope_and_leaves_nothing_open(
    descriptors: Callable[[], int],
) -> None:
    before = descriptors()
    async with Scope() as scope:
        following = scope.start(follow(lambda news: None))
        await asyncio.sleep(0)
        assert descriptors() == before + 1

    assert following.cancelled()
    assert descriptors() == before


SYSCALL_SOCKET = {"x86_64": 41, "aarch64": 198, "riscv64": 198, "armv7l": 281}.get(platform.machine())
WITHOUT_NETLINK = """
import asyncio, ctypes, logging, struct, sys
from gateway.host.netlink import follow

def refuse_netlink(error):
    "As a container does it: socket(AF_NETLINK, ...) fails."
    rules = b"".join(struct.pack("=HBBI", *rule) for rule in (
        (0x20, 0, 0, 0), (0x15, 0, 3, {socket}),  # the number of the system call
        (0x20, 0, 0, 16), (0x15, 0, 1, 16),  # its first argument: AF_NETLINK
        (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000),
    ))
    memory = ctypes.create_string_buffer(rules)
    program = struct.pack("@HP", len(rules) // 8, ctypes.addressof(memory))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
        sys.exit(77)

async def a_while():
    following = asyncio.create_task(follow(print))
    for _ in range(100):
        await asyncio.sleep(0)
    print("still there" if not following.done() else following)
    following.cancel()

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
refuse_netlink(int(sys.argv[1]))
asyncio.run(a_while())
"""


@pytest.mark.skipif(SYSCALL_SOCKET is None, reason="the number of socket() is not known here")
@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT])
def test_a_container_that_refuses_it_is_told_of_once_and_the_rest_goes_on(error: int) -> None:
    program = WITHOUT_NETLINK.replace("{socket}", str(SYSCALL_SOCKET))
    done = subprocess.run(
        [sys.executable, "-c", program, str(error)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("no seccomp here")

    assert done.stdout.splitlines() == [
        f"INFO no news of addresses, carriers and routes: {os.strerror(error)}",
        "still there",
    ]
