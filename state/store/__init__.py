"""The desired-state store: :mod:`state.store.port` is the contract, ``open_store`` the way in.

From there: :mod:`state.store.rowstore` puts the port together from :mod:`state.store.transaction` (what a
write means), :mod:`state.store.watching` (following it) and :mod:`state.store.leases` (who is alive), over
the rows that :mod:`state.store.memory` or :mod:`state.store.sql` keep.
"""

from state.store.opening import Limits, open_store

__all__ = ["Limits", "open_store"]
