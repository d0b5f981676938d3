"""Tells the neighbours on each network that this container is here.

Podman gives the address of a container that is replaced to the next one with another MAC address, and
its neighbours go on sending to the old one for up to a minute: the edge to a gateway that is gone. Whoever
sends to somebody new has to ask everybody on the network where that is, which the kernel does by itself; and
whoever hears it learns where the one who asks is. Docker makes MAC addresses out of addresses, or tells.

Source: RFC 826, "Packet Reception"; Linux, net/ipv4/arp.c, arp_process; podman-run(1), ``container``.
"""

import os
import socket
from contextlib import suppress
from ipaddress import IPv4Network

from reconciler.engine.networks import host_routes

MARK = "container"  # in the environment: who made it
# In each network (docker-compose.yml), so that the kernel asks three times. Source: arp(7), mcast_solicit
NOBODY = 9
DISCARD_PORT = 9  # Source: RFC 863


def announce() -> None:
    """Returns at once, and never fails; does nothing elsewhere than in a container of Podman's."""
    if os.environ.get(MARK) != "podman":
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for network in host_routes():
            _send(sock, network)


def _send(sock: socket.socket, network: IPv4Network) -> None:
    if network.num_addresses > NOBODY + 1:
        with suppress(OSError):  # it has no route after all, or its queue is full
            sock.sendto(b"", (str(network[NOBODY]), DISCARD_PORT))
