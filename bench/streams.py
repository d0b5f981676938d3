"""What open streams, disconnects and large bodies cost the gateway, over raw sockets.

``proxy.sse_kib``: resident memory per idle event stream. ``proxy.disconnect_ms``: from the client's close to
the upstream's seeing it. ``proxy.rss_growth``: the peak of resident memory during 1 GiB up and 1 GiB down,
over what was resident before.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from bench.fronts import Fronts
from bench.results import Sample
from bench.upstream import FLOOD_BYTES, PIECE

STREAMS = 500
DISCONNECTS, DISCONNECTS_QUICK = 30, 5
SETTLE_S = 2.0
ANSWER_S_MAX = 120.0
KIB_PER_MIB = 1024


def run(standing: Fronts, *, quick: bool) -> list[Sample]:
    # First: later the heap has room from the load before.
    before_kib, after_kib = _idle_streams_kib(standing)
    disconnects = [_disconnect_ms(standing) for _ in range(DISCONNECTS_QUICK if quick else DISCONNECTS)]
    up_mib, down_mib = _growth_mib(standing, _upload), _growth_mib(standing, _download)
    return [
        Sample("proxy.disconnect_ms", tuple(disconnects), "client's close to the upstream's end of stream"),
        Sample(
            "proxy.rss_growth",
            (max(up_mib, down_mib),),
            "peak over before, 1 GiB up and then 1 GiB down",
            {"up MiB": (up_mib,), "down MiB": (down_mib,)},
        ),
        Sample(
            "proxy.sse_kib",
            ((after_kib - before_kib) / STREAMS,),
            f"resident memory over {STREAMS} idle streams",
            {"before KiB": (float(before_kib),), "with all streams open KiB": (float(after_kib),)},
        ),
    ]


def _idle_streams_kib(standing: Fronts) -> tuple[int, int]:
    """What is resident before the streams, and while all of them are open."""
    before_kib = _status_kib(standing.gateway_pid, "VmRSS")
    opened = [_ask(standing, "GET", "/mcp") for _ in range(STREAMS)]
    for one in opened:
        assert one.recv(4096).startswith(b"HTTP/1.1 200"), "the stream is open"
    time.sleep(SETTLE_S)
    after_kib = _status_kib(standing.gateway_pid, "VmRSS")
    for one in opened:
        one.close()
    return before_kib, after_kib


def _disconnect_ms(standing: Fronts) -> float:
    client = _ask(standing, "POST", "/mcp/hang", 0)
    assert standing.upstream_says.readline() == "held\n"
    closed_at = time.monotonic()
    client.close()
    return (float(standing.upstream_says.readline()) - closed_at) * 1000


def _growth_mib(standing: Fronts, transfer: Callable[[Fronts], None]) -> float:
    before_kib = _status_kib(standing.gateway_pid, "VmRSS")
    # Source: proc(5): 5 resets the peak.
    Path(f"/proc/{standing.gateway_pid}/clear_refs").write_text("5")
    transfer(standing)
    return (_status_kib(standing.gateway_pid, "VmHWM") - before_kib) / KIB_PER_MIB


def _upload(standing: Fronts) -> None:
    client = _ask(standing, "POST", "/mcp/sink", FLOOD_BYTES)
    for _ in range(FLOOD_BYTES // len(PIECE)):
        client.sendall(PIECE)
    assert client.recv(4096).startswith(b"HTTP/1.1 200"), "the upload was answered"
    client.close()


def _download(standing: Fronts) -> None:
    client = _ask(standing, "POST", "/mcp/flood", 0)
    left = FLOOD_BYTES
    while left > 0:
        piece = client.recv(len(PIECE))
        assert piece, f"cut off {left} bytes before the end"
        left -= len(piece)  # the head's bytes are counted too; the rest comes before the close
    client.close()


def _ask(standing: Fronts, method: str, path: str, length: int | None = None) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", standing.gateway), timeout=ANSWER_S_MAX)
    load = standing.load
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {load.host}",
        f"Authorization: Bearer {load.token}",
        "Accept: application/json, text/event-stream",
    ]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


def _status_kib(pid: int, field: str) -> int:
    """Source: proc(5), /proc/pid/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])
