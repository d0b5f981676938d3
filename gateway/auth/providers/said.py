"""A provider's words about somebody, made fit to be kept: cut for show, folded for comparing.

Decides what is taken of a name, and which e-mail addresses count. Lists are never cut short: a rule that
keeps somebody out must not miss what stood behind the cut.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError

from gateway.auth.providers.port import ProviderError
from gateway.auth.providers.wire import nonsense
from state.kinds.account import CLAIM_VALUES_MAX, Claims, folded

TEXT_CHARS_MAX: Final = 320
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def text(value: object) -> str:
    """To show; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(char for char in value if char.isprintable())[:TEXT_CHARS_MAX].strip()


def emails(values: Iterable[object]) -> tuple[str, ...]:
    """The addresses among ``values``, each once."""
    return tuple(
        dict.fromkeys(folded(one) for one in values if isinstance(one, str) and _EMAIL.fullmatch(one))
    )


def words(values: Iterable[str], label: str, what: str) -> tuple[str, ...]:
    """A whole list of claims, each once. Raises ProviderError where it is longer than one that is kept."""
    found = tuple(dict.fromkeys(map(folded, values)))
    if len(found) > CLAIM_VALUES_MAX:
        raise too_many(label, what)
    return found


def claims_of(label: str, **said: Any) -> Claims:
    """All of it, as it is kept. Raises ProviderError where it cannot be."""
    try:
        return Claims(**said)
    except ValidationError:
        raise nonsense(label) from None


def too_many(label: str, what: str) -> ProviderError:
    return ProviderError(
        "TooManyClaims",
        f"{label} lists more {what} of yours than the {CLAIM_VALUES_MAX} that are looked at. An operator has "
        "to let you in by another kind of rule.",
        retryable=False,
    )
