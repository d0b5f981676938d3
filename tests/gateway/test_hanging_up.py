"""Whoever leaves in the middle of a form is nobody's fault: no error, nor a traceback to pile up."""

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.accesslog import AccessLog
from tests.gateway.conftest import one_worker
from tests.gateway.rig import Rig, until


@one_worker
async def test_who_hangs_up_in_the_middle_of_a_form_is_no_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(AccessLog, "note", lambda _self, asked, _s: reasons.append(asked.reason))
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    head = f"POST /signout HTTP/1.1\r\nHost: localhost:{rig.port}\r\nContent-Length: 100\r\n\r\ncsrf="
    with capture_logs() as logs:
        writer.write(head.encode())
        await writer.drain()
        await asyncio.sleep(0.1)  # it is being read
        writer.transport.abort()
        await until(lambda: bool(reasons))
    assert reasons == ["ClientGone"]
    assert [line for line in logs if line["log_level"] == "error"] == []
