"""The gateway's settings: where it listens and how long it holds. Nothing of the engine.

Next: :mod:`gateway.main`.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from state.kinds.resource import NAME_PATTERN
from state.setting_values import HostPort, Listen
from state.settings import SharedSettings


class GatewaySettings(SharedSettings):
    """What the gateway is told."""

    gateway_bind: Listen = HostPort("127.0.0.1", 9000)
    gateway_private_bind: Listen = HostPort("127.0.0.1", 9001)
    gateway_workers: Annotated[int, Field(ge=1, le=64)] = 1
    hold_timeout_s: Annotated[float, Field(ge=1, le=600)] = 60.0
    default_template: Annotated[str, Field(pattern=NAME_PATTERN, description="a template's name")] = "demo"

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.gateway_bind.port == self.gateway_private_bind.port:
            raise ValueError("GATEWAY_PRIVATE_BIND has the port of GATEWAY_BIND; choose another")
        return self
