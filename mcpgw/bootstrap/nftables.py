"""The program that writes packet filter rules, from Debian where it is missing and may be installed."""

from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.bootstrap.errors import BootstrapError

PACKAGES = ("nftables",)


def ensure_nft() -> Path:
    """The program `nft`. Its service, which replaces every rule of the system, is not started."""
    if found("nft") is None:
        debian.install(PACKAGES, why="the fence around containers")
    if (program := found("nft")) is None:
        raise BootstrapError("nftables is installed, but nft is nowhere", mend="Put it into PATH")
    return Path(program)
