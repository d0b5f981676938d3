"""Makes a root filesystem with Python out of Debian packages, without any image registry.

The packages come through this machine's own apt (`apt-get download`), are unpacked beside the system and
never installed. Needs no root, and no Docker. Next: `mcpgw.bootstrap.demo_image`, which puts the demo in.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found, run
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.progress import step

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders that are links into /usr. Source: Debian's usrmerge."""
UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/lib/systemd",
)
TOOLS = ("apt-get", "apt-cache", "dpkg-deb", "dpkg")
LEFT_OUT = frozenset(
    {"debconf", "dpkg", "libnsl2", "mailcap", "media-types", "mime-support", "openssl", "readline-common"}
)
"""Depended on for things that images do without: a terminal's settings, NIS, tables of file types."""
NOT_ASKED = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
DEPENDS_ONLY = ("--recurse", *(f"--no-{relation}" for relation in NOT_ASKED))
MEND = "Run `apt-get update`, see that the mirror of this machine answers, and start again"


def can_be_made() -> bool:
    """Whether this machine has the tools and can know the packages; elsewhere there is the Dockerfile."""
    has_tools = debian.has_apt() and all(found(tool) for tool in TOOLS)
    return has_tools and (os.geteuid() == 0 or _default_python() is not None)


def python_version() -> str:
    """The version, such as 3.11, that this Debian's default Python has."""
    if _default_python() is None:
        debian.refresh_index()  # a new machine has none
    if (version := _default_python()) is None:
        raise BootstrapError("apt knows no package python3-minimal", mend=MEND)
    return version


def _default_python() -> str | None:
    try:
        told = run(("apt-cache", "show", "--no-all-versions", "python3-minimal"), mend=MEND)
    except BootstrapError:
        return None
    versions = [line.split()[1] for line in told.splitlines() if line.startswith("Version: ")]
    return ".".join(versions[0].split(".")[:2]) if versions else None


def make(root: Path, python: str, *, also: Sequence[str] = ()) -> None:
    """Fill the empty folder `root` with this Python (`3.11`), the libraries it needs, busybox, and `also`."""
    packages = closure([f"python{python}-minimal", f"libpython{python}-stdlib", "busybox-static", *also])
    downloads = root.with_suffix(".debs")
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    with step(f"downloading {len(packages)} Debian packages for an image"):
        download(packages, downloads)
    with step("unpacking them"):
        for package in sorted(downloads.glob("*.deb")):
            run(("dpkg-deb", "-x", str(package), str(root)), mend=MEND)
        merge_usr(root)
        _tidy(root, python)
    shutil.rmtree(downloads)


def closure(roots: list[str]) -> list[str]:
    """The packages and all they depend on, but for what LEFT_OUT names and what only that needs."""
    depends = _dependencies(roots)
    wanted: set[str] = set()
    waiting = list(roots)
    while waiting:
        package = waiting.pop()
        if package not in wanted and package not in LEFT_OUT and package in depends:
            wanted.add(package)
            waiting += depends[package]
    return sorted(wanted)


def _dependencies(roots: list[str]) -> dict[str, list[str]]:
    """What each package reached from `roots` depends on. Virtual packages (`<name>`) have no entry."""
    depends: dict[str, list[str]] = {}
    package = ""
    for line in run(("apt-cache", "depends", *DEPENDS_ONLY, *roots), mend=MEND).splitlines():
        if line.startswith(" "):
            depends.setdefault(package, []).append(line.rpartition(": ")[2].strip())
        elif not line.startswith("<"):
            package = line.strip()
            depends.setdefault(package, [])
        else:
            package = line.strip()
    return {name: names for name, names in depends.items() if not name.startswith("<")}


def download(packages: list[str], folder: Path) -> None:
    """Put the packages' files of this machine's release into the folder."""
    words = (
        "apt-get",
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Acquire::Retries=3",
        "download",
        "-qq",
        *packages,
    )
    try:
        run(words, cwd=folder, mend=MEND)
    except BootstrapError:
        if os.geteuid() != 0:
            raise
        debian.refresh_index()
        run(words, cwd=folder, mend=MEND)


def merge_usr(root: Path) -> None:
    """Make /bin and its like links into /usr, whether or not this release's packages are built that way."""
    for name in MERGED:
        folder, target = root / name, root / "usr" / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder)
        if target.is_dir() and not folder.is_symlink():
            folder.symlink_to(f"usr/{name}")


def _tidy(root: Path, python: str) -> None:
    remove_unneeded(root)
    programs = root / "usr" / "bin"
    if not (programs / "python3").exists():
        (programs / "python3").symlink_to(f"python{python}")
    link_applets(root)


def remove_unneeded(root: Path) -> None:
    """What is for people to read, and for a system with services."""
    for name in UNNEEDED:
        shutil.rmtree(root / name, ignore_errors=True)


def link_applets(root: Path) -> None:
    """Every program of busybox by its own name, unless there is a real one."""
    programs = root / "usr" / "bin"
    for applet in run((str(programs / "busybox"), "--list"), mend=MEND).split():
        link = programs / applet
        if not link.exists() and not link.is_symlink():
            link.symlink_to("busybox")
