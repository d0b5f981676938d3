"""Small objects to write: a UserContainer, an App, an Incarnation."""

from state.kinds.app import App, AppSpec
from state.kinds.incarnation import Incarnation, IncarnationSpec, IncarnationState, IncarnationStatus
from state.kinds.resource import Metadata
from state.kinds.user_container import Power, UserContainer, UserContainerSpec
from state.store.port import Store, Tx

ACTOR = "test"


def user(name: str, *, finalizers: tuple[str, ...] = (), power: Power = Power.AUTO) -> UserContainer:
    return UserContainer(
        metadata=Metadata(name=name, finalizers=finalizers),
        spec=UserContainerSpec(user=f"github:{name}", template="demo", power=power),
    )


def app(name: str, digest: str) -> App:
    return App(metadata=Metadata(name=name), spec=AppSpec(key_sha256=digest * 64, template="demo"))


def incarnation(name: str, *, home: str, state: IncarnationState = IncarnationState.INTENDED) -> Incarnation:
    spec = IncarnationSpec(
        home=home, user_container="u", number=1, spec_hash="h", container_name=f"p-{home}", port=80, epoch=1
    )
    return Incarnation(metadata=Metadata(name=name), spec=spec, status=IncarnationStatus(state=state))


def powered(obj: UserContainer, power: Power) -> UserContainer:
    return obj.replaced(spec=obj.spec.model_copy(update={"power": power}))


def restarted(obj: UserContainer, count: int) -> UserContainer:
    return obj.replaced(status=obj.status.model_copy(update={"restart_count": count}))


async def created(store: Store, *names: str) -> None:
    """One transaction for each of ``names``."""
    for name in names:
        await store.transact(lambda tx, name=name: tx.create(user(name)), actor=ACTOR)


async def bumped(store: Store, name: str) -> UserContainer:
    """Write a status that differs from the last one."""

    def bump(tx: Tx) -> UserContainer:
        obj = tx.get(UserContainer, name)
        assert obj is not None
        return tx.update_status(restarted(obj, obj.status.restart_count + 1))

    return await store.transact(bump, actor=ACTOR)


async def removed(store: Store, name: str) -> None:
    def remove(tx: Tx) -> None:
        obj = tx.get(UserContainer, name)
        assert obj is not None
        tx.delete(obj)

    await store.transact(remove, actor=ACTOR)
