"""The manifests of a house: the demo workload, quick to be ready and quick to be found ill.

Next: :mod:`mcpgw.testing.house`.
"""

import json
from collections.abc import Mapping, Sequence

APP = "house"

_TEMPLATE = """apiVersion: mcp-gateway/v1
kind: ContainerTemplate
metadata: {{name: {name}}}
spec:
  image: {image}
  pull: Never
  port: 8080
  env: {env}
  inputs: {inputs}
  data: {{mountPath: /data, retainDays: 30}}
  resources: {{memory: 256Mi, cpus: 1, pids: 128, shm: 16Mi}}
  probes:
    startup: {{http: /health, periodSeconds: 1, timeoutSeconds: {startup_s:g}}}
    liveness: {{http: /health, periodSeconds: {period_s:g}, timeoutSeconds: 2, failures: {failures}}}
  routes:
    - {{path: /mcp, match: prefix, access: owner, protocol: mcp}}
    - {{path: /, match: exact, access: owner}}
    - {{path: /ws, access: owner}}
    - {{path: /sse, access: owner}}
    - {{path: /upload, access: owner}}
    - {{path: /download, access: owner}}
    - {{path: /headers, access: owner}}
    - {{path: /cookie, access: owner}}
    - {{path: /calls, access: owner}}
    - {{path: /control, access: owner}}
    - {{path: /link, access: link}}
    - {{path: /static, access: any}}
  security: {{user: "1000:1000", readOnlyRoot: true, egress: {egress}}}
"""
_ENVIRONMENT = {"PORT": "8080", "DATA_DIR": "/data", "DEMO_CONTROLS": "1"}
_USER = """apiVersion: mcp-gateway/v1
kind: UserContainer
metadata: {{name: {name}}}
spec: {spec}
"""


def demo_template(
    image: str,
    *,
    name: str = "demo",
    env: Mapping[str, str] | None = None,
    inputs: Sequence[Mapping[str, object]] = (),
    egress: str = "Internet",
    startup_s: float = 30,
    period_s: float = 1,
    failures: int = 3,
) -> str:
    """A manifest of the demo workload. ``env`` is added to its environment; ``inputs`` are left to users."""
    written = json.dumps({**_ENVIRONMENT, **(env or {})})
    return _TEMPLATE.format(
        name=name,
        image=image,
        env=written,
        inputs=json.dumps(list(inputs)),
        egress=egress,
        startup_s=startup_s,
        period_s=period_s,
        failures=failures,
    )


def user_manifest(user_id: str, **spec: object) -> str:
    """A manifest of a UserContainer for one of the house's users, named after them."""
    written = {"user": user_of(user_id), "template": "demo", **spec}
    return _USER.format(name=user_id, spec=json.dumps(written))


def user_of(user_id: str) -> str:
    """The full name of a user of the house's App."""
    return f"app:{APP}.{user_id}"
