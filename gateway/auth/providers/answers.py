"""What a browser brings back from a provider, before anything is asked: whose it is, and yes or no.

Decides the refusals that both kinds of provider share. Source: RFC 6749 section 4.1.2, RFC 9207 section 2.4.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.auth.providers.port import CANCELLED, ProviderError

CODE_CHARS_MAX: Final = 4096
_ERROR = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_THEIR_FAULT: Final = frozenset({"server_error", "temporarily_unavailable"})
_OUR_CLIENT: Final = frozenset({"unauthorized_client", "application_suspended", "redirect_uri_mismatch"})


def code_in(params: Mapping[str, str], label: str, client_setting: str) -> str:
    """The code. Raises ProviderError where there is none."""
    if "error" in params:
        raise _said_no(params["error"], label, client_setting)
    code = params.get("code", "")
    if not 1 <= len(code) <= CODE_CHARS_MAX:
        raise ProviderError(
            "AnswerIncomplete", f"{label} sent you back with nothing to show. Begin anew.", retryable=False
        )
    return code


def _said_no(error: str, label: str, client_setting: str) -> ProviderError:
    if error == "access_denied":
        return ProviderError(
            CANCELLED,
            f"The sign-in at {label} was cancelled, or is not allowed to you there. Begin anew, or choose "
            "another way.",
            retryable=False,
        )
    if error in _THEIR_FAULT:
        return ProviderError(
            "ProviderFailed", f"{label} has a fault of its own. Try again in a minute.", retryable=True
        )
    return ProviderError(
        "ProviderRefused",
        f"{label} refused the sign-in ({quoted(error)}). Begin anew, or choose another way.",
        retryable=False,
        setting=client_setting if error in _OUR_CLIENT else "",
    )


def quoted(error: str) -> str:
    """A provider's error code as a person may read it; anything else that stands there is not repeated."""
    return error if _ERROR.fullmatch(error) else "without a reason"


def foreign_issuer(label: str) -> ProviderError:
    """Source: RFC 9207 section 2.4: an answer of another authorization server is a mix-up attack."""
    return ProviderError(
        "ForeignIssuer",
        f"The answer is not {label}'s, so nobody was signed in. Begin anew.",
        retryable=False,
    )


def kept_of(kept: Mapping[str, str], name: str) -> str:
    """What the departure kept. Raises ProviderError where another release did not keep it."""
    value = kept.get(name, "")
    if not value:
        raise ProviderError(
            "SignInForgotten", "This sign-in was not kept whole. Begin anew.", retryable=False
        )
    return value


def client_refused(label: str, setting: str) -> ProviderError:
    return ProviderError(
        "ClientRefused",
        f"{label} does not know this gateway by the id and secret that are set.",
        retryable=False,
        setting=setting,
    )


def code_refused(label: str) -> ProviderError:
    return ProviderError(
        "CodeRefused",
        f"{label} no longer takes the code that it gave: it was used, or is too old. Begin anew.",
        retryable=False,
    )


def exchange_refused(label: str, error: str, setting: str) -> ProviderError:
    """Any other refusal of a token endpoint."""
    return ProviderError(
        "ProviderRefused", f"{label} refused the sign-in ({quoted(error)}).", retryable=False, setting=setting
    )
