"""The gateway's settings: where it listens, what it answers to, and who is an admin. Nothing of the engine.

Next: :mod:`gateway.main`.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from state.kinds.resource import NAME_PATTERN
from state.setting_values import CommaList, HostPort, Listen, Location
from state.settings import SharedSettings

ADMIN_API_TOKEN_CHARS_MIN = 32


class GatewaySettings(SharedSettings):
    """What the gateway is told."""

    gateway_bind: Listen = HostPort("127.0.0.1", 9000)
    gateway_private_bind: Listen = HostPort("127.0.0.1", 9001)
    gateway_workers: Annotated[int, Field(ge=1, le=64)] = 1
    hold_timeout_s: Annotated[float, Field(ge=1, le=600)] = 60.0
    default_template: Annotated[str, Field(pattern=NAME_PATTERN, description="a template's name")] = "demo"
    secret_key_file: Location = Field(default_factory=lambda known: _secret_key_file(known.get("state_dir")))
    admin_emails: CommaList = ()
    admin_api_token: SecretStr | None = None

    @field_validator("admin_emails")
    @classmethod
    def _are_emails(cls, emails: tuple[str, ...]) -> tuple[str, ...]:
        if not all(0 < email.find("@") < len(email) - 1 for email in emails):
            raise ValueError("is no list of e-mail addresses; write them with commas between")
        return tuple(email.casefold() for email in emails)

    @field_validator("admin_api_token")
    @classmethod
    def _is_long(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < ADMIN_API_TOKEN_CHARS_MIN:
            raise ValueError(
                f"is shorter than {ADMIN_API_TOKEN_CHARS_MIN} characters; make one with: openssl rand -hex 32"
            )
        return token

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.gateway_bind.port == self.gateway_private_bind.port:
            raise ValueError("GATEWAY_PRIVATE_BIND has the port of GATEWAY_BIND; choose another")
        return self


def _secret_key_file(state_dir: Path | None) -> Path:
    return (state_dir or Path()) / "secret.key"
