"""The socket of a virtual laboratory: who is connected, and what they ask. No JAX."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmctl.bridge.virtual.wire import LONGEST, send, take
from swarmctl.core.errors import DeviceError, SwarmctlError

Answer = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""(what is asked, the message) -> the reply."""

ALONE = ("camera", "light", "coils", "stage")
"""Roles that one connection at a time can have."""


class Server:
    """Answers messages on a local socket in a folder that only this user can enter."""

    def __init__(self, answer: Answer, greeting: Mapping[str, Any], shared: Sequence[int]) -> None:
        """Listen. `greeting` and the descriptors `shared` are what a new connection is told."""
        self._answer, self._greeting, self._shared = answer, greeting, shared
        self._folder = Path(tempfile.mkdtemp(prefix="swarmctl-"))
        self.path = self._folder / "sample"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._roles: dict[socket.socket, str] = {}

    def connected(self, role: str) -> bool:
        """Whether somebody has this role."""
        return role in self._roles.values()

    def poll(self, timeout: float) -> None:
        """Wait up to `timeout` s for messages and answer them."""
        for found, _ in self._selector.select(max(timeout, 0.0)):
            if found.fileobj is self._listener:
                self._accept()
            else:
                self._read(found.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._listener.accept()
            peer.settimeout(1.0)
            self._selector.register(peer, selectors.EVENT_READ)
            self._buffers[peer] = bytearray()

    def _read(self, peer: socket.socket) -> None:
        buffer = self._buffers[peer]
        try:
            data = peer.recv(LONGEST)
            buffer += data
            while data and (message := take(buffer)) is not None:
                self._reply(peer, message)
        except (OSError, DeviceError):
            data = b""  # whoever talks nonsense is left alone
        if not data:
            self._drop(peer)

    def _reply(self, peer: socket.socket, message: Mapping[str, Any]) -> None:
        asked = str(message.get("ask"))
        if asked == "hello":
            role = str(message.get("role"))
            if role in ALONE and self.connected(role):
                send(peer, {"error": f"the {role} of this laboratory is in use by another."})
                return
            self._roles[peer] = role
            send(peer, self._greeting, self._shared)
            return
        try:
            send(peer, self._answer(asked, message))
        except (SwarmctlError, TypeError, ValueError) as error:
            send(peer, {"error": str(error)})

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._buffers[peer]
        self._roles.pop(peer, None)
        peer.close()

    def close(self) -> None:
        """Hang up, and remove the socket."""
        for peer in list(self._buffers):
            self._drop(peer)
        self._selector.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        shutil.rmtree(self._folder, ignore_errors=True)
