"""The desired-state store: :mod:`state.store.port` is the contract, ``open_store`` the way in."""
