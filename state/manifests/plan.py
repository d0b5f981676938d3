"""Folder × store → what to write, what to hold back, and what to say about each file. Pure.

A refused file changes nothing: its objects stay as they last were. It refuses to know transactions and
clocks. Its parts: :mod:`~state.manifests.conflicts` (who may keep what two files name) and
:mod:`~state.manifests.removals` (what goes). Next: :mod:`state.manifests.apply`.
"""

from collections.abc import Iterable, Iterator, Mapping, Set

from state.kinds.resource import Resource
from state.kinds.template import ContainerTemplate
from state.manifests.conflicts import Problems, conflicts
from state.manifests.folder import Folder, ManifestRead
from state.manifests.parse import Declared
from state.manifests.problem import Place, Problem
from state.manifests.removals import Files, plan_removals
from state.manifests.standing import ObjectKey, Standing, key_of
from state.manifests.verdict import FOLDER_PATH, Held, Plan, Reason, Report, Verb, Write


def plan_manifests(
    folder: Folder,
    stored: Iterable[Resource],
    *,
    gone: Set[str] | None = None,
    allow_deletes: bool = False,
) -> Plan:
    """What makes the store say what the folder says.

    ``gone``: files whose absence is certain (None: whichever is absent). ``allow_deletes`` lifts the guard
    against mass deletion, once.
    """
    if folder.problem is not None:
        return Plan(reports=(Report(FOLDER_PATH, Reason.REFUSED, problem=folder.problem),))
    standing = Standing(stored)
    broken = {file.path: problems for file in folder.files if (problems := _broken(file, standing))}
    clashing = conflicts(folder.files, standing, broken)
    refused = broken | clashing
    accepted = [file for file in folder.files if file.path not in refused]
    wanted = {key_of(one.resource): one for file in accepted for one in file.declared}
    absent = standing.files - {file.path for file in folder.files}
    files = Files({file.path for file in accepted}, absent, absent if gone is None else absent & gone)
    removals = plan_removals(files, standing, wanted, allow_many=allow_deletes)
    changes, waiting = _changes(wanted, standing)
    held = (*removals.held, *waiting)
    return Plan(
        writes=(*removals.writes, *changes),
        reports=(*_file_reports(folder.files, refused, held), *_other_reports(folder.files, held)),
        absent=absent,
        retry=bool(held or clashing or removals.wait_for_files),
    )


def _broken(file: ManifestRead, standing: Standing) -> Problems:
    """A file cut to nothing was more likely half-saved than meant."""
    owned_count = standing.count_of(file.path) if file.is_blank else 0
    if owned_count:
        what = f"is empty, but {owned_count} objects come from it"
        return (Problem(Place(file.path), what, "save it in full, or remove the file to remove them"),)
    return file.problems


def _changes(wanted: Mapping[ObjectKey, Declared], standing: Standing) -> tuple[list[Write], list[Held]]:
    """Updates before creations, templates before those who use them; and what waits for a deletion."""
    updates: list[Write] = []
    creations: list[Write] = []
    waiting: list[Held] = []
    for one in sorted(wanted.values(), key=lambda one: not isinstance(one.resource, ContainerTemplate)):
        before = standing.named_like(one.resource)
        blocker = _blocker(one.resource, before, standing)
        if blocker is not None:
            waiting.append(_waits(one, blocker))
        elif before is None or before.metadata.is_deleted:
            creations.append(Write(Verb.CREATE, one.place.file, one.resource, before))
        elif _differs(one.resource, before):
            updates.append(Write(Verb.UPDATE, one.place.file, one.resource, before))
    return [*updates, *creations], waiting


def _blocker(obj: Resource, before: Resource | None, standing: Standing) -> Resource | None:
    """Whoever has to be gone before ``obj`` may be written.

    What is deleted ends by itself where one of its kind's own finalizers is at work, and else never.
    """
    at_work = set(before.metadata.finalizers) & set(obj.metadata.finalizers) if before is not None else set()
    if before is not None and before.metadata.is_deleted and at_work:
        return before
    return next(iter(standing.other_holders(obj)), None)


def _differs(wanted: Resource, before: Resource) -> bool:
    return wanted.spec != before.spec or wanted.metadata.managed_by != before.metadata.managed_by


def _waits(one: Declared, blocker: Resource) -> Held:
    former = "the former one" if blocker.name == one.resource.name else f"{blocker.kind} {blocker.name}"
    what = f"{one.title} waits until {former} is gone"
    return Held(
        one.place.file, Reason.WAITING, Problem(one.place, what, "nothing to do, it follows by itself")
    )


def _file_reports(
    files: Iterable[ManifestRead], refused: Mapping[str, Problems], held: Iterable[Held]
) -> Iterator[Report]:
    by_file = _weightiest(held)
    for file in files:
        problems = refused.get(file.path, ())
        if problems:
            yield Report(file.path, Reason.REFUSED, problem=problems[0], more_count=len(problems) - 1)
        elif file.path in by_file:
            yield Report(file.path, by_file[file.path].reason, problem=by_file[file.path].problem)
        else:
            yield Report(file.path, Reason.APPLIED, file.sha256, len(file.declared))


def _other_reports(files: Iterable[ManifestRead], held: Iterable[Held]) -> Iterator[Report]:
    """For the folder, and for files that are not in it any more while something of theirs is held back."""
    present = {file.path for file in files}
    by_file = _weightiest(held)
    if FOLDER_PATH not in by_file:
        yield Report(FOLDER_PATH, Reason.APPLIED)
    for path, one in by_file.items():
        if path not in present:
            yield Report(path, one.reason, problem=one.problem)


def _weightiest(held: Iterable[Held]) -> dict[str, Held]:
    order = list(Reason)
    by_file: dict[str, Held] = {}
    for one in sorted(held, key=lambda one: order.index(one.reason)):
        by_file.setdefault(one.file, one)
    return by_file
