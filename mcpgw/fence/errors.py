"""The one error of the fence."""


class FenceError(Exception):
    """It could not be written, read or removed. ``str()`` is one line with the mend."""
