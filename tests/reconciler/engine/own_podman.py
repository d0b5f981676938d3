"""A Podman service on a host of the test's own: its containers' networks, and what is in their way, are its.

Images and containers are kept where the machine's Podman keeps them; only networks are made elsewhere.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcpgw.bootstrap.engine_api import answers
from mcpgw.bootstrap.podman import settings_file
from mcpgw.testing.waiting import until
from tests.netns import COMMAND_S_MAX, Host


@contextmanager
def podman_on(host: Host, folder: Path) -> Iterator[str]:
    """The URL of its API, while it runs."""
    url = f"unix://{folder}/podman.sock"
    own = {"CONTAINERS_CONF": str(settings_file())}
    command = ("nsenter", f"--net=/run/netns/{host.name}", "podman", "system", "service", "--time=0", url)
    with subprocess.Popen(command, env={**os.environ, **own}) as service:
        try:
            until(lambda: answers(url), "the Podman service answers")
            yield url
        finally:
            service.terminate()
            service.wait(COMMAND_S_MAX)
