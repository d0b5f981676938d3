"""Rings between processes on one kernel: a datagram socket each, in one folder.

Decides whom to ring and sweeps what the dead left. A lost ring costs a poll's time, never a change, so
nothing here raises to whoever wrote. Next: :mod:`state.store.bell`, which it rings.
"""

import asyncio
import os
import secrets
import socket
from itertools import islice
from pathlib import Path

import structlog
from sqlalchemy import Connection

from state.store.bell import Bell
from state.store.kernel import make_folder
from state.store.rights import acting_as_owner

SOCKET_MODE = 0o660
DOORBELLS_RUNG_MAX = 256  # at one commit; whoever is beyond it has its poll
NAMES_READ_MAX = 1024  # of whatever lies there, at one commit
RINGS_READ_MAX = 64  # datagrams taken off at once; more of them say nothing more
PATH_BYTES_MAX = 107  # Source: unix(7), sun_path with its final NUL
_SUFFIX = ".sock"

_log = structlog.get_logger(__name__)


class Doorbell:
    """This process's socket in ``folder``, and the way to everybody else's. A :class:`sql.Ringer`."""

    def __init__(self, folder: Path, bell: Bell) -> None:
        self._folder = folder
        self._bell = bell
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._socket: socket.socket | None = None
        self._folder_descriptor: int | None = None

    @classmethod
    def listening(cls, folder: Path, bell: Bell) -> "Doorbell":
        doorbell = cls(folder, bell)
        doorbell.listen()
        return doorbell

    def listen(self) -> None:
        """Be rung from now on; where that cannot be, say so once: the poll stands behind it."""
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with acting_as_owner(self._folder.parent):
                make_folder(self._folder)
                self._folder_descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                ours.bind(self._address(self._name))
                (self._folder / self._name).chmod(SOCKET_MODE)
        except OSError as error:
            ours.close()
            _log.warning("doorbell.lost", folder=str(self._folder), why=error.strerror)
            return
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._rung)

    def ring_with(self, connection: Connection) -> None:
        """Nothing goes with the transaction: a datagram sent before the commit would be heard too early."""

    def ring(self) -> None:
        """Ring everybody else. Called from the writing thread; never waits."""
        if self._socket is None:
            return
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry in islice(entries, NAMES_READ_MAX)]
        except OSError:
            return
        others = (name for name in names if name.endswith(_SUFFIX) and name != self._name)
        for name in islice(others, DOORBELLS_RUNG_MAX):
            self._ring(name)

    async def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with acting_as_owner(self._folder.parent):
                (self._folder / self._name).unlink(missing_ok=True)
        if self._folder_descriptor is not None:
            os.close(self._folder_descriptor)
            self._folder_descriptor = None

    def _ring(self, name: str) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(b"!", self._address(name))
        except ConnectionRefusedError:  # nobody has it bound: its process died
            (self._folder / name).unlink(missing_ok=True)
        except OSError:
            pass  # full: it is rung already; gone or forbidden: its poll will do

    def _rung(self) -> None:
        assert self._socket is not None
        try:
            for _ in range(RINGS_READ_MAX):
                self._socket.recv(16)
        except BlockingIOError:
            pass
        self._bell.ring()

    def _address(self, name: str) -> str:
        """The socket's path, by way of the folder's descriptor where it would be too long."""
        path = str(self._folder / name)
        if len(os.fsencode(path)) <= PATH_BYTES_MAX:
            return path
        return f"/proc/self/fd/{self._folder_descriptor}/{name}"
