"""A function run in a network namespace of its own, where there is loopback and nothing else.

A container engine's firewall rules weigh on every packet of the machine, loopback's too, and so on every
proxy alike; what is compared is the proxies. Source: unshare(2), netdevice(7).
"""

import ctypes
import errno
import fcntl
import multiprocessing
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from bench.quiet import quieten

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 0x1
_MAY_NOT = (errno.EPERM, errno.EINVAL, errno.ENOSPC)
_IFREQ = struct.Struct("16sh22x")


def in_own_network(fn: Callable[..., T], *arguments: object) -> T:
    """What ``fn`` returns, called in another process; where the namespace may not be made, in the machine's.

    ``fn``, its arguments and its answer are pickled. Raises what it raises.
    """
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning, initializer=_enter) as process:
        return process.submit(fn, *arguments).result()


def is_own_network() -> bool:
    """Whether this process sees loopback alone."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def _enter() -> None:
    quieten()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        _bring_up("lo")
    elif ctypes.get_errno() not in _MAY_NOT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = _IFREQ.pack(interface.encode(), 0)
        _, flags = _IFREQ.unpack(fcntl.ioctl(control, SIOCGIFFLAGS, asked))
        fcntl.ioctl(control, SIOCSIFFLAGS, _IFREQ.pack(interface.encode(), flags | IFF_UP))
