"""A whole gateway of one's own under `docker compose`: the project's file, with names and subnets of its own.

Real containers on a real engine, brought up as an operator would. Next: :mod:`mcpgw.testing.calls`.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from mcpgw.bootstrap.compose import ensure_compose
from mcpgw.bootstrap.engine_api import (
    Engine,
    image_tags,
    network_subnets,
    remove_labelled,
    tag_image,
    try_to_untag,
)
from mcpgw.bootstrap.paths import PROJECT_DIR
from mcpgw.bootstrap.project_image import REPOSITORY, ensure_project_image
from mcpgw.testing.calls import Answer, ask, call_tool
from mcpgw.testing.fences import remove_fence
from mcpgw.testing.ports import free_port, subnet_prefix
from mcpgw.testing.waiting import until
from mcpgw.testing.workload import APP, demo_template
from reconciler.core.container import LABEL_PROJECT
from state.kinds.app import key_sha256, mint_key

COMPOSE_S_MAX = 300.0
SERVED_S_MAX = 90.0
EVERY_PROFILE = ("--profile", "*")
_BROWSER = {"Accept": "text/html"}
_APP = """apiVersion: mcp-gateway/v1
kind: App
metadata: {{name: {name}}}
spec: {{keySha256: {key}, template: demo}}
"""


@dataclass(slots=True)
class Composed:
    """What :func:`composed` gives. ``settings`` are in the .env file."""

    folder: Path
    project: str
    engine: Engine
    program: Path
    settings: dict[str, str]
    key: str

    @property
    def origin(self) -> str:
        """Where the gateway itself is published."""
        return f"http://localhost:{self.settings['GATEWAY_PUBLISH'].rpartition(':')[2]}"

    @property
    def subnet(self) -> str:
        return self.settings["CONTAINER_SUBNET_PREFIX"]

    def headers(self, user_id: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "X-App-User": user_id}

    def set(self, **settings: str) -> None:
        """Edit the .env file; the next :meth:`up` acts on it."""
        self.settings |= settings
        text = "".join(f"{name}={value}\n" for name, value in self.settings.items())
        (self.folder / ".env").write_text(text)

    def try_compose(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run ``docker compose`` to its end, whatever that is."""
        return subprocess.run(  # noqa: S603 (our own words, no shell)
            (
                *(str(self.program), "--project-directory", str(PROJECT_DIR)),
                *("--env-file", str(self.folder / ".env"), "--progress", "plain"),
                *words,
            ),
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_HOST": self.engine.url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPOSE_S_MAX,
            check=False,
        )

    def compose(self, *words: str) -> str:
        """What ``docker compose`` prints. Fails with all that it said where it does."""
        done = self.try_compose(*words)
        assert done.returncode == 0, f"compose {' '.join(words)}: {done.stderr[-3000:]}"
        return done.stdout

    def release(self) -> None:
        """Another version to :meth:`up` to: the same image by a new name, which is what Compose sees."""
        tag = f"{self.project}-{secrets.token_hex(4)}"
        standing = self.settings["GATEWAY_IMAGE"]
        tag_image(self.engine, standing, repository=REPOSITORY, tag=tag)
        self.set(GATEWAY_IMAGE=f"{REPOSITORY}:{tag}")

    def up(self, *words: str, profiles: Sequence[str] = ()) -> None:
        self.compose(*(word for name in profiles for word in ("--profile", name)), "up", "-d", *words)

    def run_in(self, service: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in a service's container."""
        return self.try_compose("exec", "-T", service, *words)

    def logs(self, *services: str) -> str:
        return self.try_compose(*EVERY_PROFILE, "logs", "--no-color", *services).stdout

    def until_page(self) -> None:
        """Return when a browser that comes to the gateway has its sign-in page."""

        def page() -> bytes:
            try:
                answer = ask("GET", f"{self.origin}/", _BROWSER)
                if answer.status == HTTPStatus.SEE_OTHER:
                    answer = ask("GET", urljoin(self.origin, answer.headers["location"]), _BROWSER)
            except (OSError, HTTPException):
                return b""
            return answer.body if answer.status == HTTPStatus.OK else b""

        until(lambda: b"Sign in" in page(), f"{self.origin}/ leads to the sign-in page", SERVED_S_MAX)

    def call(self, user_id: str, tool: str, **arguments: Any) -> Answer:
        """Call one of the user's tools; held until their container is there."""
        return call_tool(f"{self.origin}/mcp", self.headers(user_id), tool, arguments)

    def serve(self, user_id: str) -> str:
        """Which container answers for the user, as soon as one does."""

        def hostname() -> str:
            try:
                answer = self.call(user_id, "whoami")
            except (OSError, HTTPException):
                return ""
            return str(answer.result["hostname"]) if answer.is_result else ""

        return until(hostname, f"{user_id} is served", SERVED_S_MAX)


@contextmanager
def composed(
    folder: Path, engine: Engine, image: str, settings: Mapping[str, str] | None = None
) -> Iterator[Composed]:
    """The project's compose file with an .env of its own in ``folder``; nothing is up yet.

    ``image`` is the workload's. Everything is taken away afterwards, users' containers included.
    """
    built = _build(folder, engine, image, dict(settings or {}))
    try:
        yield built
    finally:
        built.try_compose("kill", "reconciler")  # or it would make anew what is removed here
        remove_labelled(engine, f"{LABEL_PROJECT}={built.project}", networks=False)
        built.try_compose(*EVERY_PROFILE, "down", "--volumes", "--timeout", "1")
        remove_labelled(engine, f"{LABEL_PROJECT}={built.project}")
        remove_fence(built.project)
        for tag in image_tags(engine, REPOSITORY):
            if tag.startswith(f"{built.project}-"):
                try_to_untag(engine, f"{REPOSITORY}:{tag}")


def _build(folder: Path, engine: Engine, image: str, settings: dict[str, str]) -> Composed:
    taken = network_subnets(engine)
    project, subnet, key = f"t{secrets.token_hex(4)}", subnet_prefix(taken), mint_key()
    first, second, third = subnet.split(".")
    port = free_port()
    chosen = {
        "CONTAINER_PROJECT_NAME": project,
        "CONTAINER_ENGINE": engine.name,
        "ENGINE_SOCKET": engine.url.removeprefix("unix://"),
        "GATEWAY_IMAGE": ensure_project_image(engine),
        "GATEWAY_PUBLISH": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "CONTAINER_SUBNET_PREFIX": subnet,
        "PROXY_SUBNET_PREFIX": f"{first}.{second}.{int(third) + 1}",
        "CLOSED_SUBNET_PREFIX": f"{first}.{second}.{int(third) + 2}",
        "SERVICES_SUBNET_PREFIX": subnet_prefix(taken),
        "CONTAINER_IMAGE": image,
        "DEMO_IMAGE": image,
        "CEILING_IMAGES": "*",
        "HOST_DATA_DIR": str(folder / "homes"),
        "MANIFESTS_DIR": str(folder / "manifests"),
        **settings,
    }
    chosen.setdefault("EGRESS_PROXY", f"http://{chosen['PROXY_SUBNET_PREFIX']}.10:3128")  # nobody is there
    manifests = Path(chosen["MANIFESTS_DIR"])
    manifests.mkdir(parents=True, exist_ok=True)
    (manifests / "demo.yaml").write_text(demo_template(image))
    (manifests / "app.yaml").write_text(_APP.format(name=APP, key=key_sha256(key)))
    built = Composed(folder, project, engine, ensure_compose(), chosen, key)
    built.set()
    return built
