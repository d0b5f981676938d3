"""What the host makes of a template's mounts: where each source really is, judged once more by where that is.

A link may lead out of what CEILING_MOUNTS allows, so that every source is resolved, and the engine is given
what came of it. Next: :mod:`reconciler.loop.actuator`.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.core.ceiling import Ceiling
from reconciler.core.container import Mount
from reconciler.core.errors import TerminalError, TransientError
from reconciler.core.mounts import AllowedMount, source_refusal
from reconciler.loop.own_threads import OwnThreads

RESOLVE_S_MAX = 5.0


class HostMounts:
    """The host's answers, in a thread of its own: what is mounted may be a file system that hangs."""

    def __init__(self) -> None:
        self._thread = OwnThreads("mounts")

    async def resolved(self, mounts: Sequence[Mount], ceiling: Ceiling) -> tuple[Mount, ...]:
        """``mounts`` without any link on the way. Raises TerminalError NotAllowed, or TransientError
        MountMissing for what is not there, or not to be seen from here."""
        if not mounts:
            return ()
        try:
            return await self._thread.ask(RESOLVE_S_MAX, lambda: _resolved(mounts, ceiling))
        except TimeoutError:
            message = f"the host did not say within {RESOLVE_S_MAX:g} s where {mounts[0].source} is"
            raise TransientError("MountMissing", message) from None


def _resolved(mounts: Sequence[Mount], ceiling: Ceiling) -> tuple[Mount, ...]:
    allowed = [replace(one, path=os.path.realpath(one.path)) for one in ceiling.mounts]
    return tuple(_one(mount, allowed, ceiling.mounts_never) for mount in mounts)


def _one(mount: Mount, allowed: Sequence[AllowedMount], never: Sequence[str]) -> Mount:
    try:
        real = os.path.realpath(mount.source, strict=True)
        mode = Path(real).lstat().st_mode
    except OSError as error:
        raise TransientError(
            "MountMissing",
            f"mount of {mount.source}: {error.strerror}; make it on the engine's host, and let the "
            "reconciler see it under the same path",
        ) from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise TerminalError("NotAllowed", f"mount of {mount.source}: it is no directory and no plain file")
    found = mount._replace(source=real)
    refused = source_refusal(found, allowed, never)
    if refused:
        where = "" if real == mount.source else f"{mount.source} leads elsewhere: "
        raise TerminalError("NotAllowed", f"{where}{refused}")
    return found
