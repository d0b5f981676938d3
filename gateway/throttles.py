"""How often anybody may ask for what costs work before it is known who they are. One set a worker.

Next: :mod:`gateway.auth.throttle`, which decides the numbers.
"""

import time
from dataclasses import dataclass, field

from gateway.asked import Asked
from gateway.auth import throttle
from gateway.auth.throttle import KEYS_MAX, Pace, Throttle, network_of
from gateway.problems import Problem


def _throttle(each: Pace, overall: Pace) -> Throttle:
    return Throttle(each.rate_per_s, each.burst, KEYS_MAX, overall)


@dataclass(slots=True)
class Throttles:
    """By what is asked for."""

    register: Throttle = field(default_factory=lambda: _throttle(throttle.REGISTER, throttle.REGISTER_ALL))
    authorize: Throttle = field(default_factory=lambda: _throttle(throttle.AUTHORIZE, throttle.AUTHORIZE_ALL))
    token: Throttle = field(default_factory=lambda: _throttle(throttle.TOKEN, throttle.TOKEN_ALL))
    link: Throttle = field(default_factory=lambda: _throttle(throttle.LINK, throttle.LINK_ALL))
    open: Throttle = field(default_factory=lambda: _throttle(throttle.OPEN, throttle.OPEN_ALL))
    sign_in: Throttle = field(default_factory=lambda: _throttle(throttle.SIGN_IN, throttle.SIGN_IN_ALL))


def refuse_hasty(one: Throttle, asked: Asked) -> None:
    """Raises Problem (429) where the asker's network, or all together, ask too often."""
    client = asked.scope.get("client")
    wait_s = one.take(network_of(client[0] if client else ""), time.monotonic())
    if wait_s is not None:
        raise Problem(
            429,
            "Too many requests",
            "Wait a moment, and ask again.",
            reason="TooManyRequests",
            retry_after_s=wait_s,
        )
