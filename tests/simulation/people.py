"""What people do: users who come and go, operators who edit, well or badly."""

from typing import Any

from gateway.verbs import ask, ask_to_wake
from reconciler.controllers.freeze import let_the_store_rule
from state.kinds.app import APP_PROVIDER, App, AppSpec, key_sha256
from state.kinds.demand import Demand, DemandSpec
from state.kinds.request import Verb
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.kinds.user_container import (
    Overrides,
    Power,
    UserContainer,
    UserContainerSpec,
    new_user_container,
)
from state.store.errors import StoreError
from state.store.port import Tx
from tests.simulation.town import Town

GOOD: dict[str, Any] = {
    "image": "demo:1",
    "port": 8080,
    "data": {"mountPath": "/data", "retainDays": 30},
    "probes": {
        "startup": {"periodSeconds": 1, "timeoutSeconds": 20},
        "liveness": {"periodSeconds": 10, "failures": 3},
    },
}


class People:
    """Each method is one thing that somebody does; what the store refuses stays undone."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._edits = 0

    async def apply(self, template: str = "demo", **spec: Any) -> None:
        """Apply a template, new or not."""

        def put(tx: Tx) -> None:
            wanted = ContainerTemplateSpec.model_validate({**GOOD, **spec})
            standing = tx.get(ContainerTemplate, template)
            if standing is None:
                tx.create(ContainerTemplate(metadata=Metadata(name=template), spec=wanted))
            else:
                tx.update_spec(standing.replaced(spec=wanted))

        await self._do(f"apply template {template} {spec}", put)

    async def edit(self, template: str = "demo", behaviour: str = "", **spec: Any) -> None:
        """Apply a template that differs from every earlier one."""
        self._edits += 1
        await self.apply(template, env={"EDIT": str(self._edits), "BEHAVIOUR": behaviour}, **spec)

    async def come(self, name: str, user: str = "", template: str = "demo") -> None:
        spec = UserContainerSpec(user=f"github:{user or name}", template=template)
        await self._do(
            f"create user {name} ({spec.user})",
            lambda tx: tx.create(new_user_container(name, spec, managed_by="api")),
        )

    async def come_by_app(self, name: str, app: str, template: str = "demo") -> None:
        """The same for a user of an App, who is called ``name`` there."""
        spec = UserContainerSpec(user=f"{APP_PROVIDER}:{app}.{name}", template=template)
        await self._do(
            f"create user {name} ({spec.user})",
            lambda tx: tx.create(new_user_container(name, spec, managed_by="api")),
        )

    async def declare_app(self, name: str, **spec: Any) -> None:
        def put(tx: Tx) -> None:
            wanted = AppSpec.model_validate({"keySha256": key_sha256(name), "template": "demo", **spec})
            standing = tx.get(App, name)
            if standing is None:
                tx.create(App(metadata=Metadata(name=name), spec=wanted))
            else:
                tx.update_spec(standing.replaced(spec=wanted))

        await self._do(f"declare app {name} {spec}", put)

    async def use(self, name: str) -> None:
        """What a gateway writes while somebody is used."""

        def put(tx: Tx) -> None:
            standing, spec = tx.get(Demand, name), DemandSpec(last_activity_at=tx.now)
            if standing is None:
                tx.create(Demand(metadata=Metadata(name=name), spec=spec))
            else:
                tx.update_spec(standing.replaced(spec=spec))

        await self._do(f"use {name}", put)

    async def leave(self, name: str) -> None:
        def delete(tx: Tx) -> None:
            standing = tx.get(UserContainer, name)
            if standing is not None:
                tx.delete(standing)

        await self._do(f"delete user {name}", delete)

    async def set_power(self, name: str, power: Power) -> None:
        await self._spec(name, f"power {power} for", power=power)

    async def override(self, name: str, **overrides: Any) -> None:
        await self._spec(name, f"overrides {overrides} for", overrides=Overrides.model_validate(overrides))

    async def ask(self, name: str, verb: Verb) -> None:
        """What a gateway writes when somebody wants something once."""

        def put(tx: Tx) -> None:
            owner = tx.get(UserContainer, name)
            if owner is not None:
                ask(tx, owner, verb, "people")

        await self._do(f"ask for {verb} of {name}", put)

    async def call(self, name: str) -> None:
        """What a gateway writes when a call finds its container asleep."""

        def put(tx: Tx) -> None:
            owner = tx.get(UserContainer, name)
            if owner is not None:
                ask_to_wake(tx, owner, "gateway")

        await self._do(f"call {name}", put)

    async def thaw(self) -> None:
        await self._do("thaw", let_the_store_rule)

    async def _spec(self, name: str, what: str, **changes: Any) -> None:
        def update(tx: Tx) -> None:
            standing = tx.get(UserContainer, name)
            if standing is not None:
                tx.update_spec(standing.replaced(spec=standing.spec.model_copy(update=changes)))

        await self._do(f"{what} {name}", update)

    async def _do(self, what: str, fn: Any) -> None:
        self._town.history.now_s = self._town.loop.time()
        self._town.history.note("people", what)
        try:
            await self._town.write(fn)
        except StoreError as refused:
            self._town.history.note("people", f"refused: {refused}")
