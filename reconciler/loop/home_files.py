"""A Home's files and what is on record of them: before its container starts, and while it runs.

Decides that what cannot be written keeps nobody from having a container, and is said. Next:
:mod:`reconciler.loop.files`, which writes.
"""

from collections.abc import Awaitable, Callable

import structlog

from reconciler.core.actions import WriteFiles
from reconciler.core.errors import ActionError
from reconciler.core.files import files_of
from reconciler.core.world import World
from reconciler.loop import records
from reconciler.loop.directories import Directories
from reconciler.loop.records import Written
from state.kinds.home import Home
from state.store.port import Tx

Record = Callable[[Tx], Written]
_log = structlog.get_logger(__name__)


async def files_at_birth(directories: Directories, world: World, home: Home, user: str) -> Record:
    """Have the template's files there before the container starts; gives what puts that on record.

    What stands in the way may be the workload's own doing. It is tried again while the container runs.
    """
    owner, template = world.user_container, world.template
    wanted = files_of(template, home, world.headers) if template is not None else None
    if wanted is None or not wanted.texts:
        return _nothing
    try:
        trouble = await directories.write(home.name, wanted.texts, user)
    except ActionError as error:
        _log.warning("files.unwritten", home=home.name, why=str(error))
        return _nothing
    return lambda tx: records.files(tx, owner, wanted.hash, wanted.headers_generation, trouble)


async def write_files_now(
    directories: Directories,
    world: World,
    action: WriteFiles,
    write: Callable[[Record], Awaitable[None]],
) -> None:
    """Write them and put it on record by ``write``. Raises ActionError, once it is on record why not."""
    owner, standing = world.user_container, world.user_container.status.files
    user = world.template.spec.security.user if world.template is not None else ""
    try:
        trouble = await directories.write(action.home.name, action.files, user)
    except ActionError as error:
        why = str(error)
        if why != standing.trouble:
            hash_, generation = standing.hash, standing.headers_generation
            await write(lambda tx: records.files(tx, owner, hash_, generation, why))
        raise
    await write(lambda tx: records.files(tx, owner, action.hash, action.headers_generation, trouble))
    _log.info("files.written", user_container=owner.name, home=action.home.name, trouble=trouble)


def _nothing(_: Tx) -> Written:
    return ()
