"""What a worker counts, for Prometheus: on the private port, never on the public one.

Counting is plain increments, a microsecond a request; families are only made when somebody scrapes. Label
values come from closed sets, so that nobody outside can make new series.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from gateway.asked import Asked
from gateway.proxy import Failure

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_STATUS_CLASS_MAX = len(_CLASSES) - 1


class _Times:
    """A histogram of durations; the last bucket is everything beyond the bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, took_s: float) -> None:
        self.counts[bisect_left(_BOUNDS_S, took_s)] += 1
        self.sum_s += took_s

    def buckets(self) -> list[tuple[str, float]]:
        bounds = [*map(str, _BOUNDS_S), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class _Answers:
    """What one side answered: counts by class of status, and how long it took."""

    __slots__ = ("counts", "times")

    def __init__(self) -> None:
        self.counts = [0] * len(_CLASSES)
        self.times = _Times()


class Metrics:
    """One a worker, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._by_container = _Answers()
        self._by_gateway = _Answers()
        self._held = _Times()
        self._dials_count = 0
        self._failures = dict.fromkeys(
            (str(failure) for failure in Failure if failure is not Failure.NONE), 0
        )

    def note(self, asked: Asked, ended_s: float) -> None:
        """Count one finished request."""
        outcome = asked.outcome
        answers = self._by_gateway if outcome is None or asked.own_status else self._by_container
        answers.counts[min(asked.status // 100, _STATUS_CLASS_MAX)] += 1
        answers.times.note(ended_s - asked.started_s)
        if asked.held_s:
            self._held.note(asked.held_s)
        if asked.dials:
            self._dials_count += asked.dials
        if outcome is not None and outcome.failure is not Failure.NONE:
            self._failures[outcome.failure] += 1

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def exposition(self) -> bytes:
        """The text format, for a scrape."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client asks a collector for them."""
        requests = CounterMetricFamily("mcpgw_requests", "Requests answered.", labels=["by", "status"])
        seconds = HistogramMetricFamily("mcpgw_request_seconds", "From head to end.", labels=["by"])
        for by, answers in (("container", self._by_container), ("gateway", self._by_gateway)):
            for status, count in zip(_CLASSES, answers.counts, strict=True):
                requests.add_metric([by, status], count)
            seconds.add_metric([by], answers.times.buckets(), answers.times.sum_s)
        held = HistogramMetricFamily("mcpgw_held_seconds", "How long requests waited for a container.")
        held.add_metric([], self._held.buckets(), self._held.sum_s)
        dials = CounterMetricFamily("mcpgw_dials_failed", "Dials that a container refused.")
        dials.add_metric([], self._dials_count)
        failures = CounterMetricFamily("mcpgw_upstream_failures", "Requests spoiled.", labels=["failure"])
        for failure, count in self._failures.items():
            failures.add_metric([failure], count)
        yield from (requests, seconds, held, dials, failures)
