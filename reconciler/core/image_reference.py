"""Image references, read as engines read them: which registry an image is of, and what pins it.

Decides nothing about which are allowed; that is :mod:`reconciler.core.ceiling`, which comes next.

Source: github.com/distribution/reference, ``regexp.go`` and ``normalize.go``.
"""

import re
from dataclasses import dataclass
from typing import Final

DOCKER_HUB = "docker.io"
DOCKER_HUB_OLD_NAME = "index.docker.io"
DOCKER_HUB_OFFICIAL = "library"
LOCALHOST = "localhost"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_PLACE = re.compile(rf"(?P<host>{_HOST})(?:/(?P<path>{_PATH}))?")
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PATH})(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>\S+))?"
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
# What engines try as (the beginning of) a local image's id, whatever registry that image came from.
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """``ghcr.io/team/app:1``: of registry ``ghcr.io``, path ``team/app``, tag ``1``."""

    registry: str  # in lower case, with its port; Docker Hub where the reference names none
    path: str
    tag: str = ""
    digest: str = ""  # sha256:<64 hexadecimal digits>: what is run is what was meant

    def is_below(self, place: str) -> bool:
        """Whether it is of ``place``, a registry or a path there; both as :func:`registry_place` has them."""
        host, _, path = place.partition("/")
        return self.registry == host and (not path or f"{self.path}/".startswith(f"{path}/"))


def image_reference(text: str) -> ImageReference | None:
    """What an engine takes ``text`` for; None for what is no name: an id, or nothing an engine accepts."""
    match = _REFERENCE.fullmatch(text)
    if match is None or _ID.fullmatch(text):
        return None
    digest = match["digest"] or ""
    if digest and not _DIGEST.fullmatch(digest):
        return None
    registry, path = _split(match["name"])
    if not re.fullmatch(_PATH, path):  # a host in capitals alone, which only some engines take for one
        return None
    return ImageReference(registry, path, match["tag"] or "", digest)


def registry_place(text: str) -> str | None:
    """``Ghcr.io/team`` → ``ghcr.io/team``; None for what is no registry's name, with or without a path."""
    match = _PLACE.fullmatch(text.removesuffix("/"))
    if match is None:
        return None
    host, path = _registry(match["host"]), match["path"] or ""
    return f"{host}/{path}" if path else host


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (first == LOCALHOST or "." in first or ":" in first):
        first, rest = DOCKER_HUB, name
    registry = _registry(first)
    is_official = registry == DOCKER_HUB and "/" not in rest
    return registry, f"{DOCKER_HUB_OFFICIAL}/{rest}" if is_official else rest


def _registry(host: str) -> str:
    lower = host.lower()
    return DOCKER_HUB if lower == DOCKER_HUB_OLD_NAME else lower
