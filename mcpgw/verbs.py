"""The operator's verbs: what is there, why something is not as it should be, and keys for programs.

They read the store and print. Two write: `apply`, and only what the manifests say, and `thaw`.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from mcpgw.choices import read_choices
from mcpgw.made import has_store
from mcpgw.terminal import aligned, local, plain
from reconciler.controllers.freeze import let_the_store_rule
from reconciler.settings import ReconcilerSettings
from state.kinds.app import key_sha256, mint_key
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.resource import Condition, ConditionType
from state.kinds.user_container import UserContainer
from state.logs import configure
from state.manifests.apply import apply_folder
from state.manifests.folder import FolderReader
from state.manifests.schema import manifest_schema
from state.manifests.verdict import Plan
from state.settings import SettingsError, load_settings, manifest_variables
from state.store import open_store
from state.store.port import Presence, Store, Tx

T = TypeVar("T")
_Objects = tuple[list[UserContainer], list[ManifestFile], list[Reconciler]]


def status(env_file: Path) -> int:
    """A line for every user container; below, what is wrong with engine and manifests."""

    async def read(store: Store) -> tuple[Presence, _Objects]:
        return await store.presence(), await store.read(_objects)

    presence, (users, files, reconcilers) = with_store(env_file, read)
    rows = [("NAME", "USER", "TEMPLATE", "READY", "ROUTED", "REASON"), *map(_row, users)]
    print(aligned(rows) if users else "no user containers yet")
    if not presence.leader:
        print("no reconciler is at work: what stands here is old; see `mcpgw doctor`")
    for one in (*reconcilers, *files):
        for condition in one.status.conditions:
            if condition.is_trouble:
                about = one.spec.path if isinstance(one, ManifestFile) else one.name
                print(plain(f"{about}: {condition.reason}: {condition.message}"))
    return 0


def _objects(tx: Tx) -> _Objects:
    return tx.list(UserContainer), tx.list(ManifestFile), tx.list(Reconciler)


def explain(env_file: Path, name: str) -> int:
    """Everything that is known of one user container."""
    found = _read(env_file, lambda tx: _parts(tx, name))
    if found is None:
        print(f"mcpgw: no user container {name}; `mcpgw status` lists them", file=sys.stderr)
        return 1
    print("\n".join(map(plain, _explained(*found))))
    return 0


def _explained(
    user: UserContainer, home: Home | None, incarnations: list[Incarnation], everybodys: list[Condition]
) -> Iterator[str]:
    spec = user.spec
    yield f"{user.name}: {spec.user} by template {spec.template}, managed by {user.metadata.managed_by}"
    for condition in user.status.conditions:
        since = f"since {local(condition.since)}"
        yield f"  {condition.type:<16} {condition.status:<8} {since}  {condition.reason}  {condition.message}"
    for condition in everybodys:
        yield f"  for everybody: {condition.type} {condition.status}, {condition.reason}: {condition.message}"
    if home is not None:
        yield f"  home {home.name}, {home.status.last_incarnation} containers so far"
    for one in incarnations:
        place = one.spec.address or "an address of the engine's choice"
        yield f"  container {one.spec.container_name} ({one.status.state}) at {place}"
    last = user.status.last_termination
    if last is not None:
        code = "" if last.exit_code is None else f", exit code {last.exit_code}"
        yield f"  last end: {last.reason}{code}, at {local(last.at)}"
        yield from (f"    | {line}" for line in last.log_tail.splitlines())


def app_key() -> int:
    """A new key, shown once, and the manifest that lets it in."""
    key = mint_key()
    print(f"key (shown once): {key}")
    print("put this into a file in manifests/:")
    print(
        "---\napiVersion: mcp-gateway/v1\nkind: App\nmetadata: {name: my-program}\n"
        f"spec: {{keySha256: {key_sha256(key)}, template: demo}}"
    )
    return 0


def apply(env_file: Path, *, allow_deletes: bool) -> int:
    """Make the store say what the manifests folder says, once, and print what was held back."""
    settings = _settings(env_file)
    folder = FolderReader(settings.manifests_dir, manifest_variables(settings)).read()

    async def write(store: Store) -> Plan:
        return await apply_folder(store, folder, allow_deletes=allow_deletes)

    done = with_store(env_file, write, makes=True)
    print(f"{len(done.writes)} objects written")
    troubles = [report for report in done.reports if report.problem is not None]
    for report in troubles:
        where = "" if report.message.startswith(report.path) else f"{report.path}: "
        print(plain(f"{where}{report.message}"), file=sys.stderr)
    return 1 if troubles else 0


def thaw(env_file: Path) -> int:
    """Raise the epoch above every label, so that the store rules over what it finds."""
    epoch = _write(env_file, let_the_store_rule)
    if not epoch:
        print("mcpgw: no reconciler has reported yet; start one first", file=sys.stderr)
        return 1
    print(f"the store rules from epoch {epoch} on; the reconciler starts again with it")
    return 0


def schema() -> int:
    print(json.dumps(manifest_schema(), indent=2))
    return 0


def _read(env_file: Path, fn: Callable[[Tx], T]) -> T:
    async def read(store: Store) -> T:
        return await store.read(fn)

    return with_store(env_file, read)


def _write(env_file: Path, fn: Callable[[Tx], T]) -> T:
    async def write(store: Store) -> T:
        return await store.transact(fn, actor="mcpgw")

    return with_store(env_file, write)


def with_store(env_file: Path, fn: Callable[[Store], Awaitable[T]], *, makes: bool = False) -> T:
    """What ``fn`` gives. ``makes``: also where there is no store yet. Raises SettingsError, StoreError."""
    configure("critical", "mcpgw")  # a verb says in words what came of it
    settings = _settings(env_file)
    if not makes and not has_store(settings):  # one made by root would keep its owner out
        raise SettingsError(f"STATE_DIR={settings.state_dir} holds no store yet; the first start makes it")

    async def run() -> T:
        store = await open_store(settings.store_url.get_secret_value())
        try:
            return await fn(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _settings(env_file: Path) -> ReconcilerSettings:
    """The reconciler's, with what `mcpgw up` chose for this machine where nothing else is set."""
    settings = load_settings(ReconcilerSettings, env_file=env_file)
    chosen = read_choices(settings.state_dir)
    return load_settings(ReconcilerSettings, env_file=env_file, below=chosen) if chosen else settings


def _parts(tx: Tx, name: str) -> tuple[UserContainer, Home | None, list[Incarnation], list[Condition]] | None:
    users = [one for one in tx.list(UserContainer) if name in (one.name, one.spec.user)]
    if not users:
        return None
    user = users[0]
    home = tx.get(Home, user.status.home) if user.status.home else None
    incarnations = [one for one in tx.list(Incarnation) if one.spec.user_container == user.uid]
    everybodys = [one for report in tx.list(Reconciler) for one in report.status.conditions if one.is_trouble]
    return user, home, incarnations, everybodys


def _row(user: UserContainer) -> tuple[str, ...]:
    ready, routed = (
        user.status.condition(ConditionType.READY),
        user.status.condition(ConditionType.ROUTED),
    )
    degraded = user.status.condition(ConditionType.DEGRADED)
    why = next((one for one in (degraded, ready) if one is not None and one.is_trouble), None)
    return (
        user.name,
        user.spec.user,
        user.spec.template,
        ready.status if ready is not None else "Unknown",
        routed.status if routed is not None else "Unknown",
        "" if why is None else f"{why.reason}: {why.message}",
    )
