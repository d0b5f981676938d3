"""The reconciler's private port: ``/ready`` and ``/metrics``, for the supervisor and for Prometheus.

Never published. It reports and changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.operator import Operator
from state.kinds.incarnation import Incarnation
from state.kinds.user_container import UserContainer

SHUTDOWN_S_MAX = 2.0

Handler = Callable[[web.Request], Awaitable[web.Response]]


class _Census(Collector):
    """Counts what the operator's mirrors hold, at the moment of asking: nothing to keep up to date."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def collect(self) -> list[Metric]:
        operator, cache = self._operator, self._operator.cache
        users = cache.all(UserContainer)
        gauges = {
            "mcpgw_user_containers": ("User containers wanted.", len(users)),
            "mcpgw_user_containers_routed": (
                "User containers that requests can reach.",
                sum(one.status.endpoint is not None for one in users),
            ),
            "mcpgw_incarnations": (
                "Containers on record, quarantined ones included.",
                cache.count(Incarnation),
            ),
            "mcpgw_engine_reachable": (
                "1 if the engine answered its last list.",
                not operator.observer.unknown,
            ),
            "mcpgw_destruction_frozen": (
                "1 while nothing is removed.",
                bool(operator.freeze.reason),
            ),
            "mcpgw_queue_keys": ("Keys that wait for a turn.", operator.queue_length()),
        }
        return [GaugeMetricFamily(name, text, value=float(value)) for name, (text, value) in gauges.items()]


async def serve(operator: Operator, manifests_read: asyncio.Event, host: str, port: int) -> web.AppRunner:
    """Serve until the runner's ``cleanup``. Raises OSError when the port is taken."""
    registry = CollectorRegistry()
    registry.register(_Census(operator))
    app = web.Application()
    app.router.add_get("/ready", _ready(operator, manifests_read))
    app.router.add_get("/metrics", _metrics(registry))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S_MAX)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _ready(operator: Operator, manifests_read: asyncio.Event) -> Handler:
    """Before the folder was read once, whoever signs in would be told that there is no template."""

    async def answer(_request: web.Request) -> web.Response:
        if not operator.is_synced():
            return web.Response(status=503, text="the store was not read yet\n")
        if not manifests_read.is_set():
            return web.Response(status=503, text="the manifests folder was not read yet\n")
        return web.Response(text="OK\n")

    return answer


def _metrics(registry: CollectorRegistry) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
