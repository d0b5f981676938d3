"""How often a stranger may ask: a token bucket for each key, and one for all keys together. Pure.

Decides whether a request goes on now or how long it has to wait, in bounded memory. Refuses to know what a
key is, what a clock is, and how a refusal is worded. One Throttle serves one endpoint of one worker, so that
several workers together let several times as much through. Next: :mod:`gateway.problems` (429, Retry-After).

A bucket is one number: the moment at which it will be full again. A full one needs no memory, and to forget
it changes nothing. When more than ``keys_max`` buckets are not full, the fullest is forgotten, and a key that
is not on record begins where the emptiest of the forgotten stood: nobody gains by being forgotten. Newcomers
notice that only while more than ``keys_max * rate_per_s`` requests a second are let in, which the pace of all
together should be far below.
Source: the virtual scheduling algorithm (GCRA) of ITU-T I.371, annex A.
"""

import heapq
import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

KEYS_MAX = 8192
ROUNDING_S = 1e-6  # what adding up floats may cost; nobody is told to wait for so little


@dataclass(frozen=True, slots=True)
class Pace:
    """``burst`` at once, then ``rate_per_s``."""

    rate_per_s: float
    burst: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_per_s) and self.rate_per_s > 0 and self.burst >= 1):
            raise ValueError("a pace needs a rate above 0 and a burst of at least 1")

    @property
    def slack_s(self) -> float:
        """How far ahead the moment of being full may lie for one more to be let in."""
        return (self.burst - 1) / self.rate_per_s


# What is proposed, per address and in all, for each worker. Claude's cloud, ChatGPT's and a company's egress
# put thousands of people behind one address, and Claude registers on every fresh connection: the pace of one
# address stops a script that runs wild, not a crowd, and a morning's 200 sign-ins at once pass whole. What
# protects the database is the pace of all together.
REGISTER, REGISTER_ALL = Pace(5.0, 200), Pace(50.0, 1000)
AUTHORIZE, AUTHORIZE_ALL = Pace(20.0, 600), Pace(200.0, 4000)
TOKEN, TOKEN_ALL = Pace(50.0, 1000), Pace(500.0, 5000)
SIGN_IN, SIGN_IN_ALL = Pace(20.0, 600), Pace(200.0, 4000)
LINK, LINK_ALL = Pace(10.0, 100), Pace(300.0, 3000)
LINK_HOME = Pace(30.0, 300)  # of all strangers at one Home: what one container is asked to bear
ENTER = Pace(10.0, 100)  # into a Home, by code; no pace of all together, by which others keep its owner out
CREDENTIALS, CREDENTIALS_ALL = Pace(20.0, 200), Pace(500.0, 5000)  # that were no good
OPEN, OPEN_ALL = Pace(100.0, 1000), Pace(1000.0, 10_000)  # what pages are made of
OPEN_HOME = Pace(300.0, 3000)


class Throttle:
    """One an endpoint. ``overall``: the pace of all keys together; None for no such limit."""

    def __init__(
        self, rate_per_s: float, burst: int, keys_max: int = KEYS_MAX, overall: Pace | None = None
    ) -> None:
        if keys_max < 1:
            raise ValueError("a throttle remembers at least one key")
        self._pace = Pace(rate_per_s, burst)
        self._overall = overall
        self._keys_max = keys_max
        self._full_at_s: dict[str, float] = {}  # of every bucket that is not known to be full
        # One entry a key, made when the key came and raised only when it comes to the front.
        self._by_fullness: list[tuple[float, str]] = []
        self._forgotten_full_at_s = -math.inf
        self._all_full_at_s = -math.inf
        self._now_s = -math.inf

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, key: str, now_s: float) -> float | None:
        """None: go on, and it is counted. Else seconds to wait; what is refused costs nothing.

        ``now_s`` is a monotonic clock's; one that steps back stands still instead.
        """
        wait_s = self.wait_s(key, now_s)
        if wait_s is not None:
            return wait_s
        self._keep(key, self._key_full_at_s(key) + 1 / self._pace.rate_per_s)
        if self._overall is not None:
            self._all_full_at_s = max(self._now_s, self._all_full_at_s) + 1 / self._overall.rate_per_s
        return None

    def wait_s(self, key: str, now_s: float) -> float | None:
        """What :meth:`take` would say. Nothing is counted."""
        now_s = self._now_s = max(now_s, self._now_s)
        wait_s = _wait_s(self._pace, self._key_full_at_s(key), now_s)
        if self._overall is not None:
            wait_s = max(wait_s, _wait_s(self._overall, self._all_full_at_s, now_s))
        return wait_s if wait_s > ROUNDING_S else None

    def _key_full_at_s(self, key: str) -> float:
        return max(self._now_s, self._full_at_s.get(key, self._forgotten_full_at_s))

    def _keep(self, key: str, full_at_s: float) -> None:
        if key not in self._full_at_s:
            if len(self._full_at_s) >= self._keys_max:
                self._forget_fullest()
            heapq.heappush(self._by_fullness, (full_at_s, key))
        self._full_at_s[key] = full_at_s

    def _forget_fullest(self) -> None:
        """Every entry that is raised here is paid for by a request that was let in since."""
        while True:
            seen_full_at_s, key = self._by_fullness[0]
            full_at_s = self._full_at_s[key]
            if full_at_s == seen_full_at_s:
                break
            heapq.heapreplace(self._by_fullness, (full_at_s, key))
        heapq.heappop(self._by_fullness)
        del self._full_at_s[key]
        self._forgotten_full_at_s = max(self._forgotten_full_at_s, full_at_s)


def _wait_s(pace: Pace, full_at_s: float, now_s: float) -> float:
    return full_at_s - now_s - pace.slack_s


def network_of(address: str) -> str:
    """The key for whoever is at ``address``: itself, or the /64 that one IPv6 subscriber has to itself.

    What is no address (a socket's path, nothing) is its own key.
    Source: RFC 6177 section 2 (a site gets a /64 or more).
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
