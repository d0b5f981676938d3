"""`mcpgw fence`: write it, keep it, check it, or take it away. For root, in the host's network namespace.

Decides words and exit codes. Next: :mod:`mcpgw.up`, which keeps a fence of its own.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Literal

from mcpgw.bootstrap.progress import say
from mcpgw.fence.keeping import Fence, keep
from reconciler.settings import ReconcilerSettings
from state.settings import load_settings

Mode = Literal["once", "keep", "check", "remove"]


def fence(env_file: Path, mode: Mode) -> int:
    """The exit code. Raises SettingsError, FenceError."""
    own = Fence(load_settings(ReconcilerSettings, env_file=env_file))
    match mode:
        case "once":
            own.write(kept=False)
            print(_stands(own))
            own.mend_route()
        case "keep":
            asyncio.run(_keep(own))
        case "check":
            return _check(own)
        case "remove":
            own.remove()
            print("the fence is gone: containers are parted from nobody")
    return 0


def _check(own: Fence) -> int:
    if fault := own.fault():
        print(f"mcpgw: the fence does not stand: {fault}; run `mcpgw fence` as root", file=sys.stderr)
        return 1
    print(_stands(own))
    if fault := own.route_fault():
        print(f"mcpgw: {fault}; run `mcpgw fence` as root", file=sys.stderr)
    return 1 if fault else 0


async def _keep(own: Fence) -> None:
    """Until a signal. What cannot be written at the start is an error; later, it is tried again."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await asyncio.to_thread(own.mend)
    say(_stands(own))
    keeping, stopped = asyncio.create_task(keep(own, say)), asyncio.create_task(stopping.wait())
    await asyncio.wait({keeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if keeping.done():  # it ends by nothing but a fault of its own, after which nobody would mend the fence
        await keeping
    keeping.cancel()
    stopped.cancel()
    await asyncio.gather(keeping, stopped, return_exceptions=True)


def _stands(own: Fence) -> str:
    subnets = ", ".join(str(zone.subnet) for zone in own.settings.zones.values())
    trusted = ", ".join(map(str, own.settings.fence_trusted)) or "nobody but the host"
    return f"the fence stands around {subnets}; trusted: {trusted}"
