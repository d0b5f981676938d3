"""What callers say in the headers that their template's files are made of: read, compared, and kept.

Decides that a call goes on only once what it says is in the file, that a call which says nothing changes
nothing, and how often a user may change their mind. Whoever comes here was let in. Refuses to know what a
file says: :mod:`state.kinds.files` does, and the reconciler writes it.
Next: :mod:`gateway.hold.delivery`.
"""

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Final

from gateway.auth.throttle import Pace, Throttle
from gateway.head import Header
from gateway.problems import Problem, bad_request, not_found, store_silent, unavailable
from gateway.routes.header_rules import HeaderRules
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from state.kinds.files import UnfitHeaderError, values_of
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders, UserHeadersSpec, new_user_headers
from state.store.errors import AlreadyExists, Conflict, StoreError
from state.store.port import Store, Tx

CHANGES: Final = Pace(0.5, 20)  # of one user's values, for each worker
WRITTEN_S_MAX = 5.0  # for the reconciler to write what a call said; then 503
RETRY_AFTER_S = 2.0

Said = dict[str, str]


def said_in(headers: Iterable[Header], rules: HeaderRules) -> Said | None:
    """The values that a call says; None: nothing of what is asked for. Raises Problem (400)."""
    said: dict[str, bytes] = {}
    for name, value in headers:
        declared = rules.names.get(name)
        if declared is None:
            continue
        if declared in said:
            raise _unfit(f"{declared} stands twice")
        said[declared] = value
    if not said:
        return None
    try:
        return values_of(rules.declared, said)
    except UnfitHeaderError as error:
        raise _unfit(str(error)) from None


class UserHeadersKeeper:
    """One a worker. Where nothing new is said, neither awaits nor asks anybody."""

    def __init__(self, table: Table, store: Store, *, worker: str) -> None:
        self._table = table
        self._store = store
        self._actor = f"gateway:{worker}"
        self._changes = Throttle(CHANGES.rate_per_s, CHANGES.burst)

    def is_kept(self, seat: Seat, said: Said) -> bool:
        """Whether that was said last, and a container that is routed has it."""
        kept = self._table.headers_of(seat)
        return kept is not None and kept.spec.values == said and _is_written(seat, kept.metadata.generation)

    async def keep(self, seat: Seat, said: Said) -> None:
        """Have ``said`` on record, and in the files of a container that is routed.

        Raises Problem (404, 429, 503).
        """
        kept = self._table.headers_of(seat)
        if kept is None or kept.spec.values != said:
            wait_s = self._changes.take(seat.resource.uid, time.monotonic())
            if wait_s is not None:
                raise _too_often(wait_s)
        write = partial(_kept, owner=seat.resource, said=said)
        try:
            generation = await self._store.transact(write, actor=self._actor)
        except (AlreadyExists, Conflict):  # another worker was as quick
            raise _unwritten() from None
        except StoreError as error:
            raise store_silent() from error
        await self._wait_written(seat, generation)

    async def _wait_written(self, seat: Seat, generation: int) -> None:
        try:
            async with asyncio.timeout(WRITTEN_S_MAX):
                while not _is_written(seat, generation):
                    change = seat.next_change()
                    try:
                        await change
                    finally:
                        seat.forget_waiter(change)
        except TimeoutError:
            raise _unwritten() from None


def _is_written(seat: Seat, generation: int) -> bool:
    """Where nothing is routed, nothing is before its files are."""
    return seat.endpoint is None or seat.resource.status.files.headers_generation >= generation


def _kept(tx: Tx, owner: UserContainer, said: Said) -> int:
    """The generation of what is on record then. Raises Problem (404)."""
    current, kept = tx.get(UserContainer, owner.name), tx.get(UserHeaders, owner.name)
    if current is None or current.uid != owner.uid:
        raise not_found("This container is gone.")
    if kept is not None and kept.spec.user_container != owner.uid:
        tx.delete(kept)  # of whoever had the name before
        kept = None
    if kept is None:
        return tx.create(new_user_headers(owner, said)).metadata.generation
    if kept.spec.values == said:
        return kept.metadata.generation
    spec = UserHeadersSpec(user_container=owner.uid, values=said)
    return tx.update_spec(kept.replaced(spec=spec)).metadata.generation


def _unfit(why: str) -> Problem:
    return bad_request(f"{why}. It is one of the headers that this container is set up by.", "HeaderUnfit")


def _too_often(wait_s: float) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The container is set up anew too often",
        "Calls of one user differ in the headers that it is set up by. Let them agree, or wait.",
        reason="TooManyRequests",
        retry_after_s=wait_s,
    )


def _unwritten() -> Problem:
    return unavailable(
        "The container is being set up",
        "What the call says in its headers has not reached the container yet. Ask again in a moment.",
        "FilesUnwritten",
        RETRY_AFTER_S,
    )
