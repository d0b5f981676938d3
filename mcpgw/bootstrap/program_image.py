"""Makes images of what stands beside the project in its compose file, out of Debian packages.

For tests and benchmarks, in the place of the images that the compose file names: those come from a registry.
Named `mcp-gateway-<program>:<hash>`.
"""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcpgw.bootstrap import archive, rootfs
from mcpgw.bootstrap.command import run
from mcpgw.bootstrap.engine_api import Engine, image_id, import_image
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.progress import step
from mcpgw.bootstrap.release import unpack


@dataclass(frozen=True)
class Program:
    """The Debian packages that hold it, and how its image is started.

    ``newer`` ones come from another release, which its compiled parts have to get on with.
    """

    packages: tuple[str, ...]
    changes: tuple[str, ...]
    newer: tuple[str, ...] = ()


NEWER_RELEASE = "forky"
PATH = "ENV PATH=/usr/bin:/usr/sbin"
PROGRAMS: Mapping[str, Program] = {
    "caddy": Program(
        ("libc6", "busybox-static"),
        (PATH, "ENV XDG_DATA_HOME=/data", "ENV XDG_CONFIG_HOME=/config"),
        newer=("caddy",),  # 2.6 loses the body of a request whose dial was refused
    ),
    "prometheus": Program(
        ("prometheus", "libc6", "busybox-static"), (PATH, 'ENTRYPOINT ["/usr/bin/prometheus"]')
    ),
    "busybox": Program(("busybox-static",), (PATH,)),
}


def ensure_program_image(engine: Engine, name: str) -> str:
    """The image's name by its hash, after making sure that the engine has it."""
    program = PROGRAMS[name]
    key = f"{platform.machine()} {platform.freedesktop_os_release().get('VERSION_CODENAME')} {program}"
    tag = hashlib.sha256(key.encode() + Path(__file__).read_bytes()).hexdigest()[:12]
    reference = f"mcp-gateway-{name}:{tag}"
    with only_one("program-image"):
        if image_id(engine, reference) is None:
            _give(engine, name, tag)
    return reference


def _give(engine: Engine, name: str, tag: str) -> None:
    if not rootfs.can_be_made():
        raise BootstrapError(
            f"an image with {name} is made of Debian packages, and this is no Debian machine",
            mend="Run the tests on Debian",
        )
    program = PROGRAMS[name]
    folder = cache_dir("program-image") / name
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    with step(f"making an image with {name}"):
        rootfs.download(list(program.packages), folder)
        for package in sorted(folder.glob("*.deb")):
            run(("dpkg-deb", "-x", str(package), str(root)), mend=rootfs.MEND)
        if program.newer:
            shutil.copytree(unpack(NEWER_RELEASE, program.newer), root, symlinks=True, dirs_exist_ok=True)
        rootfs.merge_usr(root)
        rootfs.remove_unneeded(root)
        if (root / "usr" / "bin" / "busybox").exists():
            rootfs.link_applets(root)
        _pack(root, folder / "image.tar")
        import_image(
            engine,
            folder / "image.tar",
            repository=f"mcp-gateway-{name}",
            tag=tag,
            changes=list(program.changes),
        )
    shutil.rmtree(folder)


def _pack(root: Path, tar: Path) -> None:
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        for entry in sorted(root.iterdir()):
            file.add(entry, arcname=entry.name, filter=archive.owned_by(0))
        archive.add_folder(file, "tmp", 0, 0o1777)
        archive.add_text(file, "etc/passwd", archive.PASSWD)
        archive.add_text(file, "etc/nsswitch.conf", archive.NSSWITCH)
