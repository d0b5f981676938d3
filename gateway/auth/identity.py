"""Somebody as an identity provider vouches for them: provider, immutable subject, and what else it said.

Refuses to know how it was learnt. Next: :mod:`gateway.auth.accounts`, which keeps it.
"""

from dataclasses import dataclass

from state.kinds.account import Claims, provider_user


@dataclass(frozen=True, slots=True)
class Identity:
    """``subject`` never passes to somebody else, as a login or an e-mail address may."""

    provider: str
    subject: str
    claims: Claims

    @property
    def user(self) -> str:
        return provider_user(self.provider, self.subject)
