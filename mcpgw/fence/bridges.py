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
from contextlib import suppress
from dataclasses import dataclass, field

GET_ADDRESS, SET_ADDRESS = 0x8927, 0x8924  # SIOCGIFHWADDR and SIOCSIFHWADDR. Source: linux/sockios.h
REQUEST = struct.Struct("16s24x")  # struct ifreq: the name, and room for the answer
LINKS = 1  # RTMGRP_LINK: whatever becomes of an interface. Source: linux/rtnetlink.h
MESSAGE_BYTES_MAX = 64 << 10
SETTLE_S = 0.1  # a container that starts makes several events
EVENTS_MAX = 1000  # taken at a time
AGAIN_S = 30.0  # after a failure


async def keep_addresses(bridges: Collection[str], say: Callable[[str], None]) -> None:
    """Of each bridge from when it is made, until cancelled.

    What cannot be done is said once, and tried again.
    """
    keeper, told = _Keeper(bridges), ""
    while True:
        try:
            await _keep(keeper)
        except Exception as error:
            reason = f"the bridges' MAC addresses may change ({error})"
            if reason != told:
                with suppress(OSError):  # nobody listens any more
                    say(reason)
            told = reason
        await asyncio.sleep(AGAIN_S)


async def _keep(keeper: "_Keeper") -> None:
    """Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
        events.setblocking(False)
        events.bind((0, LINKS))
        while True:
            keeper.look()
            await _event(events)
            await asyncio.sleep(SETTLE_S)
            for _ in range(EVENTS_MAX):
                if not _is_event(events):
                    break


async def _event(events: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().sock_recv(events, MESSAGE_BYTES_MAX)
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # some were missed: reason enough to look
            raise


def _is_event(events: socket.socket) -> bool:
    """Takes one that is there already."""
    try:
        return bool(events.recv(MESSAGE_BYTES_MAX))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return True


@dataclass(slots=True)
class _Keeper:
    """Knows which bridges it has asked: each once, as its answer is an event too."""

    bridges: Collection[str]
    _asked: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Raises OSError, when all were asked.

        By a list of all: asked for one that is missing, the kernel looks for a module of that name.
        """
        standing = {name: index for index, name in socket.if_nameindex() if name in self.bridges}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            failed: list[OSError] = []
            for bridge, index in standing.items():
                if self._asked.get(bridge) == index:
                    continue
                try:
                    _ask(sock, bridge)
                    self._asked[bridge] = index
                except OSError as error:
                    failed.append(OSError(f"{bridge}: {error.strerror}"))
        if failed:
            raise failed[0]


def _ask(sock: socket.socket, bridge: str) -> None:
    try:
        fcntl.ioctl(sock, SET_ADDRESS, fcntl.ioctl(sock, GET_ADDRESS, REQUEST.pack(bridge.encode())))
    except OSError as error:
        if error.errno != errno.ENODEV:  # gone since it was listed
            raise
