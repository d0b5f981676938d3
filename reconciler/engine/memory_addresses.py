"""Who holds which address of the pretend machine.

A fixed address is held from start to end, as on Docker, and refused while somebody else holds it. An
address that the machine chooses is the one that was freed last: whoever still believes in its former
holder reaches the new one, which is the worst case on purpose.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network

from reconciler.core.errors import TransientError

CHOSEN_FROM = IPv4Network("10.244.0.0/16")


class MemoryAddresses:
    def __init__(self) -> None:
        self._holders: dict[str, str] = {}  # "10.0.0.1" or "127.0.0.1:21000" → container name
        self._held: dict[str, str] = {}  # container name → address
        self._chosen: set[str] = set()
        self._freed: list[str] = []
        self._fresh: Iterator[str] = map(str, CHOSEN_FROM.hosts())

    def take(self, name: str, address: str, port: int) -> tuple[str, int]:
        """The endpoint of ``port`` once ``name`` holds ``address``, or a chosen one. Raises AddressInUse."""
        key = address or self._choose()
        if self._holders.setdefault(key, name) != name:
            raise TransientError("AddressInUse", f"{key} is already allocated to {self._holders[key]}")
        self._held[name] = key
        host, _, published = key.partition(":")
        return host, int(published or port)

    def occupy(self, address: str) -> None:
        """Somebody outside our world takes it."""
        self._holders[address] = "another program"

    def release(self, name: str) -> None:
        key = self._held.pop(name, None)
        if key is None:
            return
        del self._holders[key]
        if key in self._chosen:
            self._freed.append(key)

    def holder(self, host: str, port: int) -> str:
        return self._holders.get(f"{host}:{port}") or self._holders.get(host, "")

    def _choose(self) -> str:
        if self._freed:
            return self._freed.pop()
        fresh = next((one for one in self._fresh if one not in self._holders), None)
        if fresh is None:
            raise TransientError("AddressesExhausted", f"no address of {CHOSEN_FROM} is free")
        self._chosen.add(fresh)
        return fresh
