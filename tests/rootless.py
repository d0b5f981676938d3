"""A Podman service of a user's own: rootless, as far as the machine lets it be.

The user is known in the service's mount namespace alone, with the range of subordinate ids that rootless
containers take: nothing is written below /etc. What stays until the end is their runtime directory.
"""

import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import environment, found
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.engine_api import Engine, answers
from mcpgw.bootstrap.podman import ensure_podman, settings_file
from mcpgw.testing.waiting import until
from tests.engines import RealEngine
from tests.other_user import OtherUser

UIDS = range(61_200, 64_800)
"""Source: Debian Policy 9.2.2, nobody's; and of those, not what systemd gives out."""
TUN = 10, 200
"""Source: Linux, Documentation/networking/tuntap."""
SUBORDINATE_FIRST, SUBORDINATE_COUNT = 600_100_000, 65_536
COMMAND_S_MAX = 60.0
NEEDED = {"newuidmap": "uidmap", "slirp4netns": "slirp4netns", "fuse-overlayfs": "fuse-overlayfs"}
_SERVE = """
for name in passwd group subuid subgid; do mount --bind "$ETC/$name" "/etc/$name"; done
mount --bind "$ETC/tun" /dev/net/tun
exec "$@"
"""


class RootlessPodman:
    def __init__(self, folder: Path) -> None:
        self.user = OtherUser(secrets.choice(UIDS))
        self.folder = folder
        self.home, self._etc = folder / "home", folder / "etc"
        self.runtime_dir = Path(f"/run/user/{self.user.uid}")  # Podman wants it below /run
        self.socket = self.runtime_dir / "podman" / "podman.sock"
        self.url = f"unix://{self.socket}"
        self.engine = RealEngine("podman", self.url, "")
        self._log = folder / "service.log"
        self._service: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a sign-in sets."""
        return {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.runtime_dir)}

    def open(self) -> None:
        ensure_podman()
        if missing := [package for program, package in NEEDED.items() if found(program) is None]:
            debian.install(missing, why="rootless Podman")
        for folder in (self.home, self.socket.parent, self._etc):
            folder.mkdir(parents=True)
        self._write_etc()
        self.user.give(self.home)
        self.user.give(self.runtime_dir)
        own = {**self.environment, "ETC": str(self._etc), "CONTAINERS_CONF": str(self._settings())}
        with self._log.open("wb") as log:
            self._service = subprocess.Popen(
                (
                    *("unshare", "--mount", "--propagation=private", "sh", "-ec", _SERVE, "sh"),
                    *self.user.bare_words,
                    *("podman", "system", "service", "--time=0", self.url),
                ),
                env=environment(own),
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: answers(self.url), f"rootless Podman answers; its log is {self._log}")
        self.engine = RealEngine("podman", self.url, ensure_demo_image(Engine("podman", self.url)))

    def close(self) -> None:
        if self._service is not None:
            self._service.terminate()
            self._service.wait(COMMAND_S_MAX)
        for process in Path("/proc").glob("[0-9]*"):  # keepers, and a keeper of the namespace
            with suppress(OSError):
                if process.stat().st_uid == self.user.uid:
                    os.kill(int(process.name), 9)
        for folder in (self.home, self.runtime_dir):
            shutil.rmtree(folder, ignore_errors=True)

    def _settings(self) -> Path:
        copy = self.folder / "containers.conf"
        copy.write_text(settings_file().read_text())
        copy.chmod(0o644)
        self.folder.chmod(0o755)
        return copy

    def _write_etc(self) -> None:
        # Open to everybody, as udev leaves the machine's own; where there is no udev, that is root's.
        os.mknod(self._etc / "tun", stat.S_IFCHR | 0o666, os.makedev(*TUN))
        (self._etc / "tun").chmod(0o666)
        ids = f"{self.user.uid}:{SUBORDINATE_FIRST}:{SUBORDINATE_COUNT}\n"
        added = {
            "passwd": f"mcpgw-test:x:{self.user.uid}:{self.user.uid}::{self.home}:/bin/sh\n",
            "group": f"mcpgw-test:x:{self.user.uid}:\n",
            "subuid": ids,
            "subgid": ids,
        }
        for name, line in added.items():
            (self._etc / name).write_text((Path("/etc") / name).read_text() + line)


@contextmanager
def rootless_podman(folder: Path) -> Iterator[RootlessPodman]:
    podman = RootlessPodman(folder)
    try:
        podman.open()
        yield podman
    finally:
        podman.close()
