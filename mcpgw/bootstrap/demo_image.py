"""Builds the demo workload's image and gives it to an engine, each only when its sources have changed.

The image is named after a hash of what goes into it: `mcp-gateway-demo:<hash>`, and `:latest` besides. On
Debian it is made of Debian packages and wheels, which takes seconds and no image registry; elsewhere the
engine builds `demo/Dockerfile`. Next: `mcpgw.bootstrap.rootfs` and `mcpgw.bootstrap.archive`.
"""

import hashlib
import platform
import shutil
import sys
from pathlib import Path

from mcpgw.bootstrap import archive, rootfs
from mcpgw.bootstrap.command import found, run
from mcpgw.bootstrap.engine_api import (
    Engine,
    build_image,
    image_id,
    image_tags,
    import_image,
    tag_image,
    try_to_untag,
)
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import PROJECT_DIR, cache_dir, only_one
from mcpgw.bootstrap.progress import step

REPOSITORY = "mcp-gateway-demo"
DEMO_DIR = PROJECT_DIR / "demo"
LOCK = DEMO_DIR / "requirements.lock"
RECIPE = tuple(Path(__file__).parent / name for name in ("demo_image.py", "rootfs.py", "archive.py"))
OWN_FOLDERS = "/usr/lib/python3/dist-packages"
BASE_CHANGES = ("ENV PATH=/usr/bin:/usr/sbin",)
"""What a base image from a registry would say."""
STARTING = ("ENV", "WORKDIR", "USER", "EXPOSE", "ENTRYPOINT", "CMD")
"""The instructions of the Dockerfile that say how the image is started, not what is in it."""
GLIBC_MINOR_MIN, GLIBC_MINOR_MAX = 17, 36
"""The manylinux wheels that fit: glibc 2.17 (the oldest still built for) to Debian 12's."""
KEPT_MAX = 3
"""So many of the latest images stay in an engine, and archives, bases and wheels in the cache."""
PIP_MEND = "See that the Python package index answers, and start again"


def ensure_demo_image(engine: Engine) -> str:
    """The image's name by its hash, after making sure that the engine has it."""
    tag = source_hash()
    reference = f"{REPOSITORY}:{tag}"
    with only_one("demo-image"):
        if image_id(engine, reference) is None:
            _give(engine, tag)
            forget_old_images(engine, current=tag)
        if image_id(engine, reference) != image_id(engine, f"{REPOSITORY}:latest"):
            tag_image(engine, reference, repository=REPOSITORY, tag="latest")
    return reference


def source_hash() -> str:
    """Twelve hexadecimal digits that change with the demo, its lock, the recipe, and the kind of machine."""
    digest = hashlib.sha256(f"{platform.machine()} {debian_release()}".encode())
    for path in [*sources(DEMO_DIR), *RECIPE]:
        digest.update(f"\n{path.relative_to(PROJECT_DIR)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def debian_release() -> str:
    """This machine's release name, such as bookworm; empty where the Dockerfile is used."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "") if rootfs.can_be_made() else ""


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def changes() -> list[str]:
    """How the image is to be started, in the instructions of `demo/Dockerfile`, one to a line there."""
    lines = (DEMO_DIR / "Dockerfile").read_text().splitlines()
    return [*BASE_CHANGES, *(line for line in lines if line.startswith(STARTING))]


def _give(engine: Engine, tag: str) -> None:
    if not rootfs.can_be_made():
        build_from_dockerfile(engine, tag)
        return
    tar = cache_dir("demo-image") / f"{tag}.tar"
    if not tar.exists():
        _make(tar)
    _drop_old(tar.parent)
    with step(f"giving the demo image to {engine.name}"):
        import_image(engine, tar, repository=REPOSITORY, tag=tag, changes=changes())


def build_from_dockerfile(engine: Engine, tag: str, *, base: str = "") -> None:
    """Have the engine build `demo/Dockerfile`, on another base image than it names if one is given."""
    context = cache_dir("demo-image") / f"{tag}.context.tar"
    archive.write_context(DEMO_DIR, sources(DEMO_DIR), context)
    arguments = {"BASE": base} if base else {}
    with step(f"building demo/Dockerfile with {engine.name}"):
        build_image(engine, context, reference=f"{REPOSITORY}:{tag}", arguments=arguments)
    context.unlink()


def _make(tar: Path) -> None:
    """Put the image's file together. The base and the wheels are kept apart, as they seldom change."""
    python = rootfs.python_version()
    bottom = base(python)
    wheels = _wheels(python)
    app = tar.with_suffix(".app")
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(DEMO_DIR, app / "demo", ignore=shutil.ignore_patterns("__pycache__", "Dockerfile"))
    with step("compiling the demo"):
        archive.compile_python(bottom, app)
    with step("packing the demo image"):
        archive.write_image(tar, base=bottom, wheels=wheels, app=app)
    shutil.rmtree(app)


def base(python: str) -> Path:
    """The folder of a root filesystem with nothing but this Python, made if it is not there."""
    key = hashlib.sha256(f"{python} {debian_release()}".encode() + RECIPE[1].read_bytes()).hexdigest()[:12]
    made = cache_dir("demo-image") / f"base-{key}"
    with only_one("demo-base"):
        if not made.exists():
            draft = _emptied(made.with_suffix(".draft"))
            rootfs.make(draft, python)
            with step("compiling Python's own library"):
                archive.compile_python(draft, draft / "usr" / "lib" / f"python{python}")
            draft.rename(made)
    return made


def _wheels(python: str) -> Path:
    """What the lock names, unpacked for the image's Python whatever Python runs here."""
    key = hashlib.sha256(f"{python} {platform.machine()}".encode() + LOCK.read_bytes()).hexdigest()[:12]
    wheels = cache_dir("demo-image") / f"wheels-{key}"
    if not wheels.exists():
        draft = _emptied(wheels.with_suffix(".draft"))
        with step("installing the demo's Python packages"):
            words = pip_words(python, "install", "--no-compile", "--target", str(draft))
            run(words, mend=PIP_MEND, log=cache_dir("logs") / "pip.log")
        with step("compiling them"):
            archive.compile_python(base(python), draft)
        draft.rename(wheels)
    return wheels


def pip_program() -> list[str]:
    """The words that start pip: ours, or the system's where we have none."""
    if not _has_pip() and (system := found("pip3")):
        return [system]
    return [sys.executable, "-m", "pip"]


def pip_words(python: str, *action: str, lock: Path = LOCK) -> list[str]:
    """The words that have pip do this with all that the lock names, as wheels for the image's Python."""
    machine = platform.machine()
    platforms = [
        f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR_MAX, GLIBC_MINOR_MIN - 1, -1)
    ]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    abi = f"cp{python.replace('.', '')}"
    options = [
        "--implementation",
        "cp",
        "--python-version",
        python,
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]
    options += [word for name in (abi, "abi3", "none") for word in ("--abi", name)]
    options += [word for name in platforms for word in ("--platform", name)]
    # The lock is its own constraint: older pips do not take "a==1" for an answer to "a[extra]".
    options += ["-r", str(lock), "-c", str(lock)]
    return [*pip_program(), *action, "-q", *options]


def _has_pip() -> bool:
    try:
        run((sys.executable, "-m", "pip", "--version"), mend="")
    except BootstrapError:
        return False
    return True


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _drop_old(folder: Path) -> None:
    """Keep the latest of what is cached; each is tens of megabytes."""
    for pattern in ("*.tar", "base-*", "wheels-*"):
        by_age = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[KEPT_MAX:]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def forget_old_images(engine: Engine, *, current: str) -> None:
    """Keep this image, the latest others, and what a container has, which the engine refuses to remove."""
    others = [tag for tag in image_tags(engine, REPOSITORY) if tag not in ("latest", current)]
    for tag in others[KEPT_MAX - 1 :]:
        try_to_untag(engine, f"{REPOSITORY}:{tag}")
