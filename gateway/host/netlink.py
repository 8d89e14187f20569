"""The kernel's news about the host's own addresses, carriers and routes (rtnetlink(7), netlink(7)).

TCP does not report any of it: a connection whose address was taken away looks healthy for 25 s. Pure
functions turn the bytes of a datagram into changes, `Interfaces` knows which change is worth telling,
`follow` is the socket. It needs no privilege; what it cannot read it skips; where a container refuses it, it
never tells.
"""

import asyncio
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Literal, NamedTuple, Never

# linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if.h
_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR, _NEWROUTE = 16, 17, 18, 20, 21, 22, 24
_REQUEST, _DUMP_INTERRUPTED, _DUMP = 0x01, 0x10, 0x300
_GROUPS = 0x01 | 0x10 | 0x100 | 0x40 | 0x400  # links, addresses and routes of IPv4 and IPv6
_HEADER = struct.Struct("=IHH4xI")  # length, type, flags, port id
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_IFINFOMSG = struct.Struct("=B3xII4x")  # family, index, flags
_IFADDRMSG = struct.Struct("=4BI")  # family, prefix length, flags, scope, index
_RTMSG = struct.Struct("=xB2xB2xBI")  # prefix length of the destination, table, type, flags
_NOT_TYPE = 0xC000  # flags in the type of an attribute
_IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL = 3, 1, 2
_RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA = 4, 5, 9, 18
_IFF_RUNNING = 0x40  # up, with carrier and not dormant; Wi-Fi has LOWER_UP before it may send
_IFA_F_TENTATIVE = 0x40  # duplicate address detection is not through: nobody can use it yet
_SCOPE_LINK = 253  # larger ones reach less far
_TABLE_MAIN, _UNICAST, _CLONED = 254, 1, 0x200

_SIZE = 64 * 1024  # bytes; the kernel fills 32 KiB at most
_PAUSE = 0.5  # seconds in which a storm of changes may pass
_PASSES = {errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR}
log = logging.getLogger(__name__)


class News(NamedTuple):
    """`interface` is empty where it is not one alone; `addresses` are as in getsockname().

    "address gone": no interface has them any more. "carrier ...": the interface has them. "way back": they
    are new; none of them means a route.
    """

    what: Literal["address gone", "carrier lost", "carrier back", "way back"]
    interface: str
    addresses: frozenset[str]


class Message(NamedTuple):
    kind: int
    flags: int
    asker: int  # port id of whose request it answers, or of who made the change
    body: bytes


class Link(NamedTuple):
    ifindex: int
    name: str
    carrier: bool


class Address(NamedTuple):
    ifindex: int
    text: str
    prefix: int  # bits; an interface may have one address in two networks
    wide: bool  # reaches beyond the link


class Route(NamedTuple):
    """The default one, or one through a gateway, in the main table."""

    ifindex: int  # 0: several


class Change(NamedTuple):
    fact: Link | Address | Route
    gone: bool


def messages(datagram: bytes) -> Iterator[Message]:
    """Up to the first that is not whole."""
    return (Message(*record) for record in _records(_HEADER, datagram))


def read(message: Message) -> Change | None:
    """None when it does not matter here or makes no sense."""
    if message.kind not in _READERS:
        return None
    reader, gone = _READERS[message.kind]
    try:
        fact = reader(message.body)
    except (struct.error, ValueError):
        return None
    return Change(fact, gone) if fact is not None else None


def ends(answer: Message) -> bool:
    """OSError when we may not ask, or when things changed while the kernel wrote its answer."""
    if answer.flags & _DUMP_INTERRUPTED:
        raise InterruptedError(errno.EINTR, "the answer is not of one moment")
    if answer.kind not in (_ERROR, _DONE):
        return False
    if code := int.from_bytes(answer.body[:4], sys.byteorder, signed=True):
        raise OSError(-code, os.strerror(-code))
    return True


def _records(header: struct.Struct, data: bytes) -> Iterator[tuple[Any, ...]]:
    """What stands behind the length in each header, and the body; padded to 4 bytes, as everything here."""
    while len(data) >= header.size:
        length, *rest = header.unpack_from(data)
        if not header.size <= length <= len(data):
            return
        yield *rest, data[header.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    return {kind & ~_NOT_TYPE: value for kind, value in _records(_ATTRIBUTE, data)}


def _link(body: bytes) -> Link | None:
    family, ifindex, flags = _IFINFOMSG.unpack_from(body)
    name = _attributes(body[_IFINFOMSG.size :]).get(_IFLA_IFNAME)
    if family != socket.AF_UNSPEC or name is None:  # what leaves a bridge is "deleted", but only as AF_BRIDGE
        return None
    return Link(ifindex, name.rstrip(b"\0").decode(errors="replace"), bool(flags & _IFF_RUNNING))


def _address(body: bytes) -> Address:
    family, prefix, _, scope, ifindex = _IFADDRMSG.unpack_from(body)
    has = _attributes(body[_IFADDRMSG.size :])
    ours = has.get(_IFA_LOCAL) or has.get(_IFA_ADDRESS, b"")  # beside LOCAL, ADDRESS is the far end of a PPP
    return Address(ifindex, socket.inet_ntop(family, ours), prefix, scope < _SCOPE_LINK)


def _usable_address(body: bytes) -> Address | None:
    _, _, flags, _, _ = _IFADDRMSG.unpack_from(body)
    return None if flags & _IFA_F_TENTATIVE else _address(body)


def _route(body: bytes) -> Route | None:
    prefix, table, kind, flags = _RTMSG.unpack_from(body)
    has = _attributes(body[_RTMSG.size :])
    far = prefix == 0 or has.keys() & {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH}
    if not far or table != _TABLE_MAIN or kind != _UNICAST or flags & _CLONED:
        return None
    return Route(int.from_bytes(has.get(_RTA_OIF, b""), sys.byteorder))


_READERS: dict[int, tuple[Callable[[bytes], Link | Address | Route | None], bool]] = {
    _NEWLINK: (_link, False),
    _DELLINK: (_link, True),
    _NEWADDR: (_usable_address, False),
    _DELADDR: (_address, True),
    _NEWROUTE: (_route, False),
}


class Interfaces:
    """Which have carrier, and which addresses they have.

    Routes are told and not kept: IPv4 routes vanish with their interface, and the kernel says nothing.
    """

    def __init__(self, changes: Iterable[Change | None] = ()) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: set[Address] = set()
        for change in changes:
            self.learn(change)

    def learn(self, change: Change | None) -> News | None:
        """What is to be told of it, if anything."""
        match change:
            case Change(Link() as link, gone=True):
                self._links.pop(link.ifindex, None)
                return self._lost(link.name, {one for one in self._addresses if one.ifindex == link.ifindex})
            case Change(Link() as link):
                return self._seen(link)
            case Change(Address() as address, gone=True):
                return self._lost(self._name(address.ifindex), self._addresses & {address})
            case Change(Address() as address) if address not in self._addresses:
                self._addresses.add(address)
                if address.wide:
                    return News("way back", self._name(address.ifindex), frozenset({address.text}))
            case Change(Route(ifindex)):
                return News("way back", self._name(ifindex), frozenset())
        return None

    def become(self, now: "Interfaces") -> list[News]:
        """The differences. What came stands first, so that an address that only moved is not gone."""
        came: list[Link | Address] = [*now._links.values(), *now._addresses]
        gone: list[Link | Address] = [link for link in self._links.values() if link.ifindex not in now._links]
        gone += self._addresses - now._addresses
        changes = [Change(fact, False) for fact in came] + [Change(fact, True) for fact in gone]
        return [news for change in changes if (news := self.learn(change)) is not None]

    def _seen(self, link: Link) -> News | None:
        before = self._links.get(link.ifindex)
        self._links[link.ifindex] = link
        if link.carrier == (before is not None and before.carrier):
            return None
        own = frozenset(one.text for one in self._addresses if one.ifindex == link.ifindex)
        return News("carrier back" if link.carrier else "carrier lost", link.name, own)

    def _lost(self, name: str, addresses: set[Address]) -> News | None:
        self._addresses -= addresses
        gone = frozenset(one.text for one in addresses) - {one.text for one in self._addresses}
        return News("address gone", name, gone) if gone else None

    def _name(self, ifindex: int) -> str:
        return self._links[ifindex].name if ifindex in self._links else ""


def picture(received: Iterable[Message], us: int) -> Interfaces:
    """From the answers to us, and then from what was told meanwhile: it may be newer."""
    return Interfaces(map(read, sorted(received, key=lambda message: message.asker != us)))


async def follow(tell: Callable[[News], None]) -> Never:
    """Tells what changes from now on, until cancelled."""
    async with aclosing(_news()) as all_news:
        async for news in all_news:
            tell(news)
    raise AssertionError  # it has no end


async def _news() -> AsyncGenerator[News, None]:
    known: Interfaces | None = None
    while True:
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
                sock.setblocking(False)
                sock.bind((0, _GROUPS))
                now = await _dump(sock)
                if known is not None:  # messages were lost; one of them may have been a route
                    for news in (*known.become(now), News("way back", "", frozenset())):
                        yield news
                known = now
                while True:
                    for message in messages(await _receive(sock)):
                        if (one := known.learn(read(message))) is not None:
                            yield one
        except OSError as error:
            if error.errno not in _PASSES:
                log.info("no news of addresses, carriers and routes: %s", error.strerror)
                await asyncio.Event().wait()
            await asyncio.sleep(_PAUSE)


async def _dump(sock: socket.socket) -> Interfaces:
    us, _ = sock.getsockname()
    received: list[Message] = []
    for question in (_GETLINK, _GETADDR):
        sock.send(_HEADER.pack(_HEADER.size + 4, question, _REQUEST | _DUMP, 0) + bytes(4))  # AF_UNSPEC
        done = False
        while not done:
            some = list(messages(await _receive(sock)))
            received += some
            done = any(ends(message) for message in some if message.asker == us)
    return picture(received, us)


async def _receive(sock: socket.socket) -> bytes:
    await asyncio.sleep(0)  # sock_recv lets nobody else run as long as there is more
    return await asyncio.get_running_loop().sock_recv(sock, _SIZE)
