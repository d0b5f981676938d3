"""How each file came to its tables, step by step: ``state`` (PostgreSQL too) and ``auth``.

Run by :mod:`state.store.upgrading`. A step once released is never edited; it names no table of
:mod:`state.store.schema`, which moves on.
"""
