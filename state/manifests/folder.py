"""The manifests folder as it is now: for each file its objects, or what is wrong with it.

Decides what is a manifest (``*.yaml`` and ``*.yml`` right in the folder, without editors' files) and when a
file is at rest: a folder is read until two readings agree, so that a file is not taken half-written.
What cannot be read is a problem, never an absence. Next: :mod:`state.manifests.plan`.
"""

import hashlib
import os
import stat
import time
from collections.abc import Mapping as Variables
from dataclasses import dataclass
from pathlib import Path

from state.manifests.parse import Declared, parse_manifest
from state.manifests.problem import ManifestError, Place, Problem
from state.manifests.text import FILE_BYTES_MAX, is_blank

FILES_COUNT_MAX = 1000
FOLDER_BYTES_MAX = 16 << 20
SETTLE_S = 0.05  # between two readings that must agree
SETTLE_READS_MAX = 20
_SUFFIXES = (".yaml", ".yml")
_EDITORS_PREFIXES = (".", "#", "~")


@dataclass(frozen=True, slots=True)
class ManifestRead:
    """One file: what it declares, or its problems and nothing else."""

    path: str  # relative to the folder
    sha256: str = ""
    declared: tuple[Declared, ...] = ()
    problems: tuple[Problem, ...] = ()
    is_blank: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """All files by path; or a ``problem`` of the folder itself, which then says nothing about any file."""

    files: tuple[ManifestRead, ...] = ()
    problem: Problem | None = None


Identity = tuple[int, int]  # a directory's device and inode
_Texts = dict[str, bytes | Problem]


class FolderReader:
    """Reads one folder again and again, parsing only what changed. Blocks: call it in a thread."""

    def __init__(self, folder: Path, variables: Variables[str, str]) -> None:
        self.folder = folder
        self.identity: Identity | None = None  # None: there is no folder
        self._variables = variables
        self._texts: _Texts = {}
        self._parsed: dict[str, ManifestRead] = {}

    def read(self) -> Folder:
        self.identity = _identity(self.folder)
        try:
            texts = self._settled()
        except ManifestError as error:
            return Folder(problem=error.problems[0])
        parsed = {path: self._parse(path, text) for path, text in sorted(texts.items())}
        self._texts, self._parsed = texts, parsed
        return Folder(files=tuple(parsed.values()))

    def _settled(self) -> _Texts:
        """Read until nothing moves; a file that never rests is a problem, and the others go ahead."""
        last, texts = self._texts, read_texts(self.folder)
        for _ in range(SETTLE_READS_MAX):
            if texts == last:
                return texts
            time.sleep(SETTLE_S)
            last, texts = texts, read_texts(self.folder)
        return {path: text if last.get(path) == text else _restless(path) for path, text in texts.items()}

    def _parse(self, path: str, text: bytes | Problem) -> ManifestRead:
        if path in self._parsed and self._texts.get(path) == text:
            return self._parsed[path]
        if isinstance(text, Problem):
            return ManifestRead(path, problems=(text,))
        sha256 = hashlib.sha256(text).hexdigest()
        try:
            declared = parse_manifest(path, text, self._variables)
        except ManifestError as error:
            return ManifestRead(path, sha256, problems=error.problems)
        return ManifestRead(path, sha256, declared, is_blank=is_blank(text))


def _identity(folder: Path) -> Identity | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_texts(folder: Path) -> _Texts:
    """Every manifest's bytes, or why there are none. Raises ManifestError for the folder as a whole."""
    try:
        paths = sorted(path for path in folder.iterdir() if is_manifest(path.name))
    except OSError as error:
        raise _folder_error(f"the folder {folder} cannot be read ({error.strerror})") from None
    if len(paths) > FILES_COUNT_MAX:
        raise _folder_error(f"the folder {folder} holds more than {FILES_COUNT_MAX} manifests")
    texts: _Texts = {}
    room_bytes = FOLDER_BYTES_MAX
    for path in paths:
        name = os.fsencode(path.name).decode(errors="replace")
        texts[name] = text = _text(path, name)
        room_bytes -= len(text) if isinstance(text, bytes) else 0
        if room_bytes < 0:
            raise _folder_error(f"the folder {folder} holds more than {FOLDER_BYTES_MAX >> 20} MiB")
    return texts


def is_manifest(name: str) -> bool:
    """Whether a file of that name is meant to be read: not what editors leave beside it."""
    return name.endswith(_SUFFIXES) and not name.startswith(_EDITORS_PREFIXES)


def _text(path: Path, name: str) -> bytes | Problem:
    """Up to one byte more than allowed, so that the parser sees that it is too much."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Problem(Place(name), "is no regular file", "move it elsewhere")
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        return Problem(Place(name), f"cannot be read ({error.strerror})", "make it readable, or remove it")


def _open_at_once(path: str, flags: int) -> int:
    """A pipe in the folder must not stop the reading of everything else."""
    return os.open(path, flags | os.O_NONBLOCK)


def _restless(path: str) -> Problem:
    return Problem(Place(path), "changes all the time", "write it elsewhere and move it here")


def _folder_error(what: str) -> ManifestError:
    return ManifestError(
        [Problem(Place("."), what, "mend the folder, or set MANIFESTS_DIR to the right one")]
    )
