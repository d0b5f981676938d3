"""Installs Debian packages, where that may be done, and says the one command where it may not.

Decides whether this machine may be changed: Debian or a derivative, apt, and root. Nothing is upgraded
and nothing but the named packages (with what they need) is installed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from mcpgw.bootstrap.command import found, run
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.progress import say, step

OS_RELEASE = Path("/etc/os-release")
APT_OPTIONS = (
    "-o", "DPkg::Lock::Timeout=600",
    "-o", "Acquire::Retries=3",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
UPDATE_MEND = "Run `apt-get update` by hand and see what it says"


def install(packages: Sequence[str], *, why: str) -> None:
    """Install what is missing of `packages`, having said so. `why` ends the sentence 'needed for …'."""
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return
    refuse_unless_allowed(missing, why=why)
    say(f"installing Debian packages for {why}: {' '.join(missing)}")
    log = cache_dir("logs") / "apt.log"
    words = ("apt-get", *APT_OPTIONS, "install", "-y", "--no-install-recommends", *missing)
    with only_one("apt"):
        try:
            with step(f"apt-get install {' '.join(missing)}"):
                run(words, mend="", log=log, env=_quiet())
        except BootstrapError:  # The usual reason is an index that is older than the mirror.
            refresh_index()
            with step(f"apt-get install {' '.join(missing)}"):
                run(words, mend=f"Run `apt-get install {' '.join(missing)}` by hand", log=log, env=_quiet())


def refresh_index() -> None:
    """Fetch the package index anew, which only root can."""
    with step("apt-get update"):
        run(
            ("apt-get", *APT_OPTIONS, "update"),
            mend=UPDATE_MEND,
            log=cache_dir("logs") / "apt.log",
            env=_quiet(),
        )


def refuse_unless_allowed(packages: Sequence[str], *, why: str) -> None:
    """Raise, with the one command to run, where packages cannot be installed by us."""
    names = " ".join(packages)
    if not has_apt():
        raise BootstrapError(
            f"{why} is missing, and this is no Debian machine that we could install it on",
            mend=f"Install {names} with your system's package tool and start again",
        )
    if os.geteuid() != 0:
        raise BootstrapError(
            f"{why} is missing, and installing it takes root",
            mend=f"Run `sudo apt-get install -y {names}` and start again",
        )


def has_apt() -> bool:
    """Whether this is Debian or a derivative with its package tools."""
    try:
        release = OS_RELEASE.read_text("utf-8")
    except OSError:
        return False
    family = [
        line.partition("=")[2].strip('"')
        for line in release.splitlines()
        if line.startswith(("ID=", "ID_LIKE="))
    ]
    return "debian" in " ".join(family).split() and found("apt-get") is not None


def is_installed(package: str) -> bool:
    """Whether dpkg counts the package as installed (and not merely known or removed)."""
    try:
        status = run(("dpkg-query", "-W", "-f", "${db:Status-Status}", package), mend="")
    except BootstrapError:
        return False
    return status.strip() == "installed"


def _quiet() -> dict[str, str]:
    return {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
