"""A registry of the test's own, over TLS, whose certificate the engines are told to trust."""

import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.testing.ports import free_port
from mcpgw.testing.waiting import until
from tests.e2e.hand import API_VERSION
from tests.engines import RealEngine
from tests.tls import write_self_signed

# Read at each call. Source: containers-certs.d(5); Docker, "Verify repository client with certificates".
AUTHORITIES = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
ANSWER_S_MAX = 30.0
# Source: OCI distribution specification 1.0, "Pulling manifests"
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {key}}}}}
"""


@dataclass(frozen=True)
class Registry:
    """``host`` is what a reference begins with, as ``localhost:5001``."""

    host: str
    certificate: Path

    def reference(self, name: str) -> str:
        """By the tag that :meth:`put` gives, which is moved by the next one."""
        return f"{self.host}/{name}:1"

    def put(self, engine: RealEngine, image: str, name: str) -> str:
        """Push an image of the engine's, which forgets that name; its reference by digest."""
        local = image if engine.name == "docker" else f"localhost/{image}"
        with _api(engine) as api:
            assert api.tag(local, f"{self.host}/{name}", "1")
            printed = api.push(f"{self.host}/{name}", "1", decode=True, stream=True)
            failed = [line for line in printed if "error" in line]
            assert not failed, failed
            api.remove_image(self.reference(name))
        return f"{self.host}/{name}@{self._digest(name)}"

    def _digest(self, name: str) -> str:
        """Of what the tag is by now."""
        asked = urllib.request.Request(
            f"https://{self.host}/v2/{name}/manifests/1", method="HEAD", headers={"Accept": MANIFESTS}
        )
        context = ssl.create_default_context(cafile=self.certificate)
        with urllib.request.urlopen(asked, timeout=ANSWER_S_MAX, context=context) as answer:
            return str(answer.headers["Docker-Content-Digest"])


def forget(engine: RealEngine, reference: str) -> None:
    """Have the engine remove the name by which it pulled an image that it had. Podman keeps none."""
    if engine.name == "docker":
        with _api(engine) as api:
            api.remove_image(reference)


@contextmanager
def _api(engine: RealEngine) -> Iterator[docker.APIClient]:
    api = docker.APIClient(base_url=engine.url, version=API_VERSION, timeout=120)
    try:
        yield api
    finally:
        api.close()


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    if found("docker-registry") is None:
        debian.install(("docker-registry",), why="a registry of the tests' own")
    port = free_port()
    host = f"localhost:{port}"
    certificate, key = write_self_signed(folder, "localhost")
    config = folder / "registry.yaml"
    config.write_text(CONFIG.format(folder=folder / "registry", port=port, certificate=certificate, key=key))
    with ExitStack() as ends:
        for authorities in AUTHORITIES:
            own = authorities / host
            own.mkdir(parents=True)
            ends.callback(shutil.rmtree, own)
            shutil.copy(certificate, own / "ca.crt")
        log = ends.enter_context((folder / "registry.log").open("wb"))
        words = ("docker-registry", "serve", str(config))
        server = ends.enter_context(subprocess.Popen(words, stdout=log, stderr=log))
        ends.callback(server.kill)
        until(lambda: b"listening on" in (folder / "registry.log").read_bytes(), "the registry listens")
        yield Registry(host, certificate)
