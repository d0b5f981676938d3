"""The local developer's sign-in: a one-time link, printed in the terminal of whoever started the gateway.

It exists only while no identity provider is configured, on a socket that only this machine can reach.
The local developer is the user ``developer`` of the App named ``local``, whose key the printed client snippet
carries: the page and the pasted snippet reach the same container.
"""

from gateway.auth.identity import Identity
from gateway.auth.sessions import TicketKind, Tickets, key_of, mint_secret
from state.kinds.account import Claims
from state.kinds.app import APP_PROVIDER, app_user

LOCAL_APP = "local"
LOCAL_USER_ID = "developer"
LINK_S = 15 * 60.0


def local_identity() -> Identity:
    """Whom the link signs in: there is no provider to say more of them."""
    return Identity(APP_PROVIDER, f"{LOCAL_APP}.{LOCAL_USER_ID}", Claims(name="Local developer"))


def local_user() -> str:
    user = app_user(LOCAL_APP, LOCAL_USER_ID)
    assert user is not None, "the id is well-formed"
    return user


async def mint_sign_in_link(tickets: Tickets, gateway_origin: str) -> str:
    """A link that signs the local developer in, once, within LINK_S. Show it to nobody but them."""
    code = mint_secret()
    await tickets.put(TicketKind.SIGN_IN_CODE, key_of(code), {"user": local_user()}, LINK_S)
    return f"{gateway_origin}/signin?code={code}"


async def redeem_sign_in_code(tickets: Tickets, code: str) -> str | None:
    """The user whom ``code`` signs in; None where it is unknown, used or over."""
    record = await tickets.take(TicketKind.SIGN_IN_CODE, key_of(code))
    return None if record is None else record["user"]
