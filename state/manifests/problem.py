"""What can be wrong with a manifest: where it is, what it is, and the mend.

Decides how a problem reads. Next: :mod:`state.manifests.tree`.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

PROBLEMS_PER_FILE_MAX = 50
SHOWN_CHARS_MAX = 60


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file, counted from 1 as editors do. Line 0 is the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and what a person does about it."""

    place: Place
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.mend}"


class ManifestError(Exception):
    """A file that cannot be applied, with everything that is wrong with it, by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))[:PROBLEMS_PER_FILE_MAX]
        assert self.problems, "an error names its problem"
        super().__init__("\n".join(map(str, self.problems)))


def refusal(place: Place, what: str, mend: str) -> ManifestError:
    """The error for a single problem."""
    return ManifestError([Problem(place, what, mend)])


def shown(text: str) -> str:
    """A value as a message may quote it: one line, in quotes, cut."""
    cut = text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
    return '"' + "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut) + '"'


def did_you_mean(written: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that ``written`` was most likely meant to be."""
    by_folded = {_folded(word): word for word in known}
    close = difflib.get_close_matches(_folded(written)[:SHOWN_CHARS_MAX], by_folded, n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else None


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()
