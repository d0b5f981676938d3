"""Which stored objects go: those that no file names any more, if their file can be asked, and not too many.

Pure. Next: :mod:`state.manifests.plan`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from state.kinds.access_policy import AccessPolicy
from state.kinds.app import App
from state.kinds.resource import Resource
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import UserContainer
from state.manifests.parse import Declared
from state.manifests.problem import Place, Problem
from state.manifests.standing import ObjectKey, Standing, file_of, key_of
from state.manifests.verdict import FOLDER_PATH, Held, Reason, Verb, Write

DELETES_AT_ONCE_MAX = 5
DELETES_AT_ONCE_SHARE_MAX = 0.3  # of all objects that files own; whichever of the two is more
NAMES_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Files:
    """The folder's files by what may be concluded from their silence about an object."""

    accepted: Set[str]  # were read and are in force: silence means that it shall go
    absent: Set[str]  # own objects and are not there; perhaps an editor is just saving
    gone: Set[str]  # those of the absent that are so for certain


@dataclass(frozen=True, slots=True)
class Removals:
    writes: tuple[Write, ...] = ()
    held: tuple[Held, ...] = ()
    wait_for_files: bool = False  # an absent file's objects stay until its absence is certain


def plan_removals(
    files: Files, standing: Standing, wanted: Mapping[ObjectKey, Declared], *, allow_many: bool
) -> Removals:
    """Deletions, or the reasons why there are none."""
    unnamed = [obj for obj in standing.of_files if key_of(obj) not in wanted]
    ready = [obj for obj in unnamed if file_of(obj) in files.accepted | files.gone]
    waits = any(file_of(obj) in files.absent - files.gone for obj in unnamed)
    is_empty = not files.accepted and len(ready) == len(standing.of_files)
    if ready and not allow_many and (is_empty or len(ready) > _most(standing)):
        return Removals(held=_too_many(ready, standing), wait_for_files=waits)
    in_use = _templates_in_use(ready, standing, wanted)
    going = sorted((obj for obj in ready if key_of(obj) not in in_use), key=_users_first)
    return Removals(
        writes=tuple(Write(Verb.DELETE, file_of(obj), obj, obj) for obj in going),
        held=tuple(in_use.values()),
        wait_for_files=waits,
    )


def _most(standing: Standing) -> float:
    return max(DELETES_AT_ONCE_MAX, DELETES_AT_ONCE_SHARE_MAX * len(standing.of_files))


def _users_first(obj: Resource) -> tuple[bool, str]:
    return isinstance(obj, ContainerTemplate), obj.name


def _too_many(ready: list[Resource], standing: Standing) -> tuple[Held, ...]:
    """One for the folder, which is logged, and one for each file that has a part in it."""
    counts: dict[str, int] = defaultdict(int)
    for obj in ready:
        counts[file_of(obj)] += 1
    mend = "restore them, or confirm once with: mcpgw apply --allow-deletes"
    what = f"{len(ready)} of {len(standing.of_files)} objects are in no file any more; none is deleted"
    whole = Held(FOLDER_PATH, Reason.MASS_DELETE, Problem(Place(FOLDER_PATH), what, mend))
    return whole, *(
        Held(file, Reason.MASS_DELETE, Problem(Place(file), f"{count} of its objects are kept", mend))
        for file, count in counts.items()
    )


def _templates_in_use(
    ready: Iterable[Resource], standing: Standing, wanted: Mapping[ObjectKey, Declared]
) -> dict[ObjectKey, Held]:
    """Templates that somebody still has a container of, be it one that is just being removed."""
    templates = [obj for obj in ready if isinstance(obj, ContainerTemplate)]
    if not templates:
        return {}
    users = _users_by_template(ready, standing, wanted)
    return {key_of(obj): _in_use(obj, sorted(users[obj.name])) for obj in templates if users[obj.name]}


def _users_by_template(
    ready: Iterable[Resource], standing: Standing, wanted: Mapping[ObjectKey, Declared]
) -> dict[str, set[str]]:
    """UserContainers go only when their container is gone and their data is put away, all others at once."""
    leaving = {key_of(obj) for obj in ready if not isinstance(obj, UserContainer)}
    users: dict[str, set[str]] = defaultdict(set)
    for obj in (*standing.objects, *(one.resource for one in wanted.values())):
        if key_of(obj) not in leaving:
            for template in _templates_of(obj):
                users[template].add(f"{obj.kind} {obj.name}")
    return users


def _templates_of(obj: Resource) -> set[str]:
    match obj:
        case UserContainer() | App():
            return {obj.spec.template}
        case AccessPolicy():
            return {rule.template for rule in obj.spec.rules if rule.template is not None}
    return set()


def _in_use(template: Resource, users: list[str]) -> Held:
    names = ", ".join(users[:NAMES_SHOWN_MAX]) + (", …" if len(users) > NAMES_SHOWN_MAX else "")
    file = file_of(template)
    what = f"template {template.name} is not deleted yet, {len(users)} still use it ({names})"
    return Held(
        file, Reason.TEMPLATE_IN_USE, Problem(Place(file), what, "remove these first, or wait for them")
    )
