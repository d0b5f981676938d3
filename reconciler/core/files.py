"""The files of a user's data directory that their template declares: what they should say, and when to write.

Decides that nothing is ever taken away: a file of which nothing fits any more stays as it is, so a lost store
costs nobody theirs. What is written while a container runs is paced, however often gateways bring news.
Next: :mod:`reconciler.loop.files`, which writes into a directory that is the workload's own.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from reconciler.core.actions import FileText, WriteFiles
from reconciler.core.planned import Plan, is_recorded
from reconciler.core.world import World
from state.kinds.files import SESSION
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.template import ContainerTemplate
from state.kinds.user_headers import UserHeaders

WRITE_EVERY: Final = timedelta(seconds=1)  # a user's files, while their container runs
HASH_HEX_DIGITS = 32
SESSION_HEX_DIGITS = 16
_WRITTEN_WHILE = (IncarnationState.CREATED, IncarnationState.STARTED)


@dataclass(frozen=True, slots=True)
class Files:
    """All that fits, and what it was made of."""

    texts: tuple[FileText, ...]
    headers_generation: int

    @property
    def hash(self) -> str:
        """A stable name for what all of them say; empty if there are none."""
        if not self.texts:
            return ""
        digest = hashlib.sha256()
        for one in self.texts:
            for part in (one.path.encode(), one.content):
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:HASH_HEX_DIGITS]


def files_of(template: ContainerTemplate, home: Home, headers: UserHeaders | None) -> Files:
    """The template's files, of what this Home's user said last."""
    said = dict(headers.spec.values) if headers is not None else {}
    values = {**said, SESSION: session_of(home.name)}
    made = ((one.path, one.made_of(values)) for one in template.spec.files)
    texts = tuple(FileText(path, content) for path, content in made if content is not None)
    return Files(texts, headers.metadata.generation if headers is not None else 0)


def session_of(home: str) -> str:
    """A name for the Home's user at third parties; the Home's own opens its hosted links."""
    return hashlib.sha256(f"mcp-gateway/v1 session\n{home}".encode()).hexdigest()[:SESSION_HEX_DIGITS]


def plan_files(world: World) -> Plan | None:
    """Write what differs from what was written last, into the Home of a container that is there."""
    template, home, record, container = world.template, world.home, world.incarnation, world.container()
    if template is None or not template.spec.files or home is None or record is None or container is None:
        return None
    if not _is_there(world, record):
        return None
    files, standing = files_of(template, home, world.headers), world.user_container.status.files
    is_same = files.hash in (standing.hash, "")
    if is_same and files.headers_generation == standing.headers_generation:
        return None
    if standing.written_at is not None and not is_same:
        due = standing.written_at + WRITE_EVERY
        if standing.written_at <= world.now < due:
            return Plan(look_again_at=due)
    return Plan(WriteFiles(home, files.texts, files.hash or standing.hash, files.headers_generation))


def _is_there(world: World, record: Incarnation) -> bool:
    container = world.container()
    is_made = record.status.state in _WRITTEN_WHILE
    return is_made and container is not None and is_recorded(world, container, record)
