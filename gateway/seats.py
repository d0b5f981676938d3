"""Which UserContainer serves a user, and a new one for an authorized user who has none.

Decides names and ownership only; what the container shall be is the template's, whether it may be is the
reconciler's. Whoever comes here was identified and asks for a route that exists: nobody else creates.
Next: :mod:`gateway.hold.delivery`.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

from gateway.problems import Problem, forbidden, store_silent, unavailable
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from state.kinds.app import App, app_of
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import (
    DATA_FINALIZER,
    UserContainer,
    UserContainerSpec,
    derived_name,
    seat_key,
    seat_key_prefix,
)
from state.kinds.user_headers import UserHeaders, new_user_headers
from state.store.errors import AlreadyExists, StoreError
from state.store.port import Store, Tx

CREATIONS_AT_ONCE_MAX = 16
CREATIONS_WAITING_MAX = 512
_RETRY_AFTER_S = 5.0


class TooManyUsersError(Exception):
    """The App has as many users as it may have; ``str(error)`` says how many that is."""


class TemplateMissingError(Exception):
    """The template that a new UserContainer needs is not in the store."""


class Seats:
    """One a worker. Creations are single-flight a user and template, and bounded."""

    def __init__(self, table: Table, store: Store, *, worker: str) -> None:
        self._table = table
        self._store = store
        self._actor = f"gateway:{worker}"
        self._creating: dict[tuple[str, str], asyncio.Task[Seat]] = {}
        self._turns = asyncio.Semaphore(CREATIONS_AT_ONCE_MAX)

    def find(self, user: str, template: str) -> Seat | None:
        """The user's seat for ``template``; else the one that an operator wrote for them in a file."""
        seat = self._table.seat(user, template)
        if seat is not None:
            return seat
        written = (s for s in self._table.seats_of(user) if s.resource.metadata.managed_by != "api")
        return next(written, None)

    async def ensure(self, user: str, template: str, said: Mapping[str, str] | None = None) -> Seat:
        """The user's seat, created if there is none: with what the call says that its files are made of.

        Raises Problem (503).
        """
        seat = self.find(user, template)
        if seat is not None:
            return seat
        key = (user, template)
        creating = self._creating.get(key)
        if creating is None:
            if len(self._creating) >= CREATIONS_WAITING_MAX:
                raise _overloaded()
            creating = self._creating[key] = asyncio.create_task(self._create(user, template, said))
            creating.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(creating)

    def _forget(self, key: tuple[str, str], done: asyncio.Task[Seat]) -> None:
        del self._creating[key]
        if not done.cancelled():
            done.exception()  # everybody who asked has heard it, or has gone

    async def _create(self, user: str, template: str, said: Mapping[str, str] | None) -> Seat:
        try:
            async with self._turns:
                create = partial(_created, user=user, template=template, said=said or {})
                obj = await self._store.transact(create, actor=self._actor)
        except TemplateMissingError:
            raise _no_template(template) from None
        except TooManyUsersError as error:
            raise forbidden(str(error), "TooManyUsers") from None
        except AlreadyExists as error:
            raise unavailable("The container's name is taken", f"{error}.", "NameTaken", 60.0) from None
        except StoreError as error:
            raise store_silent() from error
        seat = self._table.learn(obj)
        if seat is None:
            raise _overloaded()
        return seat


def _created(tx: Tx, user: str, template: str, said: Mapping[str, str]) -> UserContainer:
    """The user's UserContainer: the one there is (another worker may have been first), or a new one."""
    existing = tx.by_unique_key(UserContainer, seat_key(user, template))
    if existing is not None:
        return existing
    if tx.get(ContainerTemplate, template) is None:
        raise TemplateMissingError
    if app := app_of(user):
        _refuse_beyond_limit(tx, app)
    name = derived_name(user, template)
    if tx.get(UserContainer, name) is not None:
        raise AlreadyExists(f"UserContainer {name} is another's; rename it in its manifest")
    metadata = Metadata(name=name, finalizers=(DATA_FINALIZER,))
    spec = UserContainerSpec(user=user, template=template)
    created = tx.create(UserContainer(metadata=metadata, spec=spec))
    if said:
        left = tx.get(UserHeaders, name)
        if left is not None:
            tx.delete(left)  # of whoever had the name before
        tx.create(new_user_headers(created, dict(said)))
    return created


def _refuse_beyond_limit(tx: Tx, name: str) -> None:
    """Raises TooManyUsersError. Those that are being deleted count until they are gone."""
    app = tx.get(App, name)
    limit = None if app is None else app.spec.limits.users
    if limit is not None and tx.count_unique_keys(UserContainer, seat_key_prefix(name)) >= limit:
        raise TooManyUsersError(
            f"The App {name} has {limit} users, as many as it may have. Delete some, or raise limits.users "
            "in its manifest."
        )


def _no_template(template: str) -> Problem:
    return unavailable(
        "There is no such template",
        f"ContainerTemplate {template} does not exist. An operator has to add it to the manifests folder, or "
        "name another in the App's manifest.",
        "TemplateMissing",
        60.0,
    )


def _overloaded() -> Problem:
    return unavailable(
        "Too many containers are being made",
        "Ask again in a moment.",
        "TooManyCreations",
        _RETRY_AFTER_S,
    )
