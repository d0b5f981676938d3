"""The project under `docker compose`: how large, how soon, and what an upgrade costs.

``image.mb``: Docker's own size of the image, built where a base is there already, and in an image of
Debian as a registry has it, which gathers its own; the larger counts. ``compose.ready_s``: from `docker
compose up -d` with the images there to the sign-in page, on Docker. ``compose.upgrade.failed_requests``:
calls that failed while all three services were replaced behind the edge, under constant load with long calls
in flight, on Docker and on Podman.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.results import Sample
from mcpgw.bootstrap import debian, project_image
from mcpgw.bootstrap.command import run as run_program
from mcpgw.bootstrap.demo_image import debian_release, ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.bootstrap.engine_api import Engine, image_bytes, import_image, local_name, try_to_untag
from mcpgw.bootstrap.podman import ensure_podman
from mcpgw.bootstrap.program_image import ensure_program_image
from mcpgw.bootstrap.progress import step
from mcpgw.bootstrap.project_image import ensure_project_image
from mcpgw.bootstrap.release import mirror
from mcpgw.bootstrap.rootfs import python_version
from mcpgw.testing.composed import EVERY_PROFILE, Composed, composed
from mcpgw.testing.load import Tally, load, serves
from mcpgw.testing.ports import free_port

ROUNDS, ROUNDS_QUICK = 5, 1
UPGRADES, UPGRADES_QUICK = 5, 1
CALLERS = 16
SLOW_S = 4.0
BETWEEN_S = 5.0
ORIGIN = "https://mcp.example.com"
BYTES_PER_MB = 1_000_000
IMAGE_HOW = "{0:.0f} on a base that is there, {1:.0f} in an image of Debian"
NO_INDEX = ("ENV PIP_NO_INDEX=1", "ENV PIP_FIND_LINKS=/wheels")


def run(_out: Path, *, quick: bool) -> list[Sample]:
    engine = ensure_docker()
    workload = ensure_demo_image(engine)
    sizes_mb = [image_bytes(engine, ensure_project_image(engine)) / BYTES_PER_MB, _on_debian_mb(engine)]
    settings = {"OAUTH_GITHUB_CLIENT_ID": "an-id", "OAUTH_GITHUB_CLIENT_SECRET": "a-secret"}
    with tempfile.TemporaryDirectory() as folder, composed(Path(folder), engine, workload, settings) as built:
        ready = [_ready_s(built) for _ in range(ROUNDS_QUICK if quick else ROUNDS)]
    upgrades = UPGRADES_QUICK if quick else UPGRADES
    tallies = {one.name: _upgrade(one, upgrades) for one in (engine, ensure_podman())}
    failed = sum(sum(tally.failures.values()) for tally in tallies.values())
    how = f"{upgrades} upgrades behind Caddy, {CALLERS} callers; " + "; ".join(
        f"{name}: {tally.answered_count} calls, {tally.slow_count} of {SLOW_S:g} s, "
        f"longest {tally.longest_s:.1f} s"
        for name, tally in tallies.items()
    )
    return [
        Sample("image.mb", (max(sizes_mb),), f"`docker image inspect`; {IMAGE_HOW.format(*sizes_mb)}"),
        Sample("compose.ready_s", tuple(ready), f"median of {len(ready)} from nothing, images present"),
        Sample("compose.upgrade.failed_requests", (float(failed),), how),
    ]


def _on_debian_mb(engine: Engine) -> float:
    """Of the image that `docker compose build` makes, but that Debian and wheels are fetched beforehand."""
    debian.install(("debootstrap",), why="an image of Debian")
    name = f"{project_image.REPOSITORY}-debian"
    with tempfile.TemporaryDirectory() as folder:
        root, wheels, tar = Path(folder, "root"), Path(folder, "wheels"), Path(folder, "image.tar")
        with step("making an image of Debian"):
            words = ("debootstrap", "--variant=minbase", debian_release(), str(root), mirror())
            run_program(words, mend="See what debootstrap says")
        project_image.fetch_wheels(wheels, python_version())
        project_image.pack(tar, {"": root, "wheels": wheels})
        import_image(engine, tar, repository=name, tag="latest", changes=list(NO_INDEX))
    reference = f"{name}:built"
    try:
        project_image.build(engine, reference, debian=local_name(engine, f"{name}:latest"), network="host")
        return image_bytes(engine, reference) / BYTES_PER_MB
    finally:
        for one in (reference, f"{name}:latest"):
            try_to_untag(engine, one)


def _ready_s(built: Composed) -> float:
    began_at = time.monotonic()
    built.up("--no-build")
    built.until_page()
    taken_s = time.monotonic() - began_at
    built.compose(*EVERY_PROFILE, "down", "--volumes", "--timeout", "5")
    return taken_s


def _behind_the_edge(engine: Engine) -> dict[str, str]:
    return {
        "GATEWAY_ORIGIN": ORIGIN,
        "EDGE_TLS": "internal",
        "CADDY_IMAGE": ensure_program_image(engine, "caddy"),
        "EDGE_HTTP_PUBLISH": f"127.0.0.1:{free_port()}",
        "EDGE_HTTPS_PUBLISH": f"127.0.0.1:{free_port()}",
    }


def _upgrade(engine: Engine, upgrades: int) -> Tally:
    workload, settings = ensure_demo_image(engine), _behind_the_edge(engine)
    with (
        tempfile.TemporaryDirectory() as folder,
        composed(Path(folder), engine, workload, settings) as built,
    ):
        return asyncio.run(_upgraded(built, upgrades))


async def _upgraded(built: Composed, upgrades: int) -> Tally:
    """What became of the load, over so many new gateways."""
    address, headers = built.settings["EDGE_HTTPS_PUBLISH"], built.headers("bench")
    await asyncio.to_thread(built.up, "--no-build", profiles=["edge"])
    await serves(ORIGIN, headers, address)
    async with load(ORIGIN, headers, callers=CALLERS, slow_s=SLOW_S, address=address) as tally:
        for _ in range(upgrades):
            await asyncio.sleep(BETWEEN_S)
            built.release()
            await asyncio.to_thread(built.up, "--no-build", profiles=["edge"])
        await asyncio.sleep(BETWEEN_S)
    return tally
