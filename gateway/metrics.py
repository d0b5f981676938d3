"""What a worker counts, for Prometheus: on the private port, never on the public one.

Children are made once and kept: looking one up by its labels would cost as much as the counting.
Label values come from closed sets, so that nobody outside can make new series.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.asked import Asked

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Metrics:
    """One a worker, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        requests = Counter(
            "mcpgw_requests", "Requests answered, by who answered.", ["by", "status"], registry=registry
        )
        seconds = Histogram(
            "mcpgw_request_seconds",
            "From a request's head to its end.",
            ["by"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._requests = {
            by: [requests.labels(by, status) for status in _CLASSES] for by in ("container", "gateway")
        }
        self._seconds = {by: seconds.labels(by) for by in self._requests}
        self._held = Histogram(
            "mcpgw_held_seconds",
            "How long requests waited for a container.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._dials = Counter("mcpgw_dials_failed", "Dials that a container refused.", registry=registry)
        self._failures = Counter(
            "mcpgw_upstream_failures", "Requests that a container spoiled.", ["failure"], registry=registry
        )

    def note(self, asked: Asked, ended_s: float) -> None:
        """Count one finished request."""
        outcome = asked.outcome
        by = "gateway" if outcome is None or asked.own_status else "container"
        self._requests[by][min(asked.status // 100, 5)].inc()
        self._seconds[by].observe(ended_s - asked.started_s)
        if asked.held_s:
            self._held.observe(asked.held_s)
        if asked.dials:
            self._dials.inc(asked.dials)
        if outcome is not None and outcome.failure != "none":
            self._failures.labels(str(outcome.failure)).inc()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def exposition(self) -> bytes:
        """The text format, for a scrape."""
        return generate_latest(self.registry)
