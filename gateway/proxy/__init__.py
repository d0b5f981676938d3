"""Bytes from a client to one endpoint and back: streaming, at constant memory, and honest about failure.

Decides how a request travels; refuses to know users, routes and the store. The router above picks the
`Endpoint` and the `UpstreamHead`, and may hold and dial again on `DialError`, for then nothing was sent.
Read `forward.py` next, then `upstream.py`.
"""

from gateway.proxy.endpoint import Endpoint, UpstreamHead, forwarded_headers
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import NO_ACTIVITY, Activity, DialError, Failure, NoActivity, Outcome
from gateway.proxy.proxy import Proxy

__all__ = [
    "NO_ACTIVITY",
    "Activity",
    "DialError",
    "Endpoint",
    "Failure",
    "Limits",
    "NoActivity",
    "Outcome",
    "Proxy",
    "UpstreamHead",
    "forwarded_headers",
]
