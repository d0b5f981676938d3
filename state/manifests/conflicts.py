"""Files that want what they may not have, and why.

An object that two files name stays with the one that has it; what nobody has yet goes to the first by name.
A file that loses one object is refused as a whole, which may in turn refuse others. Pure.
Next: :mod:`state.manifests.removals`.
"""

from collections.abc import Iterable, Set

from state.kinds.resource import Resource
from state.kinds.user_container import UserContainer
from state.manifests.folder import ManifestRead
from state.manifests.ownership import owning_file
from state.manifests.parse import Declared, claims, double
from state.manifests.problem import Problem
from state.manifests.standing import ObjectKey, Standing, key_of

Problems = tuple[Problem, ...]
_Claim = tuple[str, str]


def conflicts(
    files: Iterable[ManifestRead], standing: Standing, broken: dict[str, Problems]
) -> dict[str, Problems]:
    """The problems of each file that is whole but cannot be applied beside the others and the store."""
    refused = dict(broken)
    candidates = [file for file in files if file.path not in refused]
    while True:
        lost = _round(candidates, standing, refused)
        if not lost:
            return {path: problems for path, problems in refused.items() if path not in broken}
        refused |= lost
        candidates = [file for file in candidates if file.path not in lost]


def _round(
    files: list[ManifestRead], standing: Standing, refused: dict[str, Problems]
) -> dict[str, Problems]:
    """Who loses if everybody in ``files`` stays; each round makes ``files`` shorter or is the last."""
    winners = _winners(files, standing)
    declared = {key_of(one.resource) for file in files for one in file.declared}
    found: dict[str, Problems] = {}
    for file in files:
        problems = [
            problem
            for one in file.declared
            if (problem := _problem(one, winners, standing, refused.keys(), declared)) is not None
        ]
        if problems:
            found[file.path] = tuple(problems)
    return found


def _winners(files: list[ManifestRead], standing: Standing) -> dict[_Claim, Declared]:
    """For each name and each unique key, whose it is."""
    winners: dict[_Claim, Declared] = {}
    for file in files:
        for one in file.declared:
            for claim in claims(one.resource):
                first = winners.setdefault((one.resource.kind, claim), one)
                if first is not one and _has_it(one, standing) and not _has_it(first, standing):
                    winners[one.resource.kind, claim] = one
    return winners


def _has_it(one: Declared, standing: Standing) -> bool:
    stored = standing.named_like(one.resource)
    return stored is not None and owning_file(stored) == one.place.file


def _problem(
    one: Declared,
    winners: dict[_Claim, Declared],
    standing: Standing,
    refused: Set[str],
    declared: Set[ObjectKey],
) -> Problem | None:
    for claim in claims(one.resource):
        winner = winners[one.resource.kind, claim]
        if winner is not one:
            return double(one, winner)
    stored = standing.named_like(one.resource)
    if stored is not None and not stored.metadata.is_deleted:
        problem = _of_a_refused_file(one, stored, refused) or _of_another_seat(one, stored)
        if problem is not None:
            return problem
    for holder in standing.other_holders(one.resource):
        if _keeps_what_it_holds(holder, refused, declared):
            return _held_by(one, holder)
    return None


def _of_a_refused_file(one: Declared, stored: Resource, refused: Set[str]) -> Problem | None:
    """It may still stand in there: whose it is cannot be told before that file is mended."""
    owner = owning_file(stored)
    if owner in refused and owner != one.place.file:
        what = f"{one.title} belongs to {owner}, which is refused at the moment"
        return Problem(one.place, what, f"mend {owner} first")
    return None


def _of_another_seat(one: Declared, stored: Resource) -> Problem | None:
    """A UserContainer never changes hands: its data are its user's."""
    if not isinstance(stored, UserContainer) or stored.unique_keys() == one.resource.unique_keys():
        return None
    what = f"{one.title} is already there for another user or template"
    return Problem(one.place, what, "keep both, or give this one another name")


def _keeps_what_it_holds(holder: Resource, refused: Set[str], declared: Set[ObjectKey]) -> bool:
    """Whether nothing in this plan makes the holder let go of its seat or key."""
    if holder.metadata.is_deleted or key_of(holder) in declared:
        return False
    owner = owning_file(holder)
    return owner is None or owner in refused


def _held_by(one: Declared, holder: Resource) -> Problem:
    owner = owning_file(holder)
    if owner is not None:
        what = f"{one.title} claims what {holder.name} of {owner} has, which is refused at the moment"
        return Problem(one.place, what, f"mend {owner} first")
    what = f"{one.title}: that {'seat' if isinstance(holder, UserContainer) else 'key'} is {holder.name}'s"
    return Problem(one.place, what, f"name it {holder.name} here, or delete that one")
