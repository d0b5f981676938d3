"""Tells the neighbours on each network that this container is here: ``--announce``, under compose.

Podman gives the address of a container that is replaced to the next one with another MAC address, and
its neighbours go on sending to the old one for up to a minute: the edge to a gateway that is gone. Whoever
sends to somebody new has to ask everybody on the network where that is, which the kernel does by itself; and
whoever hears it learns where the one who asks is. Docker makes MAC addresses out of addresses, or tells.

Source: RFC 826, "Packet Reception"; arp(7); Linux, net/ipv4/arp.c, arp_process.
"""

import socket
from contextlib import suppress

from reconciler.engine.networks import attached_networks

NETWORKS_MAX = 8  # compose has four
# In each network: addresses that are the operator's, and hardly all of them somebody's (docs/networks.md).
# Whoever is not there is asked for three times, a second apart. Source: arp(7), mcast_solicit
ASKED = range(6, 11)
DISCARD_PORT = 9  # Source: RFC 863


def announce() -> None:
    """Send an empty datagram to each of ASKED on the networks of this container. Does not wait or fail."""
    networks = [one for one in attached_networks() if one.num_addresses > ASKED.stop and not one.is_multicast]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        for network in networks[:NETWORKS_MAX]:
            for number in ASKED:
                with suppress(OSError):
                    sock.sendto(b"", (str(network[number]), DISCARD_PORT))
