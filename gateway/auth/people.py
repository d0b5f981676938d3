"""Whether somebody who signed in may come in now, and as what: their Account, held against the policies.

Decides nothing by itself (:mod:`gateway.auth.admission` does, purely); brings together what the worker knows
and the time. Asked at every sign-in, and again whenever an Account or a policy changed.
"""

from datetime import UTC, datetime
from typing import Final

from gateway.auth.admission import CLOSED, Admission, Admitted, House, Pending, Refused, admission
from gateway.auth.identity import Identity
from gateway.routes.table import Table
from state.kinds.access_policy import Role
from state.kinds.account import Account, AccountSpec, Decision, account_name
from state.kinds.app import app_of
from state.kinds.resource import Metadata

FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


class People:
    """One a worker."""

    def __init__(self, table: Table, house: House, *, has_local_sign_in: bool) -> None:
        self._table = table
        self._house = house
        self._has_local_sign_in = has_local_sign_in

    def admission(self, account: Account) -> Admission:
        """What holds for ``account`` at this moment."""
        app = app_of(account.spec.user)
        if app:
            return self._admission_of_apps(account, app)
        return admission(account, self._table.policies, self._house, datetime.now(UTC))

    def admitted(self, user: str) -> Admitted | None:
        """The same by name; None for who may not come in, or never signed in."""
        account = self._table.account(user)
        found = None if account is None else self.admission(account)
        return found if isinstance(found, Admitted) else None

    def refuse_stranger(self, identity: Identity) -> str:
        """Why somebody who was never here may not come in; empty where they may, or were here before.

        Nothing is kept of whom nobody let in.
        """
        if self._table.account(identity.user) is not None:
            return ""
        now = datetime.now(UTC)
        spec = AccountSpec(user=identity.user, claims=identity.claims, claims_at=now)
        account = Account(metadata=Metadata(name=account_name(identity.user)), spec=spec)
        found = self.admission(account)
        return found.why if isinstance(found, Refused) else ""

    def stands(self, user: str, since: float) -> bool:
        """Whether what was opened or granted to ``user`` at ``since`` (Unix seconds) is theirs still.

        Not if they were signed out everywhere since, nor if it was for an account that was deleted.
        """
        account = self._table.account(user)
        return account is not None and is_since(account, since)

    def is_pending(self, account: Account) -> bool:
        """Whether they wait for an admin."""
        return isinstance(self.admission(account), Pending)

    def _admission_of_apps(self, account: Account, name: str) -> Admission:
        """An App's user who has an Account (the local developer): theirs is the App's template."""
        if account.spec.decision is Decision.BANNED:
            return Refused(CLOSED)
        if not self._has_local_sign_in:
            return Refused("The developer of this machine signs in no longer: a provider does that now.")
        app = self._table.app(name)
        template = self._house.default_template if app is None else app.spec.template
        return Admitted(template, Role.USER, FOR_EVER)


def is_since(account: Account, since: float) -> bool:
    """Whether something of ``since`` (Unix seconds) is this account's, and from after its last sign-out."""
    made_at, out_at = account.metadata.created_at, account.spec.signed_out_at
    if made_at is not None and since < made_at.timestamp():
        return False  # of an account of the same user that was deleted
    return out_at is None or since > out_at.timestamp()
