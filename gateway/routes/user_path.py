"""``/u/<user>/…``: a path that names whose container it means. Pure."""

from typing import Final

USER_PREFIX: Final = "/u/"


def split_user_path(path: str) -> tuple[str, str]:
    """``/u/<user>`` and what follows; ("", path) for any other path."""
    if not path.startswith(USER_PREFIX):
        return "", path
    named, slash, rest = path[len(USER_PREFIX) :].partition("/")
    return USER_PREFIX + named, slash + rest
