"""One run of wrk: requests per second, the median latency, and what failed."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
LOAD_CORE = "1"  # the proxy under test has the other one to itself
GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What every run sends: the same call with the same access token, whoever is in front."""

    host: str
    token: str


@dataclass(frozen=True, slots=True)
class Burst:
    per_s: float
    p50_ms: float
    requests: int
    failed: int


def burst(load: Load, port: int, connections: int, seconds: int) -> Burst:
    words = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}"]
    words += ["--timeout", "10", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/mcp"]
    chosen = {"BENCH_HOST": load.host, "BENCH_TOKEN": load.token}
    environment = {**os.environ, **chosen}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=seconds + GRACE_S, check=True
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return Burst(
        per_s=told["requests"] / told["duration_us"] * 1e6,
        p50_ms=told["p50_us"] / 1000,
        requests=told["requests"],
        failed=told["failed"],
    )
