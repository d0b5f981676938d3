"""How acting on the world can fail, told apart by what helps: waiting, or a new generation.

An error's ``reason`` goes verbatim into a condition, its message to a person.
"""


class ActionError(Exception):
    """An action did not succeed. ``reason`` is CamelCase; ``str(error)`` says what, why and the mend."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransientError(ActionError):
    """Try again later: after ``retry_after_s`` where the world said so, else after the key's backoff."""

    def __init__(self, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class OutcomeUnknownError(TransientError):
    """The engine did not answer, or answered 5xx: the call may or may not have taken effect.

    Never to be read as absence; inspect by name before anything else is done.
    """


class TerminalError(ActionError):
    """Trying again cannot help; wait until the spec, the settings or somebody's hand changes the cause."""


class NameConflictError(ActionError):
    """The engine already has a container of that name. Ours or foreign: inspect tells."""
