"""The one error of setting up: a line for a person, with the mend in it."""


class BootstrapError(Exception):
    """Something could not be set up. `str()` is one line that names the thing, the reason and the mend."""

    def __init__(self, problem: str, *, mend: str) -> None:
        super().__init__(f"{problem.rstrip('.')}. {mend.rstrip('.')}.")
        self.problem = problem
        self.mend = mend
