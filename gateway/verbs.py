"""What the gateway asks of the reconciler once: a restart, sleep, or to be woken. Never a spec edit.

Each is one function of a transaction. There is one Request a user at the most: the newest counts, and what
was asked for before is forgotten, done or not. Next: :mod:`state.kinds.request`.
"""

from uuid import uuid4

from state.kinds.request import Outcome, Request, RequestSpec, Verb, request_key
from state.kinds.resource import Metadata
from state.kinds.user_container import UserContainer
from state.store.port import Tx


def ask(tx: Tx, owner: UserContainer, verb: Verb, asked_by: str) -> None:
    """Ask for ``verb``, unless that waits already, or exactly that UserContainer is no more."""
    if _standing(tx, owner) is None:
        return
    last = tx.by_unique_key(Request, request_key(owner.name))
    if last is not None:
        if last.spec.verb is verb and last.status.outcome is Outcome.PENDING:
            return
        tx.delete(last)
    spec = RequestSpec(user_container=owner.name, verb=verb, asked_by=asked_by, asked_at=tx.now)
    tx.create(Request(metadata=Metadata(name=f"{verb.lower()}-{uuid4().hex}"), spec=spec))


def ask_to_wake(tx: Tx, owner: UserContainer, asked_by: str) -> None:
    """Ask to wake whoever sleeps by the store's own word, unless something that wakes them waits already.

    What the asker knew may be old: whoever is up, and just asked for sleep, is not to lose that.
    """
    current = _standing(tx, owner)
    if current is None or current.status.asleep_since is None:
        return
    last = tx.by_unique_key(Request, request_key(owner.name))
    wakes = last is not None and last.spec.verb in (Verb.WAKE, Verb.RESTART)
    if last is None or not wakes or last.status.outcome is not Outcome.PENDING:
        ask(tx, owner, Verb.WAKE, asked_by)


def _standing(tx: Tx, owner: UserContainer) -> UserContainer | None:
    """Exactly that object: one that was made anew under its name is not meant."""
    current = tx.get(UserContainer, owner.name)
    is_same = current is not None and current.uid == owner.uid and not current.metadata.is_deleted
    return current if is_same else None
