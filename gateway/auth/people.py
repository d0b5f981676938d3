"""Whether somebody who signed in may come in now, and as what: their Account, held against the policies.

Decides nothing by itself (:mod:`gateway.auth.admission` does, purely); brings together what the worker knows
and the time. Asked at every sign-in, and again whenever an Account or a policy changed.
"""

from datetime import UTC, datetime

from gateway.auth.admission import (
    CLOSED,
    FOR_EVER,
    Admission,
    Admitted,
    House,
    Judgement,
    Pending,
    Refused,
    is_named_admin,
    judged,
)
from gateway.auth.identity import Identity
from gateway.routes.table import Table
from state.kinds.access_policy import Role
from state.kinds.account import Account, AccountSpec, Decision, account_name
from state.kinds.app import app_of
from state.kinds.resource import Metadata


class People:
    """One a worker."""

    def __init__(self, table: Table, house: House, *, has_local_sign_in: bool) -> None:
        self._table = table
        self._house = house
        self._has_local_sign_in = has_local_sign_in

    def admission(self, account: Account) -> Admission:
        """What holds for ``account`` at this moment."""
        return self.judgement(account).admission

    def judgement(self, account: Account) -> Judgement:
        """The same, with the reason that an operator wants to know."""
        app = app_of(account.spec.user)
        if app:
            return self._judgement_of_app(account, app)
        return judged(account, self._table.policies, self._house, datetime.now(UTC))

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

    @property
    def keeps_unmatched(self) -> bool:
        """Whether anybody can be waiting for an admin at all."""
        return self._house.keeps_unmatched

    @property
    def default_template(self) -> str:
        """What somebody's container is made from where no rule says it."""
        return self._house.default_template

    def is_named_admin(self, account: Account) -> bool:
        """Whether ADMIN_EMAILS names them: an admin by the word of whoever runs the gateway."""
        return is_named_admin(account, self._house)

    def _judgement_of_app(self, account: Account, name: str) -> Judgement:
        """An App's user who has an Account (the local developer): theirs is the App's template."""
        if account.spec.decision is Decision.BANNED:
            return Judgement(Refused(CLOSED), "banned")
        if not self._has_local_sign_in:
            why = "The developer of this machine signs in no longer: a provider does that now."
            return Judgement(Refused(why), "a provider is configured")
        app = self._table.app(name)
        template = self._house.default_template if app is None else app.spec.template
        return Judgement(Admitted(template, Role.USER, FOR_EVER), f"a user of App {name}")


def is_since(account: Account, since: float) -> bool:
    """Whether something of ``since`` (Unix seconds) is this account's, and from after its last sign-out."""
    made_at, out_at = account.metadata.created_at, account.spec.signed_out_at
    if made_at is not None and since < made_at.timestamp():
        return False  # of an account of the same user that was deleted
    return out_at is None or since > out_at.timestamp()
