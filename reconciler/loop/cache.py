"""The store as the reconciler sees it: the newest objects by name, and the few indexes that a pass needs.

Fed by the store's watch and by the reconciler's own writes, whichever comes first; an older version never
replaces a newer one. Every question costs the same at ten users and at ten thousand.
Next: :mod:`reconciler.loop.observer`.
"""

from collections import defaultdict
from typing import Final, TypeVar, cast

from state.kinds.app import App, app_of
from state.kinds.demand import Demand
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.log_view import LogView
from state.kinds.report import Reconciler
from state.kinds.request import Outcome, Request
from state.kinds.resource import Key, Resource
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs

R = TypeVar("R", bound=Resource)

WATCHED: Final[tuple[type[Resource], ...]] = (
    ContainerTemplate,
    UserContainer,
    App,
    Home,
    Incarnation,
    Request,
    UserInputs,
    UserHeaders,
    Demand,
    LogView,
    Reconciler,
)


class Cache:
    """Objects by kind and name. The indexes hold names, so that they never go stale on their own."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Resource]] = {kind.kind: {} for kind in WATCHED}
        self._user_container_by_uid: dict[str, str] = {}
        self._home_by_owner: dict[str, str] = {}
        # Dicts for their order: the same history gives the same passes.
        self._users_by_template: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._users_by_app: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._incarnations_by_home: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._requests_by_user: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.taken_addresses: dict[str, str] = {}  # address → Incarnation

    def put(self, obj: Resource) -> bool:
        """Take ``obj`` in; False if what is there is as new."""
        objects = self._objects[obj.kind]
        old = objects.get(obj.name)
        if old is not None:
            is_same_object = old.uid == obj.uid
            if is_same_object and old.metadata.resource_version >= obj.metadata.resource_version:
                return False
            self._unindex(old)
        objects[obj.name] = obj
        self._index(obj)
        return True

    def drop(self, key: Key) -> Resource | None:
        old = self._objects[key.kind].pop(key.name, None)
        if old is not None:
            self._unindex(old)
        return old

    def get(self, kind: type[R], name: str) -> R | None:
        return cast("R | None", self._objects[kind.kind].get(name))

    def all(self, kind: type[R]) -> list[R]:
        return cast("list[R]", list(self._objects[kind.kind].values()))

    def count(self, kind: type[Resource]) -> int:
        return len(self._objects[kind.kind])

    def user_container_of(self, uid: str) -> UserContainer | None:
        name = self._user_container_by_uid.get(uid)
        return self.get(UserContainer, name) if name is not None else None

    def owner_uids(self) -> set[str]:
        return set(self._user_container_by_uid)

    def home_of(self, owner_uid: str) -> Home | None:
        name = self._home_by_owner.get(owner_uid)
        return self.get(Home, name) if name is not None else None

    def inputs_of(self, owner: UserContainer) -> UserInputs | None:
        """What the user filled in; nothing of what somebody before them of the same name did."""
        inputs = self.get(UserInputs, owner.name)
        return inputs if inputs is not None and inputs.spec.user_container == owner.uid else None

    def headers_of(self, owner: UserContainer) -> UserHeaders | None:
        """What the user's calls said last, likewise."""
        headers = self.get(UserHeaders, owner.name)
        return headers if headers is not None and headers.spec.user_container == owner.uid else None

    def users_of(self, template: str) -> tuple[str, ...]:
        return tuple(self._users_by_template.get(template, ()))

    def app_of(self, user: str) -> App | None:
        """The App whose user this is, if it is declared."""
        name = app_of(user)
        return self.get(App, name) if name else None

    def users_of_app(self, app: str) -> tuple[str, ...]:
        return tuple(self._users_by_app.get(app, ()))

    def incarnations_of(self, home: str) -> tuple[Incarnation | None, tuple[Incarnation, ...]]:
        """The live record of a Home, and its quarantined ones."""
        live: Incarnation | None = None
        quarantined: list[Incarnation] = []
        for name in self._incarnations_by_home.get(home, ()):
            one = self.get(Incarnation, name)
            assert one is not None, "the index names only what is there"
            if one.status.state is IncarnationState.QUARANTINED:
                quarantined.append(one)
            else:
                live = one
        return live, tuple(quarantined)

    def requests_of(self, user_container: str) -> tuple[Request, ...]:
        """Pending requests, oldest first."""
        names = self._requests_by_user.get(user_container)
        if not names:
            return ()
        found = [one for name in names if (one := self.get(Request, name)) is not None]
        pending = [one for one in found if one.status.outcome is Outcome.PENDING]
        return tuple(sorted(pending, key=lambda one: one.spec.asked_at))

    def _index(self, obj: Resource) -> None:
        match obj:
            case UserContainer():
                self._user_container_by_uid[obj.uid] = obj.name
                self._users_by_template[obj.spec.template][obj.name] = None
                if app := app_of(obj.spec.user):
                    self._users_by_app[app][obj.name] = None
            case Home():
                if obj.spec.owner is not None:
                    self._home_by_owner[obj.spec.owner.uid] = obj.name
            case Incarnation():
                self._incarnations_by_home[obj.spec.home][obj.name] = None
                if obj.spec.address:
                    self.taken_addresses[obj.spec.address] = obj.name
            case Request():
                self._requests_by_user[obj.spec.user_container][obj.name] = None
            case _:
                pass

    def _unindex(self, obj: Resource) -> None:
        match obj:
            case UserContainer():
                self._user_container_by_uid.pop(obj.uid, None)
                _discard(self._users_by_template, obj.spec.template, obj.name)
                _discard(self._users_by_app, app_of(obj.spec.user), obj.name)
            case Home():
                if obj.spec.owner is not None:
                    self._home_by_owner.pop(obj.spec.owner.uid, None)
            case Incarnation():
                _discard(self._incarnations_by_home, obj.spec.home, obj.name)
                if self.taken_addresses.get(obj.spec.address) == obj.name:
                    del self.taken_addresses[obj.spec.address]
            case Request():
                _discard(self._requests_by_user, obj.spec.user_container, obj.name)
            case _:
                pass


def _discard(index: defaultdict[str, dict[str, None]], key: str, name: str) -> None:
    names = index.get(key)
    if names is not None:
        names.pop(name, None)
        if not names:
            del index[key]
