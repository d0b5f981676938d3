"""The steps of state.db."""
