"""Calls in threads of their own, for what happens to them meanwhile."""

import http.client
import threading
from collections.abc import Callable

from mcpgw.testing.calls import Answer


class Aside:
    """One call: its answer, or how it broke."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._call = call
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> "Aside":
        self._thread.join()
        return self

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    @property
    def status(self) -> int:
        """Of the answer, once it is there; 0 for a call that broke."""
        answer = self.end().answer
        return answer.status if answer is not None else 0

    def _run(self) -> None:
        try:
            self.answer = self._call()
        except (OSError, http.client.HTTPException) as error:
            self.error = error
