"""App: a first-party program that acts for its own users, with a key that stands hashed in the manifest.

An App's users are ``app:<app>.<id>``; an id of one App never names a user of another, nor a person who
signed in. Next: :mod:`state.kinds.access_policy`.
"""

import hashlib
import re
import secrets
from typing import Annotated, ClassVar

from pydantic import Field

from state.kinds.quantity import Seconds
from state.kinds.resource import Name, Resource, Shape, Spec

APP_PROVIDER = "app"  # of users: reserved, no identity provider may have this name
KEY_PREFIX = "mcpgw_app_"
KEY_BYTES = 32
# Use reaches the store in batches: whoever is in use is seen to be so many times within this.
END_AFTER_S_MIN = 30.0
# The subject's alphabet of resource.USER_PATTERN: nothing that a path or a header could bend.
_APP_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")

Sha256 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="Hex SHA-256 of the key, as mcpgw app-key prints it.")
]


class AppLimits(Shape):
    """How much one App may ask for; None: as much as there is."""

    users: Annotated[int | None, Field(ge=1, le=10**6, description="How many users it may have.")] = None
    requests_per_minute: Annotated[
        int | None, Field(ge=1, le=10**7, description="How often all its users together may call.")
    ] = None


class AppSpec(Spec):
    key_sha256: Annotated[Sha256, Field(alias="keySha256")]
    template: Annotated[Name, Field(description="The template of its users' containers.")]
    limits: AppLimits = AppLimits()
    persistent: Annotated[
        bool,
        Field(description="false: its users are one-time users, who go with their data after the last use."),
    ] = True
    end_after: Annotated[
        Seconds,
        Field(
            ge=END_AFTER_S_MIN, description="Without persistence: how long after a user's last use they go."
        ),
    ] = 900.0


class App(Resource):
    kind: ClassVar[str] = "App"

    spec: AppSpec

    def unique_keys(self) -> tuple[str, ...]:
        return (f"key:{self.spec.key_sha256}",)


def mint_key() -> str:
    """A new App key: a secret to be shown once."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def key_sha256(key: str) -> str:
    """What stands in the manifest in place of ``key``. A random 256-bit key needs no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def app_of(user: str) -> str:
    """The App whose user this is; empty for a person of an identity provider."""
    provider, _, subject = user.partition(":")
    return subject.partition(".")[0] if provider == APP_PROVIDER else ""


def app_user(app: str, user_id: str) -> str | None:
    """The user that an App means by ``user_id``, or None where that is no well-formed id."""
    return f"{APP_PROVIDER}:{app}.{user_id}" if _APP_USER_ID.fullmatch(user_id) else None
