"""The store's meaning once more, as simply as it can be said: what a dict of objects would do."""

from dataclasses import dataclass, field, replace

from state.kinds.resource import Metadata
from state.kinds.user_container import Power, UserContainer, UserContainerSpec
from state.store.errors import AlreadyExists, Conflict, NotFound, StoreError
from state.store.port import Tx
from tests.state.store.objects import restarted


@dataclass(frozen=True)
class Create:
    name: str
    seat: str
    finalizers: tuple[str, ...]


@dataclass(frozen=True)
class UpdateSpec:
    name: str
    seat: str | None  # None: as it is
    power: Power
    finalizers: tuple[str, ...]
    versions_behind: int


@dataclass(frozen=True)
class UpdateStatus:
    name: str
    count: int
    versions_behind: int


@dataclass(frozen=True)
class Delete:
    name: str
    versions_behind: int


@dataclass(frozen=True)
class DropFinalizer:
    name: str
    finalizer: str
    versions_behind: int


Step = Create | UpdateSpec | UpdateStatus | Delete | DropFinalizer


@dataclass(frozen=True)
class Seen:
    """What the model and a stored object are compared by."""

    seat: str
    version: int
    generation: int = 1
    power: Power = Power.AUTO
    count: int = 0
    finalizers: tuple[str, ...] = ()
    deleted: bool = False


def seen(obj: UserContainer) -> Seen:
    meta = obj.metadata
    return Seen(
        seat=obj.spec.user,
        version=meta.resource_version,
        generation=meta.generation,
        power=obj.spec.power,
        count=obj.status.restart_count,
        finalizers=meta.finalizers,
        deleted=meta.is_deleted,
    )


def carry_out(tx: Tx, step: Step) -> None:
    """Do ``step`` with the object as it stands, or as it stood some versions before."""
    match step:
        case Create(name, seat, finalizers):
            spec = UserContainerSpec(user=seat, template="demo")
            tx.create(UserContainer(metadata=Metadata(name=name, finalizers=finalizers), spec=spec))
        case UpdateSpec(name, seat, power, finalizers, behind):
            obj = _found(tx, name, behind)
            spec = obj.spec.model_copy(update={"user": seat or obj.spec.user, "power": power})
            metadata = obj.metadata.model_copy(update={"finalizers": finalizers})
            tx.update_spec(obj.replaced(spec=spec, metadata=metadata))
        case UpdateStatus(name, count, behind):
            tx.update_status(restarted(_found(tx, name, behind), count))
        case Delete(name, behind):
            tx.delete(_found(tx, name, behind))
        case DropFinalizer(name, finalizer, behind):
            tx.drop_finalizer(_found(tx, name, behind), finalizer)


def _found(tx: Tx, name: str, versions_behind: int) -> UserContainer:
    obj = tx.get(UserContainer, name)
    if obj is None:
        spec = UserContainerSpec(user="github:nobody", template="demo")
        return UserContainer(metadata=Metadata(name=name, uid="gone", resource_version=1), spec=spec)
    version = obj.metadata.resource_version - versions_behind
    return obj.replaced(metadata=obj.metadata.model_copy(update={"resource_version": version}))


@dataclass
class Model:
    """The objects by name, the revision, and the log."""

    objects: dict[str, Seen] = field(default_factory=dict)
    revision: int = 0
    log: list[tuple[int, str, bool]] = field(default_factory=list)

    def transact(self, steps: list[Step]) -> type[StoreError] | None:
        """All of ``steps`` or none; the kind of refusal, if any."""
        before, logged = dict(self.objects), len(self.log)
        try:
            for step in steps:
                self._carry_out(step)
        except StoreError as error:
            self.objects = before
            del self.log[logged:]
            return type(error)
        if len(self.log) > logged:
            self.revision += 1
        return None

    def _carry_out(self, step: Step) -> None:
        match step:
            case Create(name, seat, finalizers):
                if name in self.objects:
                    raise AlreadyExists
                self._put(name, Seen(seat=seat, version=0, finalizers=finalizers))
            case UpdateSpec(name, seat, power, finalizers, behind):
                old = self._found(name, behind)
                if old.deleted and not finalizers:
                    raise Conflict
                new = replace(old, seat=seat or old.seat, power=power, finalizers=finalizers)
                differs = (new.seat, power) != (old.seat, old.power)
                if new != old:
                    self._put(name, replace(new, generation=old.generation + differs))
            case UpdateStatus(name, count, behind):
                old = self._found(name, behind)
                if count != old.count:
                    self._put(name, replace(old, count=count))
            case Delete(name, behind):
                old = self._found(name, behind)
                if not old.finalizers:
                    self._remove(name)
                elif not old.deleted:
                    self._put(name, replace(old, deleted=True))
            case DropFinalizer(name, finalizer, behind):
                old = self._found(name, behind)
                left = tuple(one for one in old.finalizers if one != finalizer)
                if old.deleted and not left:
                    self._remove(name)
                elif left != old.finalizers:
                    self._put(name, replace(old, finalizers=left))

    def _found(self, name: str, versions_behind: int) -> Seen:
        if name not in self.objects:
            raise NotFound
        if versions_behind:
            raise Conflict
        return self.objects[name]

    def _put(self, name: str, new: Seen) -> None:
        if any(other != name and one.seat == new.seat for other, one in self.objects.items()):
            raise AlreadyExists
        self.objects[name] = replace(new, version=self.revision + 1)
        self.log.append((self.revision + 1, name, False))

    def _remove(self, name: str) -> None:
        del self.objects[name]
        self.log.append((self.revision + 1, name, True))
