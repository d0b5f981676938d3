"""Packs folders into the tar files that engines take, with owners that do not depend on who packs.

Everything belongs to root and only `/data` to the demo's user, so the demo cannot change its own program
even without a read-only root. Python files are compiled here: a container has nowhere to keep the result.
"""

import os
import tarfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

from mcpgw.bootstrap.command import run

DEMO_UID = 1000
PASSWD = f"root:x:0:0:root:/:/bin/sh\ndemo:x:{DEMO_UID}:{DEMO_UID}:demo:/data:/bin/sh\n"
GROUP = f"root:x:0:\ndemo:x:{DEMO_UID}:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
SKIPPED = frozenset({"__pycache__"})

Filter = Callable[[tarfile.TarInfo], tarfile.TarInfo]


def write_image(tar: Path, *, base: Path, wheels: Path, app: Path) -> None:
    """The image's root filesystem: the base, `/app` with the demo, `/app/lib` with its packages, `/data`."""
    draft = tar.with_suffix(".draft")
    with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as file:
        for entry in sorted(base.iterdir()):
            file.add(entry, arcname=entry.name, filter=owned_by(0))
        add_folder(file, "app", 0, 0o755)
        file.add(app / "demo", arcname="app/demo", filter=owned_by(0))
        file.add(wheels, arcname="app/lib", filter=owned_by(0))
        add_folder(file, "data", DEMO_UID, 0o750)
        add_folder(file, "tmp", 0, 0o1777)
        for name, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH)):
            add_text(file, f"etc/{name}", text)
    draft.rename(tar)


def write_context(folder: Path, paths: Iterable[Path], tar: Path) -> None:
    """The build context of a Dockerfile: the paths, named as they are in the folder."""
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        for path in paths:
            file.add(path, arcname=str(path.relative_to(folder)), filter=owned_by(0))


def compile_python(base: Path, folder: Path) -> None:
    """Compile the folder's Python files with the base's own Python, which need not be ours.

    `unchecked-hash`: the files never change in an image, so the interpreter need not look at their times.
    """
    python = next(
        path for path in sorted((base / "usr" / "bin").glob("python3.*")) if path.name[8:].isdigit()
    )
    words = [*_through_own_loader(base), str(python), "-S", "-m", "compileall", "-q"]
    words += ["--invalidation-mode", "unchecked-hash", "-s", str(folder.parent), str(folder)]
    run(
        words,
        env={"PYTHONHOME": str(base / "usr"), "PYTHONPATH": ""},
        mend="Delete .cache/demo-image and start again",
    )


def _through_own_loader(base: Path) -> list[str]:
    """The words that start a program of `base` with the base's libraries, without chroot and without root."""
    loader = next(path for path in sorted(base.glob("usr/lib*/**/ld-linux*.so.*")) if path.exists())
    libraries = [str(path) for path in sorted(base.glob("usr/lib/*-linux-gnu*")) if path.is_dir()]
    return [str(loader), "--library-path", os.pathsep.join(libraries)]


def owned_by(uid: int) -> Filter:
    """What makes `uid` the owner of everything that is added, at no time."""

    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = uid
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    return owned


def add_folder(file: tarfile.TarFile, name: str, uid: int, mode: int) -> None:
    """An empty folder."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, uid
    file.addfile(entry)


def add_text(file: tarfile.TarFile, name: str, text: str) -> None:
    """A file that everybody may read."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = 0o644, len(text.encode())
    file.addfile(entry, BytesIO(text.encode()))
