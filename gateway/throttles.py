"""How often anybody may ask for what costs work before it is known who they are. One set a worker.

What is not a request too many but a failure too many is a credential: only those that are no good count.

Next: :mod:`gateway.auth.throttle`, which decides the numbers.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.asked import Asked
from gateway.auth import throttle
from gateway.auth.callers import Caller, Callers, NotIdentifiedError
from gateway.auth.throttle import KEYS_MAX, Pace, Throttle, network_of
from gateway.problems import Problem


def _throttle(each: Pace, overall: Pace | None = None) -> Throttle:
    return Throttle(each.rate_per_s, each.burst, KEYS_MAX, overall)


@dataclass(frozen=True, slots=True)
class Strangers:
    """What Homes show to whoever comes: by the network that asks, by the Home that is asked, and in all."""

    networks: Throttle
    homes: Throttle


@dataclass(slots=True)
class Throttles:
    """By what is asked for."""

    register: Throttle = field(default_factory=lambda: _throttle(throttle.REGISTER, throttle.REGISTER_ALL))
    authorize: Throttle = field(default_factory=lambda: _throttle(throttle.AUTHORIZE, throttle.AUTHORIZE_ALL))
    token: Throttle = field(default_factory=lambda: _throttle(throttle.TOKEN, throttle.TOKEN_ALL))
    link: Strangers = field(
        default_factory=lambda: Strangers(
            _throttle(throttle.LINK, throttle.LINK_ALL), _throttle(throttle.LINK_HOME)
        )
    )
    open: Strangers = field(
        default_factory=lambda: Strangers(
            _throttle(throttle.OPEN, throttle.OPEN_ALL), _throttle(throttle.OPEN_HOME)
        )
    )
    enter: Throttle = field(default_factory=lambda: _throttle(throttle.ENTER))
    credentials: Throttle = field(
        default_factory=lambda: _throttle(throttle.CREDENTIALS, throttle.CREDENTIALS_ALL)
    )
    sign_in: Throttle = field(default_factory=lambda: _throttle(throttle.SIGN_IN, throttle.SIGN_IN_ALL))


def refuse_hasty(one: Throttle, asked: Asked) -> None:
    """Raises Problem (429) where the asker's network, or all together, ask too often."""
    wait_s = one.take(_network(asked), time.monotonic())
    if wait_s is not None:
        raise _too_many(wait_s)


async def refuse_hasty_strangers(
    strangers: Strangers, asked: Asked, home: str, is_owner: Callable[[], Awaitable[bool]]
) -> None:
    """Raises Problem (429) where their network, all who come to ``home``, or all together ask too often.

    No crowd keeps an owner out: ``is_owner`` is asked before anybody is refused.
    """
    now_s, network = time.monotonic(), _network(asked)
    waits_s = (strangers.networks.wait_s(network, now_s), strangers.homes.wait_s(home, now_s))
    wait_s = max((wait_s for wait_s in waits_s if wait_s is not None), default=None)
    if wait_s is None:
        strangers.networks.take(network, now_s)
        strangers.homes.take(home, now_s)
    elif not await is_owner():
        raise _too_many(wait_s)


async def identified(callers: Callers, throttles: Throttles, asked: Asked) -> Caller:
    """Who asks. Where too much of what came from there was no good, nobody is asked about more of it.

    A token that is known, or was until something changed, is never refused so.
    Raises NotIdentifiedError, Problem (400, 429), StoreError.
    """
    failed = throttles.credentials
    try:
        caller = callers.known(asked.head)
        if caller is None:
            wait_s = failed.wait_s(_network(asked), time.monotonic())
            if wait_s is not None and not callers.was_known(asked.head):
                raise _too_many(wait_s)
            caller = await callers.identify(asked.head)
    except NotIdentifiedError as nobody:
        if nobody.error:
            refuse_hasty(failed, asked)
        raise
    return caller


def _network(asked: Asked) -> str:
    client = asked.scope.get("client")
    return network_of(client[0] if client else "")


def _too_many(wait_s: float) -> Problem:
    return Problem(
        429,
        "Too many requests",
        "Wait a moment, and ask again.",
        reason="TooManyRequests",
        retry_after_s=wait_s,
    )
