"""How verbs show things to a person at a terminal: columns, times, and nothing that the terminal obeys.

Whatever comes from a provider, a workload or the store may hold control characters. Next: :mod:`mcpgw.verbs`.
"""

from collections.abc import Sequence
from datetime import datetime


def plain(text: str) -> str:
    """One line as it is shown, whoever wrote it."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text.expandtabs())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they have to be; cells are made plain."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def local(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
