"""Finds Docker Compose, or takes it from a Debian package that is unpacked and not installed.

Compose v2 is one program that also runs by itself, without the `docker` client; DOCKER_HOST says which
engine, Podman's socket included. Debian 12 has only v1, which cannot read the project's file.
"""

from pathlib import Path

from mcpgw.bootstrap.command import run
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.release import unpack

RELEASE = "trixie"
PACKAGE = "docker-compose"
PLUGIN = Path("docker", "cli-plugins", "docker-compose")
FOLDERS = tuple(
    Path(one) for one in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
)  # Source: Docker's documentation, "Install the Docker Compose plugin"
VERSION_MIN = (2, 24)


def ensure_compose() -> Path:
    """The program: this machine's own plugin if it is one that reads our file, else Debian's."""
    for folder in FOLDERS:
        program = folder / PLUGIN
        if program.exists() and _version(program) >= VERSION_MIN:
            return program
    program = unpack(RELEASE, (PACKAGE,)) / "usr" / "libexec" / PLUGIN
    if not program.exists():
        raise BootstrapError(
            f"the package {PACKAGE} of Debian {RELEASE} has no {PLUGIN}",
            mend="Install Docker's compose plugin and start again",
        )
    return program


def _version(program: Path) -> tuple[int, ...]:
    """Its first two numbers; none of a program that does not say."""
    try:
        said = run((str(program), "version", "--short"), mend="").strip().removeprefix("v")
    except BootstrapError:
        return ()
    return tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
