"""What signing in with a provider takes: a way there, a way back, and who came.

Decides what an adapter promises, and how it fails; refuses to know any provider. Nothing is asked of a
provider before somebody signs in there, so that one which is down keeps nothing from starting.
Next: :mod:`gateway.auth.providers.oidc` and :mod:`gateway.auth.providers.github`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.auth.identity import Identity


@dataclass(frozen=True, slots=True)
class Wants:
    """Which claims a rule needs; what nobody needs is not asked for."""

    organizations: bool
    teams: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser is sent. ``kept`` stays here until it returns, and is never shown to it."""

    url: str
    kept: Mapping[str, str]


CANCELLED: Final = "SignInCancelled"  # the reason where the person themselves did not go on


class ProviderError(Exception):
    """Nobody was signed in. ``reason`` is CamelCase; ``detail`` tells a person what to do.

    ``retryable``: beginning anew may help, without anybody mending anything. ``setting``: what an operator
    has to look at, if anything.
    """

    def __init__(self, reason: str, detail: str, *, retryable: bool, setting: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.setting = setting


class Provider(Protocol):
    """One of the ways to sign in."""

    @property
    def name(self) -> str:
        """The part of a user before the colon."""
        ...

    @property
    def label(self) -> str:
        """What stands on the button."""
        ...

    async def depart(self, *, state: str, redirect_uri: str, wants: Wants) -> Departure:
        """Raises ProviderError."""
        ...

    async def arrive(
        self, params: Mapping[str, str], kept: Mapping[str, str], *, redirect_uri: str, wants: Wants
    ) -> Identity:
        """Who came back with ``params``; their ``state`` was checked. Raises ProviderError."""
        ...

    async def close(self) -> None: ...
