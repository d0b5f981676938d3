"""The way from the account page into a Home's own origin, which shares no cookie with it: a one-time code.

The code names user and Home; whoever brings it gets a session there, for that Home alone.
"""

from dataclasses import dataclass

from gateway.auth.sessions import TicketKind, Tickets, Visitor, key_of, mint_secret

CODE_S = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What a code is good for."""

    user: str
    home: str
    opened_by: str  # the gateway session that asked for it
    opened_at: float  # and when that was opened, as Unix seconds


async def mint_entry_code(tickets: Tickets, visitor: Visitor, home: str) -> str:
    """A code with which ``visitor`` enters ``home``, once, within CODE_S. That it is theirs was checked."""
    code = mint_secret()
    record = {"user": visitor.user, "home": home, "opened_by": visitor.key}
    record["opened_at"] = repr(visitor.opened_at)
    await tickets.put(TicketKind.HOME_CODE, key_of(code), record, CODE_S)
    return code


async def redeem_entry_code(tickets: Tickets, code: str, home: str) -> Entry | None:
    """What ``code`` allows at ``home``; None where it is unknown, used, over, another Home's, or
    the session that asked for it ended.
    """
    record = await tickets.get(TicketKind.HOME_CODE, key_of(code))  # nonsense does not take the writer's turn
    if record is None or await tickets.take(TicketKind.HOME_CODE, key_of(code)) is None:
        return None
    if record["home"] != home or await tickets.get(TicketKind.SESSION, record["opened_by"]) is None:
        return None
    return Entry(record["user"], record["home"], record["opened_by"], float(record["opened_at"]))
