"""What the project's image stands on: Python, busybox, nft and certificates of Debian's, and nothing else.

The `Dockerfile` runs this in a stage of its own (`python3 -m mcpgw.bootstrap.base /base`), and
:mod:`mcpgw.bootstrap.project_image` where no build reaches a registry. Next: :mod:`mcpgw.bootstrap.rootfs`.
"""

import sys
from pathlib import Path

from mcpgw.bootstrap import archive, rootfs

ALSO = ("nftables", "ca-certificates")
AUTHORITIES = "usr/share/ca-certificates"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
"""Where Debian's programs look. Source: update-ca-certificates(8), which gathers them as this does."""


def make_base(folder: Path) -> str:
    """Fill the folder, which is made; the Python in it is this Debian's default one, and told (`3.11`)."""
    folder.mkdir(parents=True)
    python = rootfs.python_version()
    rootfs.make(folder, python, also=ALSO)
    archive.compile_python(folder, folder / "usr" / "lib" / f"python{python}")
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    bundle = folder / BUNDLE
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes(b"".join(one.read_bytes() for one in sorted((folder / AUTHORITIES).rglob("*.crt"))))
    return python


if __name__ == "__main__":
    make_base(Path(sys.argv[1]))
