"""Builds the project's own image from the `Dockerfile` at the top, each only when its sources have changed.

Named `mcp-gateway:<hash>`, and `:latest` besides. On Debian it stands on a base made of Debian packages, as
the demo's does, and is built from wheels that are fetched beforehand: no image registry is asked, and no
build reaches the network. Elsewhere the engine builds it on the base that the `Dockerfile` names.
"""

import hashlib
import platform
import shutil
import tarfile
from pathlib import Path

import mcpgw.bootstrap.demo_image as demo
from mcpgw.bootstrap import archive, rootfs
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
RECIPE = (PROJECT_DIR / "Dockerfile", Path(__file__), *demo.RECIPE)
KEPT_MAX = 3


def ensure_project_image(engine: Engine) -> str:
    """The image's name by its hash, after making sure that the engine has it."""
    tag = source_hash()
    reference = f"{REPOSITORY}:{tag}"
    with only_one("project-image"):
        if image_id(engine, reference) is None:
            _build(engine, tag)
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


def _build(engine: Engine, tag: str) -> None:
    context = cache_dir("project-image") / f"{tag}.context.tar"
    archive.write_context(PROJECT_DIR, [PROJECT_DIR / "Dockerfile", *_sources()], context)
    bases = _bases(engine) if rootfs.can_be_made() else {}
    with step(f"building the project's image with {engine.name}"):
        build_image(engine, context, reference=f"{REPOSITORY}:{tag}", arguments=bases)
    context.unlink()


def _bases(engine: Engine) -> dict[str, str]:
    """The Dockerfile's arguments: what the image stands on, and the same with pip and wheels beside it."""
    python = rootfs.python_version()
    key = hashlib.sha256(f"{python} {demo.debian_release()}".encode())
    for path in (LOCK, *RECIPE[1:]):
        key.update(path.read_bytes())
    name = f"{REPOSITORY}-base"
    tags = {"BASE": key.hexdigest()[:12], "BUILDER": f"{key.hexdigest()[:12]}-builder"}
    if any(image_id(engine, f"{name}:{tag}") is None for tag in tags.values()):
        folder = cache_dir("project-image") / "bases"
        shutil.rmtree(folder, ignore_errors=True)
        _make_bases(folder, python)
        for argument, tag in tags.items():
            import_image(
                engine, folder / f"{argument}.tar", repository=name, tag=tag, changes=_changes(argument)
            )
        shutil.rmtree(folder)
    return {argument: local_name(engine, f"{name}:{tag}") for argument, tag in tags.items()}


def _changes(argument: str) -> list[str]:
    offline = ["ENV PIP_NO_INDEX=1", "ENV PIP_FIND_LINKS=/wheels", "ENV PYTHONPATH=/pip"]
    return [*demo.BASE_CHANGES, *(offline if argument == "BUILDER" else [])]


def _make_bases(folder: Path, python: str) -> None:
    root, wheels, pip = folder / "root", folder / "wheels", folder / "pip"
    root.mkdir(parents=True)
    rootfs.make(root, python, also=("nftables",))
    archive.compile_python(root, root / "usr" / "lib" / f"python{python}")
    with step("fetching the project's Python packages"):
        run(
            demo.pip_words(python, "download", "--dest", str(wheels), lock=LOCK),
            mend=demo.PIP_MEND,
            log=cache_dir("logs") / "pip.log",
        )
        run(
            [*demo.pip_program(), "install", "-q", "--no-compile", "--target", str(pip), "pip"],
            mend=demo.PIP_MEND,
            log=cache_dir("logs") / "pip.log",
        )
    _pack(folder / "BASE.tar", {"": root})
    _pack(folder / "BUILDER.tar", {"": root, "wheels": wheels, "pip": pip})


def _pack(tar: Path, parts: dict[str, Path]) -> None:
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        for name, folder in parts.items():
            for entry in sorted(folder.iterdir()):
                file.add(entry, arcname=str(Path(name, entry.name)), filter=archive.owned_by(0))
        archive.add_folder(file, "tmp", 0, 0o1777)


def _forget_old(engine: Engine, current: str) -> None:
    """Keep this image and the latest others, and of the bases the latest."""
    for repository, kept_max in ((REPOSITORY, KEPT_MAX), (f"{REPOSITORY}-base", 2)):
        others = [tag for tag in image_tags(engine, repository) if tag not in ("latest", current)]
        for tag in others[kept_max - 1 if repository == REPOSITORY else kept_max :]:
            try_to_untag(engine, f"{repository}:{tag}")
