"""What the doctor looks at: settings, folders, the public address, the engine, the store and what it reports.

Each look yields findings and raises nothing that a person could mend. Next: :mod:`mcpgw.doctor`, which calls.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.settings import GatewaySettings
from gateway.sites import Sites
from mcpgw.made import has_store, is_absent
from reconciler.core.errors import ActionError
from reconciler.engine.port import Engine
from reconciler.main import engine_of
from reconciler.settings import ReconcilerSettings
from state.kinds.access_policy import AccessPolicy
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.resource import Condition
from state.kinds.template import ContainerTemplate, Pull
from state.kinds.user_container import UserContainer
from state.settings import (
    SettingsError,
    SharedSettings,
    load_settings,
    near_misses,
    setting_names,
    usable_directory,
)
from state.store import open_store
from state.store.errors import StoreError
from state.store.port import Presence, Tx

DISK_FREE_BYTES_MIN = 1 << 30

_CLASSES: dict[str, tuple[type[SharedSettings], ...]] = {
    "": (GatewaySettings, ReconcilerSettings),
    "gateway": (GatewaySettings,),
    "reconciler": (ReconcilerSettings,),
    "compose": (ReconcilerSettings,),
}


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, and is worth knowing
    TROUBLE = "trouble"  # keeps people out, or data in danger


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, with the mend where there is one to make."""

    verdict: Verdict
    about: str
    said: str


def at_settings(env_file: Path, part: str) -> Iterator[Finding]:
    """The settings of both processes or one, as each would refuse them at its start."""
    wrong: dict[str, None] = {}
    for cls in _CLASSES[part]:
        try:
            load_settings(cls, env_file=env_file)
        except SettingsError as error:
            wrong |= dict.fromkeys(str(error).splitlines())
    for line in wrong:
        is_prefix = part == "compose" and "CONTAINER_SUBNET_PREFIX" in line
        more = "; in Compose's .env three octets alone, with SUBNET_BITS for the size" if is_prefix else ""
        yield Finding(Verdict.TROUBLE, "settings", line + more)
    if wrong:
        return
    for line in near_misses(env_file, setting_names(GatewaySettings, ReconcilerSettings)):
        yield Finding(Verdict.WARNING, "settings", line)
    source = f"{env_file} and the environment" if env_file.exists() else "the environment (there is no .env)"
    if part == "compose":
        source = "what Compose passes"
    yield Finding(Verdict.OK, "settings", f"accepted, from {source}")


def at_folders(settings: ReconcilerSettings, *, has_state: bool = True) -> Iterator[Finding]:
    """Whether each folder can be used by whoever asks, and how much room there is."""
    folders = {"STATE_DIR": settings.state_dir} if has_state else {}
    folders["HOST_DATA_DIR"] = settings.host_data_dir
    for setting, path in folders.items():
        if is_absent(path):
            yield Finding(Verdict.WARNING, setting, f"{path} is not there yet; the first start makes it")
            continue
        try:
            usable_directory(setting, path)
        except SettingsError as error:
            yield Finding(Verdict.TROUBLE, setting, str(error))
            continue
        free = shutil.disk_usage(path).free
        if free < DISK_FREE_BYTES_MIN:
            said = f"only {free >> 20} MiB are free at {path}; make room, or nothing new can be kept"
            yield Finding(Verdict.TROUBLE, setting, said)
        else:
            yield Finding(Verdict.OK, setting, f"{path}, {free / (1 << 30):.1f} GiB free")
    if not os.access(settings.manifests_dir, os.R_OK | os.X_OK):
        said = f"{settings.manifests_dir} cannot be read; make it, or name another folder"
        yield Finding(Verdict.TROUBLE, "MANIFESTS_DIR", said)
    else:
        yield Finding(Verdict.OK, "MANIFESTS_DIR", str(settings.manifests_dir))


def at_public_address(settings: GatewaySettings) -> Iterator[Finding]:
    """Who can sign in, from where, and what of the pages they get."""
    sites = Sites(
        settings.gateway_origin, workload_domain=settings.workload_domain, extras=settings.extra_origins
    )
    is_https = sites.scheme == "https"
    if settings.oauth_providers:
        names = ", ".join(sorted(settings.oauth_providers))
        yield Finding(Verdict.OK, "sign-in", f"{names}; callback {settings.gateway_origin}/auth/callback")
    elif settings.no_local_sign_in:
        yield Finding(Verdict.TROUBLE, "sign-in", settings.no_local_sign_in)
    else:
        yield Finding(Verdict.OK, "sign-in", "by the local developer's link; no provider is set up")
    if not is_https and not sites.is_local:
        said = f"{settings.gateway_origin} is plain http: tokens can be read on the way; use https"
        yield Finding(Verdict.TROUBLE, "GATEWAY_ORIGIN", said)
    if not settings.workload_domain and not sites.is_local:
        said = "is not set: pages of containers are off, hosted links alone work"
        yield Finding(Verdict.WARNING, "WORKLOAD_DOMAIN", said)


async def at_engine(settings: ReconcilerSettings, *, has_state: bool = True) -> AsyncIterator[Finding]:
    """Whether the engine of the settings can be used, and has what the templates run that the store knows."""
    engine: Engine | None = None
    try:
        engine = await engine_of(settings)
        yield Finding(Verdict.OK, "engine", await engine.version())
        running = await engine.list()
        yield Finding(Verdict.OK, "engine", f"{len(running)} containers of {settings.container_project_name}")
        if has_state:
            async for finding in _at_images(settings, engine):
                yield finding
    except ActionError as error:
        yield Finding(Verdict.TROUBLE, "engine", str(error))
    finally:
        if engine is not None:
            await engine.close()


async def _at_images(settings: ReconcilerSettings, engine: Engine) -> AsyncIterator[Finding]:
    if not has_store(settings):
        return
    try:
        store = await open_store(settings.store_url.get_secret_value())
    except StoreError:
        return  # the look at the store says so
    try:
        templates = await store.read(lambda tx: tx.list(ContainerTemplate))
    except StoreError:
        return  # likewise
    finally:
        await store.close()
    for template in templates:
        try:
            await engine.ensure_image(template.spec.image, Pull.NEVER)
        except ActionError as error:
            is_pulled = template.spec.pull is not Pull.NEVER
            said = f"template {template.name}: {error}" + ("; it is pulled when first wanted" * is_pulled)
            yield Finding(Verdict.WARNING if is_pulled else Verdict.TROUBLE, "image", said)
        else:
            said = f"template {template.name}: {template.spec.image} is there"
            yield Finding(Verdict.OK, "image", said)


async def at_store(settings: SharedSettings, gateway: GatewaySettings | None) -> AsyncIterator[Finding]:
    """Who is at work on it, and what they report of themselves, of the manifests and of the users."""
    if not has_store(settings):
        yield Finding(Verdict.WARNING, "store", "is not there yet; the first start makes it")
        return
    try:
        store = await open_store(settings.store_url.get_secret_value())
    except StoreError as error:
        yield Finding(Verdict.TROUBLE, "store", f"STORE_URL: {error}")
        return
    try:
        presence, read = await store.presence(), await store.read(_reports)
    except StoreError as error:
        yield Finding(Verdict.TROUBLE, "store", f"STORE_URL: {error}")
        return
    finally:
        await store.close()
    for finding in _at_work(presence):
        yield finding
    reconcilers, files, users, has_policy = read
    for one in reconcilers:
        for condition in one.status.conditions:
            yield _of_condition("reconciler", condition)
    for file in files:
        for condition in filter(_is_trouble, file.status.conditions):
            yield _of_condition(file.spec.path, condition)
    wrong = [user for user in users if any(map(_is_trouble, user.status.conditions))]
    said = f"{len(users)} of them, {len(wrong)} not as they should be" + (
        "; see `mcpgw status`" if wrong else ""
    )
    yield Finding(Verdict.WARNING if wrong else Verdict.OK, "users", said)
    if gateway is not None and gateway.oauth_providers and not has_policy and not gateway.admin_emails:
        said = (
            "nobody may come in: write an AccessPolicy (manifests/access.yaml.example), or set ADMIN_EMAILS"
        )
        yield Finding(Verdict.TROUBLE, "access", said)


def _reports(
    tx: Tx,
) -> tuple[list[Reconciler], list[ManifestFile], list[UserContainer], bool]:
    policies = tx.list(AccessPolicy)
    return tx.list(Reconciler), tx.list(ManifestFile), tx.list(UserContainer), bool(policies)


def _at_work(presence: Presence) -> Iterator[Finding]:
    if presence.leader:
        yield Finding(Verdict.OK, "reconciler", f"at work ({presence.leader})")
    else:
        said = (
            "none is at work, so what is said of containers below is old: start `mcpgw reconciler` (or `up`)"
        )
        yield Finding(Verdict.TROUBLE, "reconciler", said)
    if presence.workers:
        yield Finding(Verdict.OK, "gateway", f"{len(presence.workers)} at work")
    else:
        yield Finding(Verdict.TROUBLE, "gateway", "none is at work: start `mcpgw gateway` (or `up`)")


def _is_trouble(condition: Condition) -> bool:
    return condition.is_trouble


def _of_condition(about: str, condition: Condition) -> Finding:
    verdict = Verdict.TROUBLE if condition.is_trouble else Verdict.OK
    message = f": {condition.message}" if condition.message else ""
    return Finding(verdict, about, f"{condition.type} {condition.status} {condition.reason}{message}")
