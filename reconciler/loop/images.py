"""Which images are known to be there, and the fetching of those that are not: once each, not per user.

A slow or failing pull of one image holds up nobody who needs another: the engine's client bounds how many
are pulled at once, and an image that is there needs no pull. What is known is forgotten after a while,
because somebody may have removed or replaced the image.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from reconciler.core.errors import ActionError, TransientError
from reconciler.core.world import ImageView
from reconciler.engine.port import Engine
from state.kinds.template import Pull

PRESENT_TRUSTED_S = 300.0
PRESENT_TRUSTED_ALWAYS_S = 10.0  # a policy of Always wants to be asked again soon
RETRY_S_MIN = 5.0
RETRY_S_MAX = 300.0
IMAGES_KNOWN_MAX = 10_000

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    present_until: datetime | None = None
    failure: ActionError | None = None
    failure_count: int = 0
    retry_at: datetime | None = None
    fetching: asyncio.Task[None] | None = None


class Images:
    """What is known of images; bounded by the number of images that templates name."""

    def __init__(self, engine: Engine, now: Callable[[], datetime], on_change: Callable[[str], None]) -> None:
        self._engine = engine
        self._now = now
        self._on_change = on_change  # gets the reference whose fetch ended, well or not
        self._known: dict[tuple[str, Pull], _Known] = {}

    def view(self, reference: str, pull: Pull) -> ImageView:
        known = self._known.get((reference, pull))
        if known is None:
            return _UNKNOWN
        if known.present_until is not None and known.present_until > self._now():
            return _PRESENT
        if known.fetching is not None:
            return _FETCHING
        if known.failure is None:
            return _UNKNOWN
        return ImageView(
            failed_reason=known.failure.reason, failed_message=str(known.failure), retry_at=known.retry_at
        )

    def fetch(self, reference: str, pull: Pull) -> None:
        """Begin to get the image, or join a fetch that is under way; how it ended is in the view."""
        known = self._entry(reference, pull)
        if known.fetching is None:
            known.fetching = asyncio.create_task(self._fetch(known, reference, pull))

    def forget(self, reference: str, pull: Pull) -> None:
        """What was known turned out to be wrong: somebody removed the image."""
        known = self._known.get((reference, pull))
        if known is not None:
            known.present_until = None

    async def close(self) -> None:
        """Give up fetches under way."""
        tasks = [known.fetching for known in self._known.values() if known.fetching is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _entry(self, reference: str, pull: Pull) -> _Known:
        if len(self._known) >= IMAGES_KNOWN_MAX:
            self._known = {key: one for key, one in self._known.items() if one.fetching is not None}
        return self._known.setdefault((reference, pull), _Known())

    async def _fetch(self, known: _Known, reference: str, pull: Pull) -> None:
        try:
            await self._engine.ensure_image(reference, pull)
        except ActionError as error:
            self._note_failure(known, reference, error)
        except Exception as error:  # a mistake of ours: whoever waits for the image is told all the same
            _log.exception("image.crashed", image=reference)
            said = f"{reference}: {type(error).__name__}; the reconciler's log says more"
            self._note_failure(known, reference, TransientError("ImageUnknown", said))
        else:
            trusted_s = PRESENT_TRUSTED_ALWAYS_S if pull is Pull.ALWAYS else PRESENT_TRUSTED_S
            known.present_until = self._now() + timedelta(seconds=trusted_s)
            known.failure, known.failure_count, known.retry_at = None, 0, None
        finally:
            known.fetching = None
        self._on_change(reference)

    def _note_failure(self, known: _Known, reference: str, error: ActionError) -> None:
        known.present_until = None
        known.failure = error
        known.failure_count += 1
        wait_s = min(RETRY_S_MIN * 2.0 ** min(known.failure_count - 1, 10), RETRY_S_MAX)
        known.retry_at = self._now() + timedelta(seconds=wait_s)
        _log.warning("image.missing", image=reference, reason=error.reason, message=str(error))


_UNKNOWN = ImageView()
_PRESENT = ImageView(present=True)
_FETCHING = ImageView(fetching=True)
