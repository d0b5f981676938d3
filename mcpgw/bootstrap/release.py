"""Unpacks packages of a Debian release beside the system, which may be another release than the system's.

The mirror is the one that this machine's own apt uses; apt's folders are private ones in the cache, so that
neither the system's package lists nor what is installed changes. Needs no root.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found, run
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.progress import step

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MEND = "Run `apt-get update`, see that the mirror of this machine answers, and start again"


def unpack(release: str, packages: Sequence[str]) -> Path:
    """The folder with these packages of ``release`` (trixie) unpacked, without what they depend on."""
    folder = cache_dir("release") / "+".join((release, *packages))
    with only_one("release"):
        if not folder.exists():
            _unpack(release, packages, folder)
    return folder


def _unpack(release: str, packages: Sequence[str], folder: Path) -> None:
    if not (debian.has_apt() and found("dpkg-deb")):
        raise BootstrapError(
            f"{' '.join(packages)} would come from Debian {release}, and this is no Debian machine",
            mend=f"Install {' '.join(packages)} with your system's package tool",
        )
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "debs").mkdir(parents=True)
    options = _options(release)
    with step(f"downloading {' '.join(packages)} of Debian {release}"):
        run(("apt-get", *options, "-qq", "update"), mend=MEND)
        run(("apt-get", *options, "-qq", "download", *packages), cwd=draft / "debs", mend=MEND)
    for package in sorted((draft / "debs").glob("*.deb")):
        run(("dpkg-deb", "-x", str(package), str(draft)), mend=MEND)
    shutil.rmtree(draft / "debs")
    draft.rename(folder)


def _options(release: str) -> tuple[str, ...]:
    """What makes apt look into private folders, at the mirror of this machine, for the release."""
    apt = cache_dir("release") / "apt" / release
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    signed_by = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (apt / "sources.list").write_text(f"deb {signed_by}{mirror()} {release} main\n", "utf-8")
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "parts",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
    }
    return tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))


def mirror() -> str:
    """The address that apt gets Debian's own packages from. Source: apt-get(8), indextargets."""
    words = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian")
    addresses = run(words, mend=MEND).split()
    if not addresses:
        raise BootstrapError("apt knows no Debian mirror", mend="Run `apt-get update` and start again")
    return addresses[0]
