"""What is there before anything has started: verbs that look make nothing. Next: :mod:`mcpgw.verbs`."""

from pathlib import Path

from state.settings import SharedSettings


def has_store(settings: SharedSettings) -> bool:
    """Whether there is a store: to open a file that is not there would make it."""
    kind, _, path = settings.store_url.get_secret_value().partition(":///")
    return kind != "sqlite" or not is_absent(Path(path))


def is_absent(path: Path) -> bool:
    """What somebody else keeps from our eyes may be there: whoever opens it is told why not."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
