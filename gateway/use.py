"""What a worker saw of each user's use: the counters that become Demand.

Counts only what keeps a container awake; who is not authorized never gets this far. On the data path these
are plain increments. :mod:`gateway.demand` writes them to the store in batches.
"""

from typing import Final


class Use:
    """One seat's counters; it enters the ledger at its first use since the last flush."""

    __slots__ = ("_ledger", "in_flight", "is_listed", "name", "waiting_count")

    def __init__(self, name: str, ledger: "Ledger") -> None:
        self.name: Final = name  # the UserContainer's
        self._ledger = ledger
        self.in_flight = 0
        self.waiting_count = 0
        self.is_listed = False

    def request_began(self) -> None:
        self.in_flight += 1
        if not self.is_listed:
            self._ledger.enter(self)

    def request_ended(self) -> None:
        self.in_flight -= 1
        if not self.is_listed:
            self._ledger.enter(self)

    def bytes_up(self, count: int) -> None:
        """Bytes of a request in flight: it counts already."""

    def bytes_down(self, count: int) -> None:
        """Bytes of a request in flight: it counts already."""

    def frame(self) -> None:
        """A frame of a connection in flight: it counts already."""

    def wait_began(self) -> None:
        self.waiting_count += 1
        if not self.is_listed:
            self._ledger.enter(self)

    def wait_ended(self) -> None:
        self.waiting_count -= 1


class Ledger:
    """The uses that changed since the last flush. Bounded by the number of seats."""

    __slots__ = ("_listed",)

    def __init__(self) -> None:
        self._listed: list[Use] = []

    def enter(self, use: Use) -> None:
        use.is_listed = True
        self._listed.append(use)

    def take(self) -> list[Use]:
        """Everything listed. What is still in flight or waiting stays listed for the next flush."""
        taken, self._listed = self._listed, []
        for use in taken:
            use.is_listed = False
            if use.in_flight or use.waiting_count:
                self.enter(use)
        return taken
