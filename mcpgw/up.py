"""`mcpgw up`: what `./run up` runs. Sets up what is missing, starts both processes, prints the way in.

Decides the local defaults: the demo image where no other is named, and an App `local` whose key the printed
snippet carries. :mod:`mcpgw.supervisor` keeps the processes running.
"""

import asyncio
import os
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from gateway.auth.local import LOCAL_APP, LOCAL_USER_ID, mint_sign_in_link
from gateway.main import AUTH_FILE
from gateway.private import listen_or_refuse
from gateway.settings import GatewaySettings
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.nftables import ensure_nft
from mcpgw.bootstrap.progress import say
from mcpgw.bootstrap.ready import make_ready
from mcpgw.choices import write_choices
from mcpgw.fence.errors import FenceError
from mcpgw.fence.keeping import Fence, keep
from mcpgw.fence.nft import may_not
from mcpgw.snippet import client_settings, shell_snippet
from mcpgw.supervisor import Part, Supervisor
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.door import EngineKind
from reconciler.engine.opening import answering_url
from reconciler.main import engine_settings
from reconciler.settings import ReconcilerSettings
from state.kinds.app import App, AppSpec, key_sha256, mint_key
from state.kinds.resource import Metadata
from state.settings import load_settings, near_misses, setting_names, unwritable, usable_directory
from state.store import open_store
from state.store.auth import open_auth
from state.store.errors import StoreError
from state.store.kernel import FOLDER_MODE
from state.store.port import Tx

READY_S_MAX = 60.0
READY_POLL_S = 0.1
DEMO_TEMPLATE = "demo"  # manifests/demo.yaml
KEY_FILE = "local-app.key"
KEY_FILE_MODE = 0o600
WATCHED_BY_DEV = ("gateway", "reconciler", "state", "mcpgw")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is started with which settings."""

    gateway: GatewaySettings
    reconciler: ReconcilerSettings
    environment: Mapping[str, str]


def up(env_file: Path) -> int:
    """Run until Ctrl-C; the exit code."""
    for warning in near_misses(env_file, setting_names(GatewaySettings, ReconcilerSettings)):
        print(f"mcpgw: {warning}", file=sys.stderr)
    return asyncio.run(_up(_prepare(env_file)))


def sign_in_link(env_file: Path) -> int:
    """Print a new one-time link; where links sign nobody in, say why."""
    settings = load_settings(GatewaySettings, env_file=env_file)
    if settings.no_local_sign_in:
        print(f"mcpgw: {settings.no_local_sign_in}", file=sys.stderr)
        return 1
    print(asyncio.run(_sign_in_link(settings)))
    return 0


def dev() -> int:
    """`up`, and again on every change of the code."""
    import watchfiles  # noqa: PLC0415 (only this verb needs it)

    return watchfiles.run_process(
        *WATCHED_BY_DEV, target=f"{sys.executable} -m mcpgw up", target_type="command"
    )


def _prepare(env_file: Path) -> _Plan:
    """Settings, an engine that answers, and the demo's image where people get it and none is named."""
    settings = load_settings(ReconcilerSettings, env_file=env_file)
    gateway = load_settings(GatewaySettings, env_file=env_file)
    _refuse_taken(gateway, settings)
    wants_demo = gateway.default_template == DEMO_TEMPLATE and "demo_image" not in settings.model_fields_set
    address = asyncio.run(_answering_engine(settings))
    ready = make_ready(settings.container_engine, address, with_demo_image=wants_demo)
    environment = {EngineKind(settings.container_engine).setting: ready.engine.url}
    if ready.demo_image is not None:
        environment["DEMO_IMAGE"] = ready.demo_image
    together = {**os.environ, **environment}
    return _Plan(
        load_settings(GatewaySettings, together, env_file),
        load_settings(ReconcilerSettings, together, env_file),
        environment,
    )


def _refuse_taken(gateway: GatewaySettings, reconciler: ReconcilerSettings) -> None:
    """Before anything is written: whoever listens there, an `up` of before say, would pass for this one.

    Raises SettingsError.
    """
    for setting, bind in (
        ("GATEWAY_BIND", gateway.gateway_bind),
        ("GATEWAY_PRIVATE_BIND", gateway.gateway_private_bind),
        ("RECONCILER_PRIVATE_BIND", reconciler.reconciler_private_bind),
    ):
        listen_or_refuse(setting, bind).close()


async def _answering_engine(settings: ReconcilerSettings) -> str:
    """Where it answers; "" where none does and one may be started. Whatever else is wrong is raised."""
    try:
        return await answering_url(engine_settings(settings))
    except OutcomeUnknownError as error:
        if settings.engine_address or error.reason != "EngineUnreachable" or sys.platform != "linux":
            raise
        return ""


async def _up(plan: _Plan) -> int:
    state_dir = usable_directory("STATE_DIR", plan.gateway.state_dir, mode=FOLDER_MODE)
    try:
        write_choices(state_dir, plan.environment)
        key = _local_key(state_dir / KEY_FILE)
    except OSError as error:
        raise unwritable("STATE_DIR", state_dir, error) from None
    await _let_in(plan, key)
    parts = [
        Part("reconciler", ("-m", "mcpgw", "reconciler")),
        Part("gateway", ("-m", "mcpgw", "gateway"), drain_s=plan.gateway.drain_timeout_s),
    ]
    supervisor = Supervisor(parts, plan.environment)
    fence = Fence(plan.reconciler)
    is_fenced = await asyncio.to_thread(_fence, fence, plan.environment)  # before anything runs in it
    running = asyncio.create_task(supervisor.run())
    beside = [asyncio.create_task(_welcome(plan, key))]
    if is_fenced:
        beside.append(asyncio.create_task(_keep(fence)))
    code = await running
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return code


async def _welcome(plan: _Plan, key: str) -> None:
    try:
        await _say_welcome(plan, key)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        say(f"the way in cannot be told ({said}); `.venv/bin/mcpgw sign-in-link` prints one")
        raise


async def _keep(fence: Fence) -> None:
    try:
        await keep(fence, say)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        say(f"nobody looks after the fence any more ({said}); stop `mcpgw up` and start it again")
        raise


def _fence(fence: Fence, environment: Mapping[str, str]) -> bool:
    """Write the fence where this process may; otherwise one line says so, unless somebody else did."""
    elsewhere = [url for url in environment.values() if url.startswith(("tcp://", "http://", "https://"))]
    try:
        if reason := may_not("write"):
            raise FenceError(reason)
        if elsewhere:
            raise FenceError(
                f"cannot write the fence: the engine is at {elsewhere[0]}; run `mcpgw fence` there"
            )
        ensure_nft()
        fence.mend()
    except (FenceError, BootstrapError) as error:
        if not fence.is_reported():
            say(f"{error}; until then containers may reach the host and private networks")
        return False
    return True


def _local_key(path: Path) -> str:
    """The local App's key: made once, whole or not at all, readable by this user alone. Raises OSError."""
    if path.exists():
        return path.read_text().strip()
    key = mint_key()
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.touch(mode=KEY_FILE_MODE, exist_ok=False)
        draft.write_text(f"{key}\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return key


async def _let_in(plan: _Plan, key: str) -> None:
    """The App `local`, of whom the local developer is a user."""
    spec = AppSpec(key_sha256=key_sha256(key), template=plan.gateway.default_template)

    def write(tx: Tx) -> None:
        app = tx.get(App, LOCAL_APP)
        if app is None:
            tx.create(App(metadata=Metadata(name=LOCAL_APP), spec=spec))
        elif app.metadata.managed_by == "api":
            tx.update_spec(app.replaced(spec=spec))

    store = await open_store(plan.gateway.store_url.get_secret_value())
    try:
        await store.transact(write, actor="mcpgw up")
    finally:
        await store.close()


async def _say_welcome(plan: _Plan, key: str) -> None:
    """Once both answer: the sign-in link, the MCP URL and what to paste."""
    ports = (plan.gateway.gateway_private_bind, plan.reconciler.reconciler_private_bind)
    for bind in ports:
        await _until_ready(f"http://{bind}/ready")
    link = await _way_in(plan.gateway)
    origin = plan.gateway.gateway_origin
    url = f"{origin}/mcp"
    has_providers = bool(plan.gateway.oauth_providers)
    whose = f"of App {LOCAL_APP}'s user {LOCAL_USER_ID}" if has_providers else "of your own"
    print(
        f"""
mcp-gateway is up at {origin}

  sign in:  {link}
  MCP URL:  {url}

List the tools of a container {whose}; paste this into another terminal:

{shell_snippet(url, key, LOCAL_USER_ID)}

For an MCP client that takes headers:

{client_settings("mcp-gateway", url, key, LOCAL_USER_ID)}

Ctrl-C stops the gateway; containers keep running.
""",
        flush=True,
    )


async def _way_in(settings: GatewaySettings) -> str:
    """Where a person signs in: by the link as long as no provider is configured."""
    if settings.oauth_providers:
        return f"{settings.gateway_origin}/"
    if settings.no_local_sign_in:
        return settings.no_local_sign_in
    try:
        return f"{await _sign_in_link(settings)}   (once, within 15 minutes)"
    except StoreError as error:
        return f"none ({error}); ask anew with `.venv/bin/mcpgw sign-in-link`"


async def _sign_in_link(settings: GatewaySettings) -> str:
    auth = await open_auth(settings.state_dir / AUTH_FILE)
    try:
        return await mint_sign_in_link(auth.tickets, settings.gateway_origin)
    finally:
        await auth.close()


async def _until_ready(url: str) -> None:
    """Wait for a process to answer; one that never does has said why in its log."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S_MAX
    told = False
    while not await asyncio.to_thread(is_answered, url):
        if not told and loop.time() > deadline:
            print(f"mcpgw: {url} does not answer yet; see the lines above", file=sys.stderr)
            told = True
        await asyncio.sleep(READY_POLL_S)


_past_proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # what runs here is asked here


def is_answered(url: str) -> bool:
    """Whether a process of ours is ready."""
    try:
        with _past_proxies.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False
