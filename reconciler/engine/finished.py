"""How containers ended, remembered so that a list costs one call and not one per stopped container.

An ending is read once per container and exit: it is forgotten when the container is started, when an event
names it, when the list shows another exit, and at the latest after ENDING_AGE_MAX_S.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.core.container import ObservedContainer

ENDING_AGE_MAX_S = 600.0


@dataclass(frozen=True, slots=True)
class _Ending:
    exit_mark: str
    read_at_s: float
    seen: ObservedContainer


class FinishedContainers:
    """Inspected endings by container id, each under the mark that the list puts on that exit."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._endings: dict[str, _Ending] = {}

    def get(self, container_id: str, exit_mark: str) -> ObservedContainer | None:
        ending = self._endings.get(container_id)
        if ending is None or ending.exit_mark != exit_mark:
            return None
        return ending.seen if self._monotonic() - ending.read_at_s < ENDING_AGE_MAX_S else None

    def put(self, exit_mark: str, seen: ObservedContainer) -> None:
        self._endings[seen.id] = _Ending(exit_mark, self._monotonic(), seen)

    def forget(self, container_id: str) -> None:
        self._endings.pop(container_id, None)

    def keep_only(self, container_ids: Iterable[str]) -> None:
        kept = set(container_ids)
        self._endings = {one: ending for one, ending in self._endings.items() if one in kept}
