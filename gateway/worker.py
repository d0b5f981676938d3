"""One gateway worker: everything that one process runs, put together, started, and stopped in order.

Decides what depends on what, and nothing else. Next: :mod:`gateway.follow` (how it knows), then
:mod:`gateway.front` (what it does with a request).
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

import structlog

from gateway.accesslog import AccessLog
from gateway.auth.accounts import Accounts, Announcer
from gateway.auth.admission import House
from gateway.auth.callers import Callers
from gateway.auth.login import Logins
from gateway.auth.oauth.documents import FetchedDocuments
from gateway.auth.oauth.server import AuthorizationServer
from gateway.auth.oauth.terms import Terms
from gateway.auth.people import People
from gateway.auth.providers.build import build_providers, close_providers
from gateway.auth.resources import Resources
from gateway.auth.secret_key import load_secret_key
from gateway.auth.sessions import Sessions
from gateway.cors import Cors
from gateway.demand import DemandWriter
from gateway.doors import GatewayDoor, HomeDoor
from gateway.doorway import Doorway
from gateway.follow import Follower
from gateway.front import Front
from gateway.hold.delivery import Delivery
from gateway.hold.limits import HoldLimits
from gateway.hold.waking import Wakes
from gateway.lease import LeaseKeeper
from gateway.links import LinkDoor
from gateway.log_views import LogViews
from gateway.metrics import Metrics
from gateway.pages.desk import Desk
from gateway.pages.serve import Pages
from gateway.peers import Peers
from gateway.private import build_private_server
from gateway.problems import Problem
from gateway.proxy import Proxy
from gateway.routes.table import Table
from gateway.seats import Seats
from gateway.server import GatewayServer, ServerLimits, build_server
from gateway.settings import GatewaySettings
from gateway.sites import Sites
from gateway.throttles import Throttles
from gateway.upstream_heads import UpstreamHeads
from gateway.user_headers import UserHeadersKeeper
from state.store.auth import AuthDatabase
from state.store.errors import Replaced, StoreError
from state.store.port import Store

FIRST_READ_S = 5.0  # for the routes, before requests are taken in; later ones are held instead
LEAVE_S = 2.0
TURNED_AWAY_S = 5  # before the end of the drain: time for who waited in vain to be told so
SWEEP_EVERY_S = 60.0  # it also finds out whether the file is still the one that was opened

_log = structlog.get_logger(__name__)


class Worker:
    """``run`` serves until `stop`; what it is given stays its owner's to close."""

    def __init__(
        self,
        settings: GatewaySettings,
        store: Store,
        auth: AuthDatabase,
        listener: socket.socket,
        private_listener: socket.socket,
        *,
        hold_limits: HoldLimits | None = None,
    ) -> None:
        self.name = f"gateway-{uuid4().hex[:12]}"
        self.lease = LeaseKeeper(store, self.name)
        self.table = Table(self.lease)
        self.proxy = Proxy(may_dial=lambda: self.table.is_believed)
        self.metrics = Metrics()
        self.log = AccessLog(self.name)
        limits = hold_limits or HoldLimits(timeout_s=settings.hold_timeout_s)
        self._delivery = Delivery(self.proxy, self.table, limits, Wakes(store, worker=self.name))
        self._documents = FetchedDocuments()
        self._providers = build_providers(settings)
        self._desk = self._set_up_desk(settings, store, auth, is_local=is_bound_to_loopback(listener))
        self.front = self._set_up_front(settings)
        self._follower = Follower(store, self.table, self.proxy, self.lease, worker=self.name)
        self._demand = DemandWriter(store, self.table.ledger, worker=self.name)
        server_limits = ServerLimits(graceful_shutdown_s=settings.drain_timeout_s)
        self._server: GatewayServer = build_server(
            self.front, listener, server_limits, direct=self.front.direct
        )
        self._held_on_s = max(0, settings.drain_timeout_s - TURNED_AWAY_S)
        self._private_listener = private_listener
        self._private = build_private_server(self.table, self.metrics, self._desk.sites)
        self._failure: BaseException | None = None
        self._add_gauges()

    def _set_up_desk(
        self, settings: GatewaySettings, store: Store, auth: AuthDatabase, *, is_local: bool
    ) -> Desk:
        sites = Sites(
            settings.gateway_origin,
            workload_domain=settings.workload_domain,
            extras=settings.extra_origins,
        )
        origin, is_https, table = sites.gateway.origin, sites.scheme == "https", self.table
        emails = frozenset(settings.admin_emails)
        keeps_unmatched = settings.unmatched_users == "pending"
        house = House(emails, settings.default_template, keeps_unmatched)
        has_local_sign_in = sites.is_local and is_local and not self._providers
        people = People(table, house, has_local_sign_in=has_local_sign_in)
        resources = Resources(table, sites)
        announcer = Announcer(auth, store, worker=self.name)
        terms = Terms(
            issuer=origin,
            canonical_resource=resources.canonical,
            scope_of=resources.scope_of,
            may_issue=lambda user, at: people.stands(user, at) and people.admitted(user) is not None,
            announce=announcer.announce,
        )
        secret_key = load_secret_key(settings.state_dir, settings.secret_key_file)
        oauth = AuthorizationServer(auth, secret_key, terms, self._documents)
        return Desk(
            table=table,
            store=store,
            seats=Seats(table, store, worker=self.name),
            sites=sites,
            sessions=Sessions(auth.tickets, table.account, secret_key, is_https=is_https),
            auth=auth,
            people=people,
            accounts=Accounts(store, worker=self.name),
            logins=Logins(table, auth.tickets, self._providers, origin=origin, is_https=is_https),
            oauth=oauth,
            callers=Callers(table, auth, people, oauth.verified, workers_count=settings.gateway_workers),
            resources=resources,
            announcer=announcer,
            throttles=Throttles(),
            logs=LogViews(store, worker=self.name),
            local_sign_in=has_local_sign_in,
        )

    def _set_up_front(self, settings: GatewaySettings) -> Front:
        desk, cors = self._desk, Cors(settings.cors_origins)
        doorway = Doorway(self.table, desk.people, self._delivery, UpstreamHeads(desk.sites.scheme))
        callers, people, throttles = desk.callers, desk.people, desk.throttles
        headers = UserHeadersKeeper(self.table, desk.store, worker=self.name)
        door = GatewayDoor(
            doorway, desk.seats, desk.sites, callers, people, desk.resources, cors, throttles, headers
        )
        return Front(
            sites=desk.sites,
            gateway=door,
            home=HomeDoor(doorway, desk.sessions, desk.people, desk.sites, desk.throttles),
            links=LinkDoor(doorway, desk.sessions, people, desk.sites, throttles.link),
            cors=cors,
            peers=Peers(settings.trusted_proxies),
            pages=Pages(desk),
            log=self.log,
            metrics=self.metrics,
        )

    async def run(self) -> None:
        """Serve until `stop`; then drain: what is in flight for a while, the lease last."""
        tasks = [asyncio.create_task(work) for work in self._background()]
        for task in tasks:
            task.add_done_callback(self._background_ended)
        try:
            await self.table.wait_believed(FIRST_READ_S)
            await self._know_keys()
            _log.info("worker.started", worker=self.name)
            await self._server.serve()
        finally:
            await self._wind_up(tasks)
        if self._failure is not None:
            raise self._failure

    async def _know_keys(self) -> None:
        """Before the first token comes: another worker may have signed it a moment ago."""
        try:
            await self._desk.oauth.start()
        except StoreError as error:  # they are read once they are needed
            _log.warning("signing_keys.unread", why=str(error))

    def stop(self) -> None:
        """Begin to drain; `run` returns when it is done. Who waits for a container waits on for a while."""
        self._desk.closing.set()
        asyncio.get_running_loop().call_later(self._held_on_s, self._delivery.close)
        self._server.should_exit = True

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        """Without its background a worker only seems to work: it stops, and is started again."""
        if not task.cancelled() and not self._desk.closing.is_set():
            self._failure = task.exception()
            if isinstance(self._failure, StoreError):  # says itself what is wrong and how it is mended
                _log.error("worker.broken", worker=self.name, why=str(self._failure))
            else:
                _log.error("worker.broken", worker=self.name, exc_info=self._failure)
            self.stop()

    async def _wind_up(self, tasks: list[asyncio.Task[Any]]) -> None:
        self._desk.closing.set()
        self._private.should_exit = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._demand.flush()
                await self.lease.leave()  # after its keeper: a renewal would take it again
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(LEAVE_S):
                await self._desk.callers.write_uses()
        await self.proxy.close()
        await self._documents.close()
        await close_providers(self._providers)
        self.log.flush()
        _log.info("worker.stopped", worker=self.name)

    def _background(self) -> list[Coroutine[Any, Any, Any]]:
        return [
            self._follower.run(),
            self.table.streams.run(),
            self._demand.run(),
            self._desk.logs.run(),
            self.log.run(),
            self._sweep(),
            self._private.serve([self._private_listener]),
        ]

    async def _sweep(self) -> None:
        """What is over takes up no room, keys are there, and what was withdrawn is known everywhere."""
        desk = self._desk
        while True:
            try:
                await desk.oauth.sweep()
                await desk.tickets.sweep()
                await desk.announcer.announce()
                await desk.callers.write_uses()
            except Replaced:
                raise
            except (StoreError, Problem) as error:  # which the next round mends
                _log.warning("sign_in.unswept", why=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)

    def _add_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("mcpgw_seats", "UserContainers in the table.", lambda: len(self.table))
        gauge("mcpgw_seats_routed", "UserContainers with an endpoint.", self._routed_count)
        gauge("mcpgw_held_requests", "Requests waiting for a container.", lambda: self._delivery.held_count)
        gauge("mcpgw_listeners", "Clients that listen to a sleeper.", lambda: self._delivery.listening_count)
        gauge("mcpgw_followers", "Pages that follow a container.", lambda: self._desk.followers_count)
        gauge("mcpgw_revision", "The store's revision that is applied.", lambda: self.table.revision)
        gauge("mcpgw_log_lines_dropped", "Access log lines lost.", lambda: self.log.dropped_count)

    def _routed_count(self) -> int:
        return sum(seat.endpoint is not None for seat in self.table)


def is_bound_to_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can connect to ``listener``."""
    try:
        return ip_address(listener.getsockname()[0]).is_loopback
    except ValueError:
        return False


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, from the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
