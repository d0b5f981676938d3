"""Which headers a template's files are made of, as the data path asks for them. Pure.

Next: :mod:`gateway.user_headers`, which reads them, and :mod:`gateway.proxy.headers`, which withholds them.
"""

from collections.abc import Iterable

from state.kinds.files import File, headers_of


class HeaderRules:
    """One a template that has such files."""

    __slots__ = ("declared", "names", "withheld")

    def __init__(self, files: Iterable[File]) -> None:
        self.declared = headers_of(files)
        self.names = {name.encode("ascii"): name for name in self.declared}
        self.withheld = frozenset(raw for raw, name in self.names.items() if not self.declared[name].forward)
