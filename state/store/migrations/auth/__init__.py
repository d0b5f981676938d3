"""The steps of auth.db."""
