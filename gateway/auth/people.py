"""Whether somebody who signed in may come in now, and as what: their Account, held against the policies.

Decides nothing by itself (:mod:`gateway.auth.admission` does, purely); brings together what the worker knows
and the time. Asked at every sign-in, and again whenever an Account or a policy changed.
"""

from datetime import UTC, datetime
from typing import Final

from gateway.auth.admission import CLOSED, Admission, Admitted, House, Pending, Refused, admission
from gateway.routes.table import Table
from state.kinds.access_policy import Role
from state.kinds.account import Account, Decision
from state.kinds.app import app_of

FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


class People:
    """One a worker."""

    def __init__(self, table: Table, house: House) -> None:
        self._table = table
        self._house = house

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

    def is_pending(self, account: Account) -> bool:
        """Whether they wait for an admin."""
        return isinstance(self.admission(account), Pending)

    def _admission_of_apps(self, account: Account, name: str) -> Admission:
        """An App's user who has an Account (the local developer): theirs is the App's template."""
        if account.spec.decision is Decision.BANNED:
            return Refused(CLOSED)
        app = self._table.app(name)
        template = self._house.default_template if app is None else app.spec.template
        return Admitted(template, Role.USER, FOR_EVER)
