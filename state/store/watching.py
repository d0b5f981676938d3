"""Following the change log: everything once, then what changed, at a cost that only the changes set.

Decides when to look and what a batch holds. Refuses to know the medium: it reads through
:class:`state.store.rows.Backend`. Next: :mod:`state.store.leases`, whose barrier counts on the revisions.
"""

import structlog

from state.kinds.resource import Key, Resource
from state.store.errors import TooOld, Unavailable
from state.store.port import Batch
from state.store.rows import Backend, Counter, Rows

_log = structlog.get_logger(__name__)


class Watch:
    """One reader's place in the log, and the names it was told of (to say later what went away)."""

    def __init__(self, backend: Backend, kinds: tuple[type[Resource], ...]) -> None:
        self._backend = backend
        self._kinds = kinds
        self._known: set[Key] = set()
        self._revision: int | None = None  # of the last batch; None: nothing was told yet
        self._seen_count = 0
        self._is_interrupted = False

    async def look(self) -> tuple[Counter, Batch | None] | None:
        """Wait until there may be something, and read it. None as the batch: nothing changed.

        None at all: the store did not answer; look again. Only the very first look may raise Unavailable.
        """
        bell = self._backend.bell
        if self._revision is not None:
            await bell.wait(self._seen_count, self._backend.poll_s)
        self._seen_count = bell.count
        try:
            counter, batch = await self._backend.read(self._read)
        except Unavailable as error:
            if self._revision is None:
                raise
            self._interrupted(error)
            return None
        self._is_interrupted = False
        return counter, self._told(batch)

    def _interrupted(self, error: Unavailable) -> None:
        """Say so once, not at every try."""
        if not self._is_interrupted:
            _log.warning("watch.interrupted", why=str(error), retry_every_s=self._backend.poll_s)
        self._is_interrupted = True

    def _read(self, rows: Rows) -> tuple[Counter, Batch]:
        counter = rows.counter()
        if self._revision is None:
            return counter, self._everything(rows, counter)
        if counter.revision == self._revision:
            return counter, Batch(counter.revision, (), ())
        try:
            refuse_too_old(counter, self._revision)
        except TooOld:
            return counter, self._everything(rows, counter)
        changed = rows.changed(self._revision, self._kinds)
        objects = tuple(obj for _, obj in changed if obj is not None)
        return counter, Batch(counter.revision, objects, tuple(key for key, obj in changed if obj is None))

    def _everything(self, rows: Rows, counter: Counter) -> Batch:
        objects = tuple(obj for kind in self._kinds for obj in rows.list(kind))
        names = {_key(obj) for obj in objects}
        removed = tuple(key for key in self._known if key not in names)
        return Batch(counter.revision, objects, removed)

    def _told(self, batch: Batch) -> Batch | None:
        if batch.revision == self._revision:
            return None
        self._revision = batch.revision
        self._known.difference_update(batch.removed)
        self._known.update(map(_key, batch.objects))
        return batch


def refuse_too_old(counter: Counter, since: int) -> None:
    """Raises TooOld unless the log still holds every change after ``since``, of a revision that was."""
    if since < counter.trimmed_revision or since > counter.revision:
        raise TooOld(
            f"the change log holds the changes from revision {counter.trimmed_revision} "
            f"to {counter.revision}, not those after {since}; list again"
        )


def _key(obj: Resource) -> Key:
    return Key(kind=obj.kind, name=obj.name)
