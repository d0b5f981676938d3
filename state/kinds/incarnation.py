"""Incarnation: one engine container of a Home, from the intent to make it until its address is free.

The record comes before the container and outlives it: it is the intent on record before a mutation,
and, once the container is gone, the quarantine of its address. States only move forward.
Next: :mod:`state.kinds.demand`.
"""

import base64
import hashlib
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar

from pydantic import AwareDatetime

from state.kinds.resource import Name, Resource, Spec, Status
from state.kinds.template import Port


class IncarnationState(StrEnum):
    """Monotonic: a state is never left for an earlier one.

    Each says which engine call is pending. Intended: it is to be created, and the engine may or may not
    have it already. Created: it is there, to be started. Started: it ran. Removing: it is to be removed and
    may still exist. Quarantined: it is gone, its address is not yet free for others.
    """

    INTENDED = "Intended"
    CREATED = "Created"
    STARTED = "Started"
    REMOVING = "Removing"
    QUARANTINED = "Quarantined"

    @property
    def order(self) -> int:
        return list(IncarnationState).index(self)


class IncarnationSpec(Spec):
    home: str
    user_container: str  # its uid
    number: int
    spec_hash: str
    container_name: str
    address: str = ""  # "10.10.0.7" or "127.0.0.1:21007"; empty where the engine chooses
    port: Port  # inside the container
    epoch: int  # of the reconciler that intended it


class IncarnationStatus(Status):
    state: IncarnationState = IncarnationState.INTENDED
    container_id: str = ""
    started_at: AwareDatetime | None = None
    unrouted_revision: int = 0  # the barrier to pass before the address is free


class Incarnation(Resource):
    kind: ClassVar[str] = "Incarnation"

    spec: IncarnationSpec
    status: IncarnationStatus

    def unique_keys(self) -> tuple[str, ...]:
        address = (f"address:{self.spec.address}",) if self.spec.address else ()
        live = self.status.state is not IncarnationState.QUARANTINED
        return (*address, f"home:{self.spec.home}") if live else address


class IncarnationNames:
    """How the parts of an incarnation are called."""

    @staticmethod
    def record(home: Name, number: int) -> str:
        return f"{home}-{number}"

    @staticmethod
    @lru_cache(maxsize=65536)
    def container(project: str, home: Name) -> str:
        """Without the number, so that the engine itself refuses a second live one.

        Made from a hash of the Home's name: an engine's DNS tells containers' names to their neighbours,
        and who knows a Home's name may use its link routes.
        """
        digest = hashlib.sha256(home.encode()).digest()[:16]
        return f"{project}-{base64.b32encode(digest).decode().lower().rstrip('=')}"
