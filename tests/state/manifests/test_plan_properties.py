"""Whatever people do to the folder: refused files lose nothing, and passes settle at what it says."""

import asyncio
import hashlib
from dataclasses import dataclass

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from state.kinds.resource import Resource
from state.kinds.user_container import DATA_FINALIZER, UserContainer
from state.manifests.apply import apply_folder
from state.manifests.folder import Folder, ManifestRead
from state.manifests.ownership import owning_file
from state.manifests.parse import parse_manifest
from state.manifests.plan import plan_manifests
from state.manifests.problem import ManifestError, Place, Problem
from state.manifests.removals import DELETES_AT_ONCE_MAX, DELETES_AT_ONCE_SHARE_MAX
from state.manifests.verdict import Verb
from state.store.memory import memory_store
from state.store.port import Store
from tests.state.manifests.rig import together, user

PASSES_TO_SETTLE_MAX = 8
FILES = ("a.yaml", "b.yaml", "c.yaml")
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")


@dataclass(frozen=True)
class Text:
    """What stands in a file: who, for which user, in which power; or that it is broken."""

    people: tuple[tuple[str, str, str], ...]
    is_broken: bool = False


def _read(path: str, text: Text) -> ManifestRead:
    if text.is_broken:
        return ManifestRead(path, "broken", problems=(Problem(Place(path, 1, 1), "broken", "mend it"),))
    written = "# all\n" + together(*(user(name, of=of, power=power) for name, of, power in text.people))
    sha256 = hashlib.sha256(written.encode()).hexdigest()
    try:
        return ManifestRead(path, sha256, parse_manifest(path, written.encode(), {}))
    except ManifestError as error:
        return ManifestRead(path, sha256, problems=error.problems)


PEOPLE = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(("Auto", "Stopped"))),
    max_size=8,
).map(tuple)
TEXTS = st.builds(Text, PEOPLE, st.sampled_from((False, False, False, True)))
FOLDERS = st.dictionaries(st.sampled_from(FILES), TEXTS).map(
    lambda texts: Folder(tuple(_read(path, text) for path, text in sorted(texts.items())))
)


async def _all(store: Store) -> list[UserContainer]:
    return await store.read(lambda tx: tx.list(UserContainer))


async def _finish_deletions(store: Store) -> None:
    for obj in await _all(store):
        if obj.metadata.is_deleted:
            await store.transact(
                lambda tx, obj=obj: tx.drop_finalizer(obj, DATA_FINALIZER), actor="reconciler"
            )  # type: ignore[misc]


def _live(objects: list[UserContainer]) -> dict[str, UserContainer]:
    return {obj.name: obj for obj in objects if not obj.metadata.is_deleted}


def _check_plan(folder: Folder, before: list[Resource]) -> None:
    """What no plan may do, whatever the folder says."""
    plan = plan_manifests(folder, before)
    refused = {report.path for report in plan.reports if report.reason == "Refused"}
    owned = [obj for obj in before if owning_file(obj) and not obj.metadata.is_deleted]
    deletes = [write for write in plan.writes if write.verb is Verb.DELETE]
    assert len(deletes) <= max(DELETES_AT_ONCE_MAX, DELETES_AT_ONCE_SHARE_MAX * len(owned))
    for write in plan.writes:
        assert write.file not in refused
        assert write.before is None or owning_file(write.before) not in refused
        assert write.before is None or write.before.unique_keys() == write.wanted.unique_keys()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FOLDERS, st.booleans()), min_size=1, max_size=6))
def test_passes_settle_whatever_was_edited(history: list[tuple[Folder, bool]]) -> None:
    async def live_through() -> None:
        store = memory_store()
        for folder, deletions_finish in history:
            _check_plan(folder, list(await _all(store)))
            await apply_folder(store, folder)
            if deletions_finish:
                await _finish_deletions(store)
        await _settles(store, history[-1][0])

    asyncio.run(live_through())


async def _settles(store: Store, folder: Folder) -> None:
    for _ in range(PASSES_TO_SETTLE_MAX):
        plan = await apply_folder(store, folder)
        await _finish_deletions(store)
        if not plan.writes and not any(report.reason == "Waiting" for report in plan.reports):
            break
    else:
        raise AssertionError("it never settles")
    revision = await store.revision()
    await apply_folder(store, folder)
    assert await store.revision() == revision


@settings(max_examples=150, deadline=None)
@given(st.lists(FOLDERS, max_size=4))
def test_in_the_end_the_store_is_what_a_sound_folder_says(history: list[Folder]) -> None:
    async def live_through() -> None:
        store = memory_store()
        for folder in history:
            await apply_folder(store, folder)
        sound = Folder((
            _read("a.yaml", Text((("alice", "alice", "Auto"), ("bob", "bob", "Stopped")))),
            _read("d.yaml", Text((("carol", "carol", "Auto"), ("zoe", "heidi", "Auto")))),
        ))  # fmt: skip
        await _finish_deletions(store)
        before = _live(await _all(store))
        for name, of in (("alice", "alice"), ("bob", "bob"), ("carol", "carol")):
            assume(name not in before or before[name].spec.user == f"github:{of}")  # no change of hands
        for _ in range(PASSES_TO_SETTLE_MAX):
            await apply_folder(store, sound, allow_deletes=True)
            await _finish_deletions(store)
        after = {name: owning_file(obj) for name, obj in _live(await _all(store)).items()}
        assert after == {"alice": "a.yaml", "bob": "a.yaml", "carol": "d.yaml", "zoe": "d.yaml"}

    asyncio.run(live_through())
