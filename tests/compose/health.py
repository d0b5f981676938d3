"""How a service's health is asked for."""

import json

from mcpgw.testing.composed import EVERY_PROFILE, Composed


def health_words(stack: Composed, service: str) -> list[str]:
    """What the compose file runs in the service's container."""
    config = json.loads(stack.compose(*EVERY_PROFILE, "config", "--format", "json"))
    return [str(word) for word in config["services"][service]["healthcheck"]["test"][1:]]
