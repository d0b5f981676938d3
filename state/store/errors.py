"""Every way the store can refuse. The caller's question is always: try again, or not?"""


class StoreError(Exception):
    """The store refused; ``str(error)`` names the thing, the reason and the mend."""


class Conflict(StoreError):
    """Somebody else wrote the object first: read it again and decide anew."""


class NotFound(StoreError):
    """No such object, or an object of another uid by that name."""


class AlreadyExists(StoreError):
    """The name, or one of the object's unique keys, is taken."""


class ManagedElsewhere(StoreError):
    """The object belongs to a manifest file (or to the API) and may only be edited there."""

    def __init__(self, message: str, managed_by: str) -> None:
        super().__init__(message)
        self.managed_by = managed_by


class Fenced(StoreError):
    """A newer reconciler holds the epoch: this one must stop acting at once."""


class TooOld(StoreError):
    """The change log no longer reaches back to that revision: list again."""


class Replaced(StoreError):
    """Another file stands where the opened one did: nothing read so far holds. End, and start anew."""


class Unavailable(StoreError):
    """The store did not answer in time (locked, unwritable, full). Try again later.

    Nothing was written, unless it is an :class:`OutcomeUnknown`.
    """


class OutcomeUnknown(Unavailable):
    """The store took the write and did not say how it ended: it may stand or not. Read before you act."""


class BarrierTimeout(StoreError):
    """Not every live gateway worker has applied the revision yet; nothing may be assumed of them."""
