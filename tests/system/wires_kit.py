"""Four hosts in network namespaces, and the wires between them, which can be cut, thinned out and unplugged.

    gateway eth0 ── router ── far        its ordinary peers
            eth1 ──┘   └───── victim     the peer that loses its power

All of it belongs to one user namespace: no root is needed, nothing outside is touched, and it is gone with
this process. The test stays outside: `Host.tcp()` gives a socket that lives in that host, `Host.before` is
the command that runs a program there. What a wire loses is lost in the router: both ends keep their carrier
and their routes, and nobody is told.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

GATEWAY, GATEWAY_TOO = "10.77.1.2", "10.77.3.2"  # eth0 and eth1; the second can be taken away
FAR, FAR_TOO = "10.77.2.2", "10.77.5.2"  # the same host; the gateway reaches the second through its eth1
VICTIM = "10.77.4.2"
TOOLS = ("ip", "nft", "nsenter", "unshare")

_RULES = """
table ip wires {
  set ours { type inet_service; }
  set theirs { type inet_service; }
  set thin { type inet_service; }
  set flows { type inet_service . inet_service; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "gateway*" tcp dport @ours drop
    iifname "gateway*" tcp sport @ours drop
    iifname != "gateway*" tcp dport @theirs drop
    iifname != "gateway*" tcp sport @theirs drop
    tcp dport . tcp sport @flows drop
    tcp sport . tcp dport @flows drop
    tcp dport @thin numgen random mod 100 < 15 drop
    tcp sport @thin numgen random mod 100 < 15 drop
  }
}
"""
_HOST = """
import socket
asked = socket.socket(fileno=0)
asked.send(b"ready")
while asked.recv(1):
    with socket.socket() as fresh:
        socket.send_fds(asked, [b"socket"], [fresh.fileno()])
"""


_ESTABLISHED, _LISTEN = "01", "0A"  # in /proc/net/tcp: include/net/tcp_states.h


class Forbidden(Exception):
    """This machine does not let us make namespaces."""


class Host:
    """A network namespace, kept by a process in it that ends with us. The first one is its own user
    namespace, the others are `inside` it.
    """

    def __init__(self, inside: "Host | None" = None) -> None:
        self._asking, theirs = socket.socketpair()
        self._asking.settimeout(30)
        place = ["unshare", "-Urn"] if inside is None else [*inside.before[:-1], "unshare", "-n"]
        command = [*place, sys.executable, "-c", _HOST]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE)
        if not self._asking.recv(16):
            complaint = self._process.communicate()[1].decode().strip()
            self._asking.close()
            raise Forbidden(complaint)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def before(self) -> list[str]:
        """The command that runs the command behind it in this host."""
        return ["nsenter", f"--target={self.pid}", "--preserve-credentials", "--user", "--net"]

    def run(self, *command: str, text: str | None = None) -> str:
        """What it prints; AssertionError with its complaint when it fails. `text` is for its stdin."""
        done = subprocess.run(
            [*self.before, *command], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Commands of ip(8), one after the other."""
        self.run("ip", "-batch", "-", text="\n".join(lines))

    def tcp(self) -> socket.socket:
        """A fresh TCP socket of this host."""
        self._asking.send(b"?")
        _, (fd,), _, _ = socket.recv_fds(self._asking, 16, 1)
        return socket.socket(fileno=fd)

    def listener(self, address: str, port: int) -> socket.socket:
        sock = self.tcp()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(100)
        return sock

    def flows(self) -> set[tuple[int, int]]:
        """The TCP ports, ours and the peer's, of each established connection (IPv4)."""
        return self._sockets(_ESTABLISHED)

    def listening(self) -> set[int]:
        """TCP ports."""
        return {port for port, _ in self._sockets(_LISTEN)}

    def _sockets(self, state: str) -> set[tuple[int, int]]:
        rows = (row.split() for row in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:])
        return {(_port(row[1]), _port(row[2])) for row in rows if row[3] == state}

    def end(self) -> None:
        self._asking.close()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process.wait(30)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


class Wires:
    """The four hosts. Ports name wires: each link of a test has a TCP port of its own, below 32768, where no
    other end of a connection can be.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._dropped: dict[str, set[str]] = {"ours": set(), "theirs": set(), "thin": set(), "flows": set()}
        with ExitStack() as stack:
            self.router = self._host(stack)
            self.gateway, self.far = self._host(stack, self.router), self._host(stack, self.router)
            self.victim = Host(self.router)
            self._build()
            self._stack = stack.pop_all()

    def _host(self, stack: ExitStack, inside: Host | None = None) -> Host:
        host = Host(inside)
        stack.callback(host.end)
        return host

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.victim.end()
        self._stack.close()

    def _build(self) -> None:
        self.router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.router.run("nft", "-f", "-", text=_RULES)
        self._wire("gateway0", self.gateway, "eth0", GATEWAY)
        self._wire("gateway1", self.gateway, "eth1", GATEWAY_TOO)
        self._wire("far0", self.far, "eth0", FAR)
        self._wire("victim", self.victim, "eth0", VICTIM)
        self.far.ip(f"addr add {FAR_TOO}/32 dev eth0", f"route add default via {_router(FAR)}")
        self.victim.ip(f"route add default via {_router(VICTIM)}")
        self.router.ip(f"route add {FAR_TOO} via {FAR}")
        self.gateway.ip(*(f"route add {peer} via {_router(GATEWAY)}" for peer in (FAR, VICTIM)))
        self.gateway.ip(f"route add {FAR_TOO} via {_router(GATEWAY_TOO)}")

    def _wire(self, name: str, host: Host, device: str, address: str) -> None:
        self.router.ip(
            f"link add {name} type veth peer name {device} netns {host.pid}",
            f"addr add {_router(address)}/24 dev {name}",
            f"link set {name} up",
        )
        host.ip(f"addr add {address}/24 dev {device}", f"link set {device} up", "link set lo up")

    # what can happen to them

    def cut(self, ports: Iterable[int], *, ours: bool = True, theirs: bool = True) -> None:
        """From now on nothing passes.

        Of what the gateway sends (`ours`), of what its peers send (`theirs`).
        """
        self._drop({"ours": ports if ours else (), "theirs": ports if theirs else ()})

    def thin_out(self, ports: Iterable[int]) -> None:
        """Of a hundred packets fifteen are lost, each way."""
        self._drop({"thin": ports})

    def forget(self, flows: Iterable[tuple[int, int]]) -> None:
        """The address translation on the way has lost these connections; new ones pass."""
        self._drop({"flows": (f"{one} . {other}" for one, other in flows)})

    def mend(self, ports: Iterable[int]) -> None:
        """Everything passes again."""
        elements = {str(port) for port in ports}
        self._change("delete", {name: dropped & elements for name, dropped in self._dropped.items()})

    def _drop(self, sets: dict[str, Iterable[object]]) -> None:
        self._change("add", {name: {str(element) for element in sets[name]} for name in sets})

    def _change(self, verb: str, sets: dict[str, set[str]]) -> None:
        """All of it at the same moment."""
        for name, elements in sets.items():
            (self._dropped[name].update if verb == "add" else self._dropped[name].difference_update)(elements)
        rules = [
            f"{verb} element ip wires {name} {{ {', '.join(some)} }}" for name, some in sets.items() if some
        ]
        if rules:
            self.router.run("nft", "-f", "-", text="\n".join(rules))

    def take_address(self) -> None:
        """The gateway's eth1 has none any more, and its routes are gone with it."""
        self.gateway.ip(f"addr del {GATEWAY_TOO}/24 dev eth1")

    def give_address(self) -> None:
        self.gateway.ip(
            f"addr add {GATEWAY_TOO}/24 dev eth1", f"route add {FAR_TOO} via {_router(GATEWAY_TOO)}"
        )

    def unplug_victim(self) -> None:
        """It has no power any more. The test ends what ran there; none of it can say goodbye."""
        self.router.ip("link del victim")

    def plug_victim(self) -> None:
        """It is back, as after any boot: the same address, and it remembers nothing."""
        self.victim.end()
        self.victim = Host(self.router)
        self._wire("victim", self.victim, "eth0", VICTIM)
        self.victim.ip(f"route add default via {_router(VICTIM)}")


def _router(address: str) -> str:
    return address.rpartition(".")[0] + ".1"


@contextmanager
def wires() -> Iterator[Wires]:
    """Or a skip where namespaces are forbidden; in CI, where they are promised, a failure."""
    try:
        made = Wires()
    except Forbidden as error:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"network namespaces are not allowed here: {error}")
    with made:
        yield made
