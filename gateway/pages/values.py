"""What a template leaves to its users: each fills in their own values, and only those that it declares.

Decides what a form may set. Secrets are sealed before they are kept, so that the reconciler alone reads them
again, and are never shown. Next: :mod:`state.kinds.user_inputs`, :mod:`state.sealing`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.pages.answers import asked_of, page, see_other
from gateway.pages.desk import Desk
from gateway.pages.forms import Bounds, signed_form
from gateway.pages.render import draw
from gateway.pages.welcome import name_of
from gateway.problems import bad_request, not_found
from gateway.routes.seat import Seat
from state.kinds.report import Reconciler
from state.kinds.template import INPUTS_COUNT_MAX, Input
from state.kinds.user_container import UserContainer
from state.kinds.user_inputs import (
    VALUES_BYTES_MAX,
    InputValue,
    UserInputs,
    UserInputsSpec,
    key_id_of,
    new_user_inputs,
    why_unfit,
)
from state.sealing import PublicKey
from state.store.port import Tx

VALUE_FIELD: Final = "value."  # and the input's name
CLEAR_FIELD: Final = "clear."
# Every byte of a value may come as three (%XX); then there are the names, and the fields of every form.
FORM_BOUNDS: Final = Bounds(body_bytes_max=4 * VALUES_BYTES_MAX, fields_max=2 * INPUTS_COUNT_MAX + 4)
NOT_SAVED: Final = "Nothing was saved. Mend what is marked below."
NO_KEY: Final = "Secrets cannot be kept yet: the reconciler has not reported. Try again in a moment."

Changes = dict[str, str | None]  # by input; None: it is cleared


@dataclass(frozen=True, slots=True)
class Known:
    """What stands in the store: the user's values, and what secrets are sealed with, if that is known."""

    values: Mapping[str, InputValue]
    lost: frozenset[str]  # names of secrets that nobody can open any more; the next form takes their place
    key: PublicKey | None


@dataclass(frozen=True, slots=True)
class FieldView:
    """One input, as its user sees it."""

    name: str
    title: str
    description: str
    is_hidden: bool
    is_required: bool
    text: str  # never a secret's
    set_at: datetime | None
    error: str


class ValuePages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        await wait_believed(self._desk.table)
        visitor = await self._desk.sessions.visitor(asked_of(request).head)
        if visitor is None or self._desk.people.admitted(visitor.user) is None:
            return see_other("/")  # which says why
        seat, declared = self._asked_for(visitor, request.query_params.get("name", ""))
        known = await self._known(seat)
        return self._page(visitor, seat, [_field(one, known.values.get(one.name)) for one in declared])

    async def save(self, request: Request) -> Response:
        """Everything that was filled in, or nothing: what is wrong is said at its field."""
        visitor, fields = await signed_form(self._desk, request, bounds=FORM_BOUNDS)
        seat, declared = self._asked_for(visitor, fields.pop("name", ""))
        _refuse_undeclared(declared, fields)
        known = await self._known(seat)
        changes, errors = changes_of(declared, fields, known.values)
        changes = {**dict.fromkeys(known.lost), **changes}
        values = {} if errors else _sealed(declared, changes, known.key, owner=seat.resource.uid)
        names = {one.name for one in declared}
        kept = {name: value for name, value in known.values.items() if name in names}
        trouble = NOT_SAVED if errors else NO_KEY if values is None else _trouble(kept, values)
        if trouble or values is None:
            views = [_typed(one, known.values.get(one.name), fields, errors) for one in declared]
            status = HTTPStatus.SERVICE_UNAVAILABLE if values is None else HTTPStatus.UNPROCESSABLE_ENTITY
            return self._page(visitor, seat, views, trouble, status)
        await self._desk.store.transact(lambda tx: _write(tx, seat, names, values), actor=visitor.user)
        return see_other("/")

    # Leaves

    def _asked_for(self, visitor: Visitor, name: str) -> tuple[Seat, tuple[Input, ...]]:
        """Raises Problem (404)."""
        seat = self._desk.own_seat(visitor.user, name)
        declared = self._desk.table.inputs(seat.template)
        if not declared:
            raise not_found("This container leaves no values to you.")
        return seat, declared

    async def _known(self, seat: Seat) -> Known:
        inputs, reconcilers = await self._desk.store.read(
            lambda tx: (tx.get(UserInputs, seat.name), tx.list(Reconciler))
        )
        is_theirs = inputs is not None and inputs.spec.user_container == seat.resource.uid
        values = inputs.spec.values if inputs is not None and is_theirs else {}
        key = _sealing_key(reconcilers)
        lost = frozenset(name for name, one in values.items() if key and not _is_for(key, one))
        return Known({name: one for name, one in values.items() if name not in lost}, lost, key)

    def _page(
        self, visitor: Visitor, seat: Seat, views: list[FieldView], trouble: str = "", status: int = 200
    ) -> Response:
        wanting = seat.wanting
        body = draw(
            "values.html",
            visitor=visitor,
            who=name_of(self._desk, visitor.user),
            seat=seat,
            fields=views,
            first_wrong=next((view.name for view in views if view.error), ""),
            trouble=trouble or (wanting.message if wanting is not None and status == HTTPStatus.OK else ""),
        )
        return page(body, status=status)


def changes_of(
    declared: tuple[Input, ...], fields: Mapping[str, str], kept: Mapping[str, InputValue]
) -> tuple[Changes, dict[str, str]]:
    """What the form changes, and what is wrong with it, both by input. Pure.

    What is hidden and left empty stays, as does what an older form does not ask for.
    """
    changes: Changes = {}
    errors: dict[str, str] = {}
    for one in declared:
        value, typed = kept.get(one.name), fields.get(VALUE_FIELD + one.name)
        is_cleared = CLEAR_FIELD + one.name in fields
        if typed is not None and typed.strip():
            wrong = _why_wrong(one, typed)
            if wrong:
                errors[one.name] = wrong
            elif value is None or value.text != typed:
                changes[one.name] = typed
        elif value is not None and not is_cleared and (typed is None or _is_hidden(one, value)):
            if one.secret and value.text:  # from before it was declared a secret
                changes[one.name] = value.text
        elif one.required:
            errors[one.name] = "Fill this in; there is no container without it."
        elif value is not None:
            changes[one.name] = None
    return changes, errors


def _why_wrong(one: Input, typed: str) -> str:
    unfit = why_unfit(typed)
    if unfit or one.is_matched_by(typed):
        return unfit
    return "It does not have the form that is asked for."


def _sealed(
    declared: tuple[Input, ...], changes: Changes, key: PublicKey | None, *, owner: str
) -> dict[str, InputValue | None] | None:
    """The changes as they are kept. None: there is a secret, and no key to seal it with."""
    secrets = {one.name for one in declared if one.secret}
    now = datetime.now(UTC)
    values: dict[str, InputValue | None] = {}
    for name, text in changes.items():
        if text is None:
            values[name] = None
        elif name not in secrets:
            values[name] = InputValue(text=text, set_at=now)
        elif key is None:
            return None
        else:
            values[name] = InputValue(sealed=key.seal(text, owner=owner, name=name), set_at=now)
    return values


def _trouble(kept: Mapping[str, InputValue], changed: Mapping[str, InputValue | None]) -> str:
    """What is wrong with all values together."""
    together = {**kept, **changed}
    sizes = (len(name) + len((one.text or one.sealed).encode()) for name, one in together.items() if one)
    if sum(sizes) > VALUES_BYTES_MAX:
        return f"All values together are too long: {VALUES_BYTES_MAX >> 10} KiB at most."
    return ""


def _write(tx: Tx, seat: Seat, declared: set[str], changed: Mapping[str, InputValue | None]) -> None:
    """For that very container; what its template no longer asks for is forgotten. Raises Problem (404)."""
    owner, inputs = tx.get(UserContainer, seat.name), tx.get(UserInputs, seat.name)
    if owner is None or owner.uid != seat.resource.uid or owner.metadata.is_deleted:
        raise not_found("This container is gone.")
    if inputs is not None and inputs.spec.user_container != owner.uid:
        tx.delete(inputs)
        inputs = None
    values = {**(inputs.spec.values if inputs is not None else {}), **changed}
    left = {name: one for name, one in values.items() if one is not None and name in declared}
    if inputs is not None:
        tx.update_spec(inputs.replaced(spec=UserInputsSpec(user_container=owner.uid, values=left)))
    elif left:
        tx.create(new_user_inputs(owner, left))


def _sealing_key(reconcilers: Iterable[Reconciler]) -> PublicKey | None:
    """The key of whoever led last: a project that was renamed leaves its old report behind."""
    last_first = sorted(reconcilers, key=lambda one: one.status.epoch, reverse=True)
    keys = (PublicKey.parsed(one.status.sealing_key) for one in last_first)
    return next((key for key in keys if key is not None), None)


def _refuse_undeclared(declared: tuple[Input, ...], fields: Mapping[str, str]) -> None:
    """Raises Problem (400)."""
    known = {field + one.name for one in declared for field in (VALUE_FIELD, CLEAR_FIELD)}
    if not fields.keys() <= known:
        raise bad_request(
            "The form has values that this container does not ask for. Reload the page.", "UnknownInput"
        )


def _is_for(key: PublicKey, value: InputValue) -> bool:
    return not value.sealed or key_id_of(value.sealed) == key.id


def _is_hidden(one: Input, value: InputValue | None) -> bool:
    """A value that was given as a secret is never shown, also where it is no longer declared as one."""
    return one.secret or (value is not None and bool(value.sealed))


def _field(one: Input, value: InputValue | None, *, typed: str | None = None, error: str = "") -> FieldView:
    is_hidden = _is_hidden(one, value)
    text = typed if typed is not None else value.text if value is not None else ""
    return FieldView(
        name=one.name,
        title=one.title,
        description=one.description,
        is_hidden=is_hidden,
        is_required=one.required,
        text="" if is_hidden else text,
        set_at=None if value is None else value.set_at,
        error=error,
    )


def _typed(
    one: Input, value: InputValue | None, fields: Mapping[str, str], errors: Mapping[str, str]
) -> FieldView:
    """The field as it was sent, for its mend; what is hidden has to be typed again."""
    typed = fields.get(VALUE_FIELD + one.name, "")
    if _is_hidden(one, value):
        again = "Type it again." if typed else ""
        return _field(one, value, error=" ".join(filter(None, (errors.get(one.name, ""), again))))
    return _field(one, value, typed=typed, error=errors.get(one.name, ""))
