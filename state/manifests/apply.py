"""Writes a plan for the manifests into the store, and says what came of each file, once.

The plan is made on a snapshot; each transaction then makes sure that what was decided on still stands, and
otherwise all is planned anew. Writes go in batches, so that other writers get their turn; a death between
two leaves a difference that the next pass finds. Next: :mod:`state.manifests.follow`.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import assert_never

import structlog

from state.kinds.catalog import WRITTEN_BY_PEOPLE
from state.kinds.report import ManifestFile, ManifestFileSpec, ManifestFileStatus, manifest_file_name
from state.kinds.resource import (
    MESSAGE_CHARS_MAX,
    Condition,
    Conditions,
    ConditionType,
    Metadata,
    Resource,
    Truth,
)
from state.manifests.folder import Folder
from state.manifests.ownership import owning_file
from state.manifests.plan import plan_manifests
from state.manifests.verdict import FOLDER_PATH, Plan, Reason, Report, Verb, Write
from state.store.errors import AlreadyExists, Conflict, NotFound
from state.store.port import Store, Tx, remove

ACTOR = "manifests"
ATTEMPTS_MAX = 5  # a pass is planned anew when somebody else wrote in between
WRITES_PER_TRANSACTION_MAX = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one reading of the store led to. ``reports``: only those that say something new."""

    plan: Plan
    reports: tuple[Report, ...]
    forgotten: tuple[ManifestFile, ...]


async def apply_folder(
    store: Store,
    folder: Folder,
    *,
    gone: Set[str] | None = None,
    allow_deletes: bool = False,
    epoch: int | None = None,
) -> Plan:
    """Make the store say what ``folder`` says; see :func:`plan_manifests` for what is held back.

    ``epoch``: of the reconciler that does it; a person's command has none. Raises Unavailable, Fenced; and
    Conflict when others wrote the same objects each time.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        found = await store.read(lambda tx: _planned(tx, folder, gone, allow_deletes))
        try:
            await _write(store, found, epoch)
        except (Conflict, AlreadyExists, NotFound):
            if attempt == ATTEMPTS_MAX:
                raise
            continue
        _log_news(found)
        return found.plan
    raise AssertionError("the last attempt returns or raises")


def _planned(tx: Tx, folder: Folder, gone: Set[str] | None, allow_deletes: bool) -> _Pass:
    stored: list[Resource] = [obj for kind in WRITTEN_BY_PEOPLE for obj in tx.list(kind)]
    plan = plan_manifests(folder, stored, gone=gone, allow_deletes=allow_deletes)
    records = {record.spec.path: record for record in tx.list(ManifestFile)}
    news = tuple(report for report in plan.reports if _is_news(report, records.get(report.path)))
    if folder.problem is not None:
        return _Pass(plan, news, ())
    kept = {FOLDER_PATH, *(report.path for report in plan.reports), *_untouched_files(stored, plan)}
    return _Pass(plan, news, tuple(record for path, record in records.items() if path not in kept))


def _untouched_files(stored: list[Resource], plan: Plan) -> Iterator[str]:
    """The files whose objects the plan leaves as they are."""
    touched = {(write.wanted.kind, write.wanted.name) for write in plan.writes}
    for obj in stored:
        file = owning_file(obj)
        if file is not None and not obj.metadata.is_deleted and (obj.kind, obj.name) not in touched:
            yield file


def _is_news(report: Report, record: ManifestFile | None) -> bool:
    """Whether the record does not say so already. Of the folder, good news alone is none."""
    if record is None:
        return not (report.path == FOLDER_PATH and report.reason is Reason.APPLIED)
    condition = record.status.condition(ConditionType.APPLIED)
    says = (condition.reason, condition.message) if condition is not None else None
    return says != (report.reason, _message(report)) or (
        report.reason is Reason.APPLIED and record.status.applied_sha256 != report.sha256
    )


async def _write(store: Store, found: _Pass, epoch: int | None) -> None:
    writes = found.plan.writes
    for first in range(0, len(writes), WRITES_PER_TRANSACTION_MAX):
        batch = writes[first : first + WRITES_PER_TRANSACTION_MAX]
        await store.transact(lambda tx, batch=batch: _write_batch(tx, batch, epoch), actor=ACTOR)  # type: ignore[misc]
    if found.reports or found.forgotten:
        await store.transact(lambda tx: _write_reports(tx, found, epoch), actor=ACTOR)


def _write_batch(tx: Tx, batch: tuple[Write, ...], epoch: int | None) -> None:
    if epoch is not None:
        tx.fence(epoch)
    for write in batch:
        _write_one(tx, write)


def _write_one(tx: Tx, write: Write) -> None:
    """Raises Conflict when somebody changed what the plan was made on; a new status is no such change."""
    current = tx.get(type(write.wanted), write.wanted.name)
    if _decided_on(current) != _decided_on(write.before):
        raise Conflict(f"{write.wanted.kind} {write.wanted.name} was changed by somebody else")
    match write.verb:
        case Verb.CREATE:
            if current is not None:
                remove(tx, current)
            tx.create(write.wanted)
        case Verb.UPDATE:
            assert current is not None, "an update has something to update"
            owner = {"managed_by": write.wanted.metadata.managed_by}
            metadata = current.metadata.model_copy(update=owner)
            tx.update_spec(current.replaced(spec=write.wanted.spec, metadata=metadata))
        case Verb.DELETE:
            assert current is not None, "a deletion has something to delete"
            tx.delete(current)
        case _:
            assert_never(write.verb)


def _decided_on(obj: Resource | None) -> tuple[object, ...] | None:
    if obj is None:
        return None
    metadata = obj.metadata
    return metadata.uid, metadata.generation, metadata.managed_by, metadata.is_deleted


def _write_reports(tx: Tx, found: _Pass, epoch: int | None) -> None:
    if epoch is not None:
        tx.fence(epoch)
    for record in found.forgotten:
        current = tx.get(ManifestFile, record.name)
        if current is not None:
            tx.delete(current)
    for report in found.reports:
        _write_report(tx, report)


def _write_report(tx: Tx, report: Report) -> None:
    name = manifest_file_name(report.path)
    record = tx.get(ManifestFile, name)
    if record is None:
        spec = ManifestFileSpec(path=report.path)
        record = tx.create(ManifestFile(metadata=Metadata(name=name), spec=spec))
    is_applied = report.reason is Reason.APPLIED
    condition = Condition(
        type=ConditionType.APPLIED,
        status=Truth.TRUE if is_applied else Truth.FALSE,
        reason=report.reason,
        message=_message(report),
        since=tx.now,
    )
    status = ManifestFileStatus(
        observed_generation=record.metadata.generation,
        conditions=Conditions.merged(record.status.conditions, (condition,)),
        applied_sha256=report.sha256 if is_applied else record.status.applied_sha256,
    )
    tx.update_status(record.replaced(status=status))


def _message(report: Report) -> str:
    message = report.message
    return message if len(message) <= MESSAGE_CHARS_MAX else message[: MESSAGE_CHARS_MAX - 1] + "…"


def _log_news(found: _Pass) -> None:
    """One line for each file whose state or objects changed; a mass deletion has one in all."""
    counts: dict[str, dict[str, int]] = {}
    for write in found.plan.writes:
        of_file = counts.setdefault(write.file, {})
        done = f"{write.verb}d"
        of_file[done] = of_file.get(done, 0) + 1
    for record in found.forgotten:
        _log.info("manifest.removed", file=record.spec.path, **counts.pop(record.spec.path, {}))
    new_paths = {report.path for report in found.reports}
    for report in found.plan.reports:
        if report.path in new_paths or report.path in counts:
            _log_report(report, counts.get(report.path, {}))


def _log_report(report: Report, counts: dict[str, int]) -> None:
    if report.problem is None:
        _log.info("manifest.applied", file=report.path, objects=report.objects_count, **counts)
        return
    if report.reason is Reason.MASS_DELETE and report.path != FOLDER_PATH:
        return
    place, what, mend = report.problem.place, report.problem.what, report.problem.mend
    says = {"file": place.file, "line": place.line, "what": what, "mend": mend, "more": report.more_count}
    if report.reason in (Reason.REFUSED, Reason.MASS_DELETE):
        _log.warning("manifest.refused", reason=str(report.reason), **says, **counts)
    else:
        _log.info("manifest.deferred", reason=str(report.reason), **says, **counts)
