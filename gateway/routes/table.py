"""The in-memory table that the data path reads: seats by user, by name and by Home; rules; who is known.

Fed by the store's watch, O(1) a change. Decides nothing about access; refuses to know the store, so a test
feeds it batches. It may be believed from the first batch on, for as long as the worker's lease stands.
Next: :mod:`gateway.follow`, which feeds it, and :mod:`gateway.doors`, which read it.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.proxy import Endpoint
from gateway.routes.header_rules import HeaderRules
from gateway.routes.match import RouteSet, base_path, covers
from gateway.routes.seat import Seat
from gateway.streams import Streams, of_app
from gateway.use import Ledger
from state.kinds.access_policy import AccessPolicy
from state.kinds.account import Account
from state.kinds.app import App
from state.kinds.home import Home
from state.kinds.resource import Key, Resource
from state.kinds.template import ContainerTemplate, Input, Route
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders
from state.store.port import Batch

KINDS: tuple[type[Resource], ...] = (
    UserContainer,
    ContainerTemplate,
    UserHeaders,
    App,
    Home,
    Account,
    AccessPolicy,
)


@dataclass(frozen=True, slots=True)
class Retirement:
    """An incarnation to which nothing new may go. ``cut``: what is in flight ends too (its user is gone)."""

    incarnation: str
    cut: bool


class Standing(Protocol):
    """The worker's lease, as far as the table asks it: :class:`gateway.lease.LeaseKeeper`."""

    def stands(self) -> bool: ...
    async def confirm(self, timeout_s: float) -> bool: ...


class _AlwaysStands:
    def stands(self) -> bool:
        return True

    async def confirm(self, timeout_s: float) -> bool:
        del timeout_s
        return True


ALWAYS_STANDS: Final[Standing] = _AlwaysStands()  # for a table that nobody else's barrier waits for


class Table:
    """Everything a worker knows of the desired state. One event loop's."""

    def __init__(self, lease: Standing = ALWAYS_STANDS) -> None:
        self.ledger = Ledger()
        self.streams = Streams()  # which hears of whose Account, policies or App changed
        self.revision = 0
        self.version = 0  # rises with everything that is taken in: what was found before may be another now
        self.apps_version = 0  # rises with every change of an App: what was concluded before is stale
        self._lease = lease
        self._is_current = False
        self._current = asyncio.Event()
        self._seats: dict[str, Seat] = {}
        self._by_uid: dict[str, Seat] = {}
        self._by_seat: dict[tuple[str, str], Seat] = {}
        self._by_user: dict[str, dict[str, Seat]] = {}
        self._templates: dict[str, RouteSet] = {}
        self._mcp: dict[str, tuple[Route, ...]] = {}
        self._inputs: dict[str, tuple[Input, ...]] = {}
        self._header_rules: dict[str, HeaderRules] = {}
        self._headers: dict[str, UserHeaders] = {}  # by the UserContainer's name
        self._apps: dict[str, App] = {}
        self._keys: dict[str, App] = {}
        self._homes: dict[str, str] = {}  # hostname → its owner's uid
        self._accounts: dict[str, Account] = {}  # by user
        self._account_users: dict[str, str] = {}  # an Account's name → its user
        self._policies: dict[str, AccessPolicy] = {}
        self.policies: tuple[AccessPolicy, ...] = ()  # by name; another tuple when one changes

    # What the data path asks

    @property
    def is_believed(self) -> bool:
        """Whether what the table says may be acted upon, now and until the next await."""
        return self._is_current and self._lease.stands()

    async def wait_believed(self, timeout_s: float) -> bool:
        """Whether it may, at once or within ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_believed:
                    await self._current.wait()
                    if not self._lease.stands():
                        await self._lease.confirm(timeout_s)
                    await asyncio.sleep(0)  # what the store said is taken in first
        return self.is_believed

    def seat(self, user: str, template: str) -> Seat | None:
        return self._by_seat.get((user, template))

    def seats_of(self, user: str) -> tuple[Seat, ...]:
        return tuple(sorted(self._by_user.get(user, {}).values(), key=lambda seat: seat.name))

    def seat_named(self, name: str) -> Seat | None:
        return self._seats.get(name)

    def seat_at_home(self, hostname: str) -> Seat | None:
        """The seat that owns the Home; None for a standby, a tombstone and what never was."""
        return self._by_uid.get(self._homes.get(hostname, ""))

    def routes(self, template: str) -> RouteSet | None:
        return self._templates.get(template)

    def inputs(self, template: str) -> tuple[Input, ...]:
        """What the template declares for its users to fill in."""
        return self._inputs.get(template, ())

    def header_rules(self, template: str) -> HeaderRules | None:
        """Which headers the template's files are made of; None if there are no such files."""
        return self._header_rules.get(template)

    def headers_of(self, seat: Seat) -> UserHeaders | None:
        """What the user's calls said last; nothing of what those of somebody of the same name did."""
        headers = self._headers.get(seat.name)
        return headers if headers is not None and headers.spec.user_container == seat.resource.uid else None

    def app(self, name: str) -> App | None:
        return self._apps.get(name)

    def app_with_key(self, sha256: str) -> App | None:
        return self._keys.get(sha256)

    def account(self, user: str) -> Account | None:
        """Somebody who signed in once; the same object for as long as nothing of it changes."""
        return self._accounts.get(user)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Everybody who signed in once: for pages that look at all of them, not for the data path."""
        return tuple(self._accounts.values())

    def mcp_base(self, path: str) -> str | None:
        """The path of the MCP server that ``path`` belongs to, if any template speaks MCP there."""
        routes = (route for routes in self._mcp.values() for route in routes if covers(route, path))
        longest = max(routes, key=lambda route: len(route.path), default=None)
        return None if longest is None else base_path(longest, path)

    @property
    def mcp_paths(self) -> tuple[str, ...]:
        """Where any template speaks MCP, the plainest first."""
        paths = {route.path.rstrip("/") or "/" for routes in self._mcp.values() for route in routes}
        return tuple(sorted(paths, key=lambda path: (len(path), path)))

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats.values())

    def __len__(self) -> int:
        return len(self._seats)

    # What the worker brings

    def replace(self, batch: Batch) -> list[Retirement]:
        """The first batch of a watch: everything there is. What it does not hold is gone."""
        present = {(obj.kind, obj.name) for obj in batch.objects}
        gone = [key for key in self._keys_held() if (key.kind, key.name) not in present]
        retired = self._apply(batch.objects, gone)
        self.revision = batch.revision
        self._is_current = True
        self._current.set()
        for seat in self:
            seat.wake()
        return retired

    def apply(self, batch: Batch) -> list[Retirement]:
        """A later batch. Returns what must be retired before the revision may be acknowledged."""
        retired = self._apply(batch.objects, batch.removed)
        self.revision = batch.revision
        return retired

    def learn(self, obj: UserContainer) -> Seat | None:
        """Take in an object just written, ahead of the watch. None: it is gone again already."""
        known = self._seats.get(obj.name)
        if known is not None and known.resource.uid == obj.uid:
            return known
        if obj.metadata.resource_version <= self.revision:
            return None
        self.version += 1
        self._take_seat(obj)
        return self._seats[obj.name]

    def suspend(self) -> None:
        """The lease is lost: barriers no longer wait for us, so nothing here may be believed."""
        self._is_current = False
        self._current.clear()

    # Leaves

    def _apply(self, objects: Iterable[Resource], removed: Iterable[Key]) -> list[Retirement]:
        self.version += 1
        retired = [self._forget(key) for key in removed]
        retired += [self._take(obj) for obj in objects]
        return [retirement for retirement in retired if retirement is not None]

    def _take(self, obj: Resource) -> Retirement | None:
        match obj:
            case UserContainer():
                return self._take_seat(obj)
            case ContainerTemplate():
                self._templates[obj.name] = RouteSet(obj.spec.routes)
                self._mcp[obj.name] = tuple(r for r in obj.spec.routes if r.protocol == "mcp")
                self._inputs[obj.name] = obj.spec.inputs
                self._take_files(obj)
            case UserHeaders():
                self._headers[obj.name] = obj
            case App():
                self._take_app(obj)
            case Home():
                self._take_home(obj)
            case Account():
                self._take_account(obj)
            case AccessPolicy():
                self._policies[obj.name] = obj
                self._order_policies()
            case _:
                raise AssertionError(f"the table does not watch {obj.kind}")
        return None

    def _take_files(self, template: ContainerTemplate) -> None:
        rules = HeaderRules(template.spec.files)
        if rules.declared:
            self._header_rules[template.name] = rules
        else:
            self._header_rules.pop(template.name, None)

    def _take_seat(self, obj: UserContainer) -> Retirement | None:
        seat = self._seats.get(obj.name)
        if seat is not None and seat.resource.uid != obj.uid:
            retired = self._drop_seat(obj.name)  # the same name again is another's
            self._add_seat(obj)
            return retired
        if seat is None:
            self._add_seat(obj)
            return None
        self._unindex(seat)
        dropped = seat.update(obj)
        self._index(seat)
        return _retirement(dropped, cut=obj.metadata.is_deleted)

    def _add_seat(self, obj: UserContainer) -> None:
        seat = self._seats[obj.name] = Seat(obj, self.ledger)
        self._index(seat)

    def _drop_seat(self, name: str) -> Retirement | None:
        seat = self._seats.pop(name, None)
        if seat is None:
            return None
        self._unindex(seat)
        return _retirement(seat.drop(), cut=True)

    def _index(self, seat: Seat) -> None:
        self._by_uid[seat.resource.uid] = seat
        self._by_seat[seat.user, seat.template] = seat
        self._by_user.setdefault(seat.user, {})[seat.name] = seat

    def _unindex(self, seat: Seat) -> None:
        self._by_uid.pop(seat.resource.uid, None)
        if self._by_seat.get((seat.user, seat.template)) is seat:
            del self._by_seat[seat.user, seat.template]
        of_user = self._by_user.get(seat.user, {})
        of_user.pop(seat.name, None)
        if not of_user:
            self._by_user.pop(seat.user, None)

    def _take_app(self, app: App) -> None:
        self._drop_app(app.name)
        if not app.metadata.is_deleted:
            self._apps[app.name] = app
            self._keys[app.spec.key_sha256] = app

    def _drop_app(self, name: str) -> None:
        self.apps_version += 1
        self.streams.changed(of_app(name))
        app = self._apps.pop(name, None)
        if app is not None and self._keys.get(app.spec.key_sha256) is app:
            del self._keys[app.spec.key_sha256]

    def _take_home(self, home: Home) -> None:
        if home.spec.owner is None:
            self._homes.pop(home.name, None)
        else:
            self._homes[home.name] = home.spec.owner.uid

    def _take_account(self, account: Account) -> None:
        if account.metadata.is_deleted:
            self._drop_account(account.name)
            return
        self._accounts[account.spec.user] = account
        self._account_users[account.name] = account.spec.user
        self.streams.changed(account.spec.user)

    def _drop_account(self, name: str) -> None:
        user = self._account_users.pop(name, None)
        if user is not None:
            del self._accounts[user]
            self.streams.changed(user)

    def _order_policies(self) -> None:
        live = (policy for policy in self._policies.values() if not policy.metadata.is_deleted)
        self.policies = tuple(sorted(live, key=lambda policy: policy.name))
        self.streams.all_changed()

    def _forget(self, key: Key) -> Retirement | None:
        match key.kind:
            case UserContainer.kind:
                return self._drop_seat(key.name)
            case ContainerTemplate.kind:
                self._templates.pop(key.name, None)
                self._mcp.pop(key.name, None)
                self._inputs.pop(key.name, None)
                self._header_rules.pop(key.name, None)
            case UserHeaders.kind:
                self._headers.pop(key.name, None)
            case App.kind:
                self._drop_app(key.name)
            case Home.kind:
                self._homes.pop(key.name, None)
            case Account.kind:
                self._drop_account(key.name)
            case AccessPolicy.kind:
                self._policies.pop(key.name, None)
                self._order_policies()
        return None

    def _keys_held(self) -> list[Key]:
        held: list[tuple[type[Resource], Iterable[str]]] = [
            (UserContainer, self._seats),
            (ContainerTemplate, self._templates),
            (UserHeaders, self._headers),
            (App, self._apps),
            (Home, self._homes),
            (Account, self._account_users),
            (AccessPolicy, self._policies),
        ]
        return [Key(kind=kind.kind, name=name) for kind, names in held for name in names]


def _retirement(dropped: Endpoint | None, *, cut: bool) -> Retirement | None:
    return None if dropped is None else Retirement(dropped.incarnation, cut)
