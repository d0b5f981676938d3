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


async def mint_entry_code(tickets: Tickets, visitor: Visitor, home: str) -> str:
    """A code with which ``visitor`` enters ``home``, once, within CODE_S. That it is theirs was checked."""
    code = mint_secret()
    record = {"user": visitor.user, "home": home, "opened_by": visitor.key}
    await tickets.put(TicketKind.HOME_CODE, key_of(code), record, CODE_S)
    return code


async def redeem_entry_code(tickets: Tickets, code: str, home: str) -> Entry | None:
    """What ``code`` allows at ``home``; None where it is unknown, used, over, or another Home's."""
    record = await tickets.take(TicketKind.HOME_CODE, key_of(code))
    if record is None or record["home"] != home:
        return None
    return Entry(record["user"], record["home"], record["opened_by"])
