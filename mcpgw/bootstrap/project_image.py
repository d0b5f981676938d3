"""Builds the project's own image from the `Dockerfile` at the top, each only when its sources have changed.

Named `mcp-gateway:<hash>`, and `:latest` besides. On Debian, what it stands on and the wheels are fetched
beforehand: no image registry is asked, and no build reaches the network. Elsewhere the engine does the same
in a Debian that it pulls. What comes out is the same.
"""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import mcpgw.bootstrap.demo_image as demo
from mcpgw.bootstrap import archive, base, rootfs
from mcpgw.bootstrap.command import run
from mcpgw.bootstrap.engine_api import (
    Engine,
    build_image,
    image_id,
    image_tags,
    import_image,
    local_name,
    tag_image,
    try_to_untag,
)
from mcpgw.bootstrap.paths import PROJECT_DIR, cache_dir, only_one
from mcpgw.bootstrap.progress import step

REPOSITORY = "mcp-gateway"
LOCK = PROJECT_DIR / "requirements.lock"
FOLDERS = ("gateway", "reconciler", "state", "mcpgw")
RECIPE = (PROJECT_DIR / "Dockerfile", Path(__file__), Path(base.__file__), *demo.RECIPE)
OFFLINE = (*demo.BASE_CHANGES, "ENV PIP_NO_INDEX=1", "ENV PIP_FIND_LINKS=/wheels", "ENV PYTHONPATH=/pip")
KEPT_MAX = 3


def ensure_project_image(engine: Engine) -> str:
    """The image's name by its hash, after making sure that the engine has it."""
    tag = source_hash()
    reference = f"{REPOSITORY}:{tag}"
    with only_one("project-image"):
        if image_id(engine, reference) is None:
            build(engine, reference, debian=ensure_debian(engine) if rootfs.can_be_made() else "")
            _forget_old(engine, tag)
        tag_image(engine, reference, repository=REPOSITORY, tag="latest")
    return reference


def source_hash() -> str:
    """Twelve hexadecimal digits that change with what the image is made of, and with the kind of machine."""
    digest = hashlib.sha256(f"{platform.machine()} {demo.debian_release()}".encode())
    for path in [*_sources(), *RECIPE]:
        digest.update(f"\n{path.relative_to(PROJECT_DIR)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _sources() -> list[Path]:
    """What the Dockerfile copies."""
    return [LOCK, *(path for name in FOLDERS for path in demo.sources(PROJECT_DIR / name))]


def build(engine: Engine, reference: str, *, debian: str = "", network: str = "") -> None:
    """Have the engine build the `Dockerfile`; ``debian`` is its argument, or what it says itself."""
    context = cache_dir("project-image") / f"{reference.partition(':')[2]}.context.tar"
    archive.write_context(PROJECT_DIR, [PROJECT_DIR / "Dockerfile", *_sources()], context)
    arguments = {"DEBIAN": debian} if debian else {}
    with step(f"building the project's image with {engine.name}"):
        build_image(engine, context, reference=reference, arguments=arguments, network=network)
    context.unlink()


def ensure_debian(engine: Engine) -> str:
    """The Dockerfile's argument: an image with a base, with pip and wheels: nothing is fetched."""
    key = hashlib.sha256(f"{rootfs.python_version()} {demo.debian_release()}".encode())
    for path in (LOCK, *RECIPE[1:]):
        key.update(path.read_bytes())
    name, tag = f"{REPOSITORY}-base", key.hexdigest()[:12]
    if image_id(engine, f"{name}:{tag}") is None:
        folder = cache_dir("project-image") / "base"
        shutil.rmtree(folder, ignore_errors=True)
        _make_debian(folder)
        import_image(engine, folder / "image.tar", repository=name, tag=tag, changes=list(OFFLINE))
        shutil.rmtree(folder)
    return local_name(engine, f"{name}:{tag}")


def _make_debian(folder: Path) -> None:
    root, wheels, pip = folder / "root", folder / "wheels", folder / "pip"
    fetch_wheels(wheels, base.make_base(root))
    run(
        [*demo.pip_program(), "install", "-q", "--no-compile", "--target", str(pip), "pip"],
        mend=demo.PIP_MEND,
        log=cache_dir("logs") / "pip.log",
    )
    pack(folder / "image.tar", {"": root, "base": root, "wheels": wheels, "pip": pip})


def fetch_wheels(folder: Path, python: str) -> None:
    """The project's packages, for an image's Python (`3.11`)."""
    with step("fetching the project's Python packages"):
        run(
            demo.pip_words(python, "download", "--dest", str(folder), lock=LOCK),
            mend=demo.PIP_MEND,
            log=cache_dir("logs") / "pip.log",
        )


def pack(tar: Path, parts: Mapping[str, Path]) -> None:
    """The file of an image with what is in each folder, by where it goes."""
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        for name, part in parts.items():
            for entry in sorted(part.iterdir()):
                file.add(entry, arcname=str(Path(name, entry.name)), filter=archive.owned_by(0))


def _forget_old(engine: Engine, current: str) -> None:
    """Keep this image and the latest others, and of the bases the latest."""
    for repository, kept_max in ((REPOSITORY, KEPT_MAX), (f"{REPOSITORY}-base", 2)):
        others = [tag for tag in image_tags(engine, repository) if tag not in ("latest", current)]
        for tag in others[kept_max - 1 if repository == REPOSITORY else kept_max :]:
            try_to_untag(engine, f"{repository}:{tag}")
