"""The paths that are the gateway's own; every other one belongs to workloads' routes. Pure.

Source: the public contract in the README. A workload's route of the same name is never reached.
Next: :mod:`gateway.pages`.
"""

HEALTH = "/health"
OWN_PREFIX = "/-/"

_EXACT = frozenset(
    {
        *("/", "/signin", "/signout", "/account", "/admin", "/auth/callback", HEALTH, "/favicon.ico"),
        *("/register", "/authorize", "/token", "/revoke"),
    }
)
_BELOW = (OWN_PREFIX, "/.well-known/", "/auth/callback/", "/admin/")


def is_gateways(path: str) -> bool:
    """Whether ``path`` at the gateway's origin is its own."""
    return path in _EXACT or path.startswith(_BELOW)


def is_homes_own(path: str) -> bool:
    """Whether ``path`` at a Home's origin is the gateway's, not the workload's."""
    return path.startswith(OWN_PREFIX)
