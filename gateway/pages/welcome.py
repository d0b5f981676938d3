"""What signing in for oneself and for a program have in common. Next: :mod:`gateway.pages.sign_in`."""

from typing import Final

from gateway.auth.admission import Admitted, Pending, Refused, SignInAgain
from gateway.pages.desk import Desk
from gateway.problems import forbidden
from state.kinds.account import Account

PROVIDER_TARGETS: Final = " https: http://localhost:* http://127.0.0.1:*"
"""Where a sign-in form's answer may lead: an identity provider may send people on as it likes."""


def refuse_unwelcome(desk: Desk, account: Account) -> None:
    """Raises Problem (403) for who may not come in at all; who waits for an admin may see that they do."""
    match desk.people.admission(account):
        case Refused(why):
            raise forbidden(why, "NotAdmitted")
        case SignInAgain(why):
            raise forbidden(f"{why} The provider did not say what is needed.", "ClaimsMissing")
        case Admitted() | Pending():
            return


def name_of(desk: Desk, user: str) -> str:
    """What somebody is called at the top of a page: as their provider calls them, else by their id."""
    account = desk.table.account(user)
    if account is None:
        return user
    claims = account.spec.claims
    email = next(iter(claims.emails or ()), "")
    return claims.login or email or claims.name or user
