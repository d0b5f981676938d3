"""Lets the project's bridges keep the MAC address that they have.

A bridge that was given none has the lowest of its ports', so that a container which comes or goes may change
it. All others on the bridge go on sending to the address of before, for up to two minutes: what they answer
to the host is lost, and what they send out. Docker gives each bridge one of its own, Podman only with
netavark 1.9. Asked to take the address that it has, a bridge holds on to it.

Next: :mod:`mcpgw.fence.keeping`.

Source: netdevice(7), rtnetlink(7); https://github.com/containers/netavark/pull/833
"""

import asyncio
import errno
import fcntl
import socket
import struct
from collections.abc import Callable, Collection

GET_ADDRESS, SET_ADDRESS = 0x8927, 0x8924  # SIOCGIFHWADDR and SIOCSIFHWADDR. Source: linux/sockios.h
REQUEST = struct.Struct("16s24x")  # struct ifreq: the name, and room for the answer
LINKS = 1  # RTMGRP_LINK: whatever becomes of an interface. Source: linux/rtnetlink.h
MESSAGE_BYTES_MAX = 64 << 10
GONE = (errno.ENODEV, errno.ENXIO)


async def keep_addresses(bridges: Collection[str], say: Callable[[str], None]) -> None:
    """Of each bridge from when it is made, until cancelled. One that cannot be kept is said, once."""
    keeper = _Keeper(bridges, say)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
            events.setblocking(False)
            events.bind((0, LINKS))
            while True:
                keeper.look()
                await _next_event(events)
    except OSError as error:
        say(f"the bridges' MAC addresses may change: the kernel does not tell of bridges ({error.strerror})")


async def _next_event(events: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().sock_recv(events, MESSAGE_BYTES_MAX)
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # some were missed: reason enough to look
            raise


class _Keeper:
    """Knows which bridges it has asked: each once, as its answer is an event too."""

    def __init__(self, bridges: Collection[str], say: Callable[[str], None]) -> None:
        self._bridges = bridges
        self._say = say
        self._asked: dict[str, int] = {}

    def look(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for bridge in self._bridges:
                try:
                    self._ask(sock, bridge)
                except OSError as error:
                    if error.errno not in GONE:
                        self._say(f"the MAC address of bridge {bridge} may change ({error.strerror})")

    def _ask(self, sock: socket.socket, bridge: str) -> None:
        index = socket.if_nametoindex(bridge)
        if self._asked.get(bridge) != index:
            self._asked[bridge] = index
            fcntl.ioctl(sock, SET_ADDRESS, fcntl.ioctl(sock, GET_ADDRESS, REQUEST.pack(bridge.encode())))
