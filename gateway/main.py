"""The gateway process: one listening socket, one worker or several, and an end in order.

Decides who owns the socket and the stores. One worker runs in this process; several are children that
inherit the socket, which :mod:`gateway.supervise` keeps running. Next: :mod:`gateway.worker`.
"""

import asyncio
import socket
import sys
from multiprocessing import parent_process

import uvloop

from gateway.private import listen_or_refuse, private_bind
from gateway.settings import GatewaySettings
from gateway.supervise import supervise
from gateway.worker import Worker, stop_on_signals
from state.logs import configure
from state.settings import EXIT_SETTINGS, SettingsError
from state.store import open_store
from state.store.auth import open_auth
from state.store.errors import StoreError, Unavailable

AUTH_FILE = "auth.db"


def run(settings: GatewaySettings) -> int:
    """Serve until SIGTERM; the exit code.

    Raises SettingsError for what cannot be listened on or opened, Unavailable where the store is silent.
    """
    listener = listen_or_refuse("GATEWAY_BIND", settings.gateway_bind)
    with listener:
        if settings.gateway_workers > 1:
            return supervise(_worker_process, settings, listener)
        private = listen_or_refuse("GATEWAY_PRIVATE_BIND", private_bind(settings.gateway_private_bind, 0))
        with private:
            uvloop.run(_serve(settings, listener, private))
    return 0


async def _serve(settings: GatewaySettings, listener: socket.socket, private: socket.socket) -> None:
    """One worker's life, its stores' included."""
    try:
        store = await open_store(settings.store_url.get_secret_value())
        auth = await open_auth(settings.state_dir / AUTH_FILE)
    except Unavailable:  # it may answer the next start
        raise
    except StoreError as error:
        raise SettingsError(f"STORE_URL: {error}") from None
    try:
        worker = Worker(settings, store, auth, listener, private)
        stop_on_signals(worker.stop)
        _stop_with_parent(worker)
        await worker.run()
    finally:
        await auth.close()
        await store.close()


def _worker_process(settings: GatewaySettings, listener: socket.socket, index: int) -> None:
    """The main function of a child."""
    configure(settings.log_level, f"gateway-{index}")
    bind = private_bind(settings.gateway_private_bind, index)
    try:
        with listen_or_refuse("GATEWAY_PRIVATE_BIND", bind) as private:
            uvloop.run(_serve(settings, listener, private))
    except SettingsError as error:
        sys.stderr.write(f"mcpgw: {error}\n")
        sys.exit(EXIT_SETTINGS)
    except StoreError as error:
        sys.exit(f"mcpgw: {error}")


def _stop_with_parent(worker: Worker) -> None:
    """A child does not outlive a parent that was killed: nobody would restart or stop it."""
    parent = parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent.sentinel)
        worker.stop()

    loop.add_reader(parent.sentinel, stop)
