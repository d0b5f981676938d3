"""Reports: what the reconciler says about itself and about each manifest file, for operators.

``Reconciler`` is a single object named after the project; ``ManifestFile`` has one for every file it
read. Next: :mod:`state.kinds.catalog`.
"""

import base64
import hashlib
from typing import Annotated, ClassVar

from pydantic import Field

from state.kinds.resource import Resource, Spec, Status


class ReconcilerSpec(Spec):
    project: str
    epoch_min: int = 0  # `mcpgw thaw` raises it: from this epoch on, the store rules over what it finds


class ReconcilerStatus(Status):
    engine: str = ""  # "docker 20.10.24"
    epoch: int = 0
    world_epoch: int = 0  # the newest one that any container carries
    sealing_key: str = ""  # what users' secrets are sealed with, so that the reconciler alone opens them


class Reconciler(Resource):
    kind: ClassVar[str] = "Reconciler"

    spec: ReconcilerSpec
    status: ReconcilerStatus = ReconcilerStatus()


class ManifestFileSpec(Spec):
    path: Annotated[str, Field(max_length=1024)]


class ManifestFileStatus(Status):
    applied_sha256: str = ""  # of the text whose objects stand in the store


class ManifestFile(Resource):
    kind: ClassVar[str] = "ManifestFile"

    spec: ManifestFileSpec
    status: ManifestFileStatus = ManifestFileStatus()


def manifest_file_name(path: str) -> str:
    """The object's name for a file's path relative to the manifests folder."""
    return "f-" + base64.b32encode(hashlib.sha256(path.encode()).digest()[:15]).decode().lower()
