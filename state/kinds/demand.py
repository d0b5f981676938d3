"""Demand: what the gateway saw of a user's use. It keeps a container awake and never edits a spec.

Named like its UserContainer, written in batches by gateway workers. Next: :mod:`state.kinds.request`.
"""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from state.kinds.resource import Resource, Spec


class DemandSpec(Spec):
    in_flight: Annotated[int, Field(ge=0)] = 0
    last_activity_at: AwareDatetime | None = None
    waiting_since: AwareDatetime | None = None  # somebody is held until the container is ready


class Demand(Resource):
    kind: ClassVar[str] = "Demand"

    spec: DemandSpec
