"""What a plan for the manifests consists of: writes, things held back, and a report for each file.

Values only. Next: :mod:`state.manifests.standing`.
"""

from dataclasses import dataclass
from enum import StrEnum

from state.kinds.resource import Resource
from state.manifests.problem import Problem

FOLDER_PATH = "."  # how reports call the folder itself


class Reason(StrEnum):
    """Why a file's ``Applied`` condition stands as it does; what weighs most comes first."""

    REFUSED = "Refused"
    MASS_DELETE = "MassDelete"
    TEMPLATE_IN_USE = "TemplateInUse"
    WAITING = "Waiting"
    APPLIED = "Applied"


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One write for ``file``. ``wanted`` is, for a deletion, what was there when it was decided."""

    verb: Verb
    file: str
    wanted: Resource
    before: Resource | None = None  # None: there was none. At a creation: deleted, and nobody ends it


@dataclass(frozen=True, slots=True)
class Held:
    """Something that ``file`` asks for and that is not done now."""

    file: str
    reason: Reason
    problem: Problem


@dataclass(frozen=True, slots=True)
class Report:
    """What the condition of a file is to say. ``problem`` is there unless everything is applied."""

    path: str
    reason: Reason
    sha256: str = ""
    objects_count: int = 0
    problem: Problem | None = None
    more_count: int = 0

    @property
    def message(self) -> str:
        if self.problem is None:
            noun = "object" if self.objects_count == 1 else "objects"
            return f"{self.objects_count} {noun}" if self.path != FOLDER_PATH else ""
        return f"{self.problem}" + (f" (and {self.more_count} more)" if self.more_count else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """``absent``: files that own objects and are not there. ``retry``: the store may yet change it."""

    writes: tuple[Write, ...] = ()
    reports: tuple[Report, ...] = ()
    absent: frozenset[str] = frozenset()
    retry: bool = False
