"""The socket side of a gateway worker: HTTP and WebSocket clients in, ASGI out.

`serve.py` sets it up, `connection.py` is one client, `cycle.py` one request. It knows no route and no user.
"""

from gateway.server.limits import ServerLimits
from gateway.server.serve import GatewayServer, PatientServer, build_server, listen

__all__ = ["GatewayServer", "PatientServer", "ServerLimits", "build_server", "listen"]
