"""A device's side of a virtual laboratory: its socket and its shared memory. No JAX."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.bridge.virtual.shared_memory import Board, Ring, pixel_type
from swarmctl.bridge.virtual.wire import receive, send
from swarmctl.core.errors import DeviceError

ANSWER = 10.0
"""s in which the laboratory answers; in lockstep it may have to compile and draw many frames."""
SILENT = 2.0
"""s; a laboratory that did nothing for so long hangs."""


class Connection:
    """One device's connection to the sample's process."""

    def __init__(self, address: Path, role: str) -> None:
        """Connect by the laboratory's address file. Raises DeviceError."""
        if not hasattr(socket, "recv_fds"):
            raise DeviceError("the virtual laboratory needs Linux or macOS.")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            where = json.loads(address.read_text(encoding="utf-8"))
            self._socket.settimeout(ANSWER)
            self._socket.connect(where["socket"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._socket.close()
            raise DeviceError(
                f"{address}: no virtual laboratory runs there ({error}); start one, for example "
                "with swarmctl.bridge.virtual.lab.virtual_lab, and give its address.json."
            ) from None
        try:
            self.about = self._greet(role)
        except BaseException:
            self._socket.close()
            raise

    def _greet(self, role: str) -> Mapping[str, Any]:
        """Say who this is, and map the memory that is lent; return what the laboratory says."""
        send(self._socket, {"ask": "hello", "role": role})
        about, descriptors = receive(self._socket, ANSWER)
        try:
            self._map(about, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)  # what is mapped stays
        return about

    def _map(self, about: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        if "error" in about or len(descriptors) != 4:
            raise DeviceError(f"virtual laboratory: {about.get('error', 'no shared memory')}")
        camera, light = about["camera"], about["light"]
        self.board = Board(descriptors[0])
        self.frames = Ring(
            descriptors[1],
            (camera["height"], camera["width"]),
            pixel_type(camera["bits"]),
            about["frames"],
        )
        self.patterns = Ring(
            descriptors[2], (light["height"], light["width"]), np.uint8, about["patterns"]
        )
        count = about["coils"]["coils"]
        self.currents = Ring(descriptors[3], (1, 3 * count + 1), np.float64, about["currents"])
        for ring in (self.frames, self.patterns, self.currents):
            ring.check()

    @property
    def lockstep(self) -> bool:
        """Whether time goes on only when a frame is asked for."""
        return bool(self.about["pacing"] == "lockstep")

    @property
    def clock(self) -> float:
        """s; time.monotonic(), or in lockstep the made-up time of the sample."""
        return self.board.clock if self.lockstep else time.monotonic()

    def ask(self, what: str, **more: Any) -> Mapping[str, Any]:
        """Ask for something and return the reply.

        Raises DeviceError if it is refused or nobody is there, DeviceTimeoutError.
        """
        try:
            send(self._socket, {"ask": what, **more})
            reply, _ = receive(self._socket, ANSWER)
        except DeviceError:
            self.close()  # a late answer must not be taken for the next one's
            raise
        if "error" in reply:
            raise DeviceError(f"virtual laboratory: {reply['error']}")
        return reply

    def compare(self, part: str, config: object) -> None:
        """Raise DeviceError unless the laboratory's camera or light is what the keys say."""
        for name, found in self.about[part].items():
            wanted = getattr(config, name)
            if abs(found - wanted) > 1e-9:
                raise DeviceError(
                    f"virtual {part}: the laboratory's has {name} {found:g}, the rig says "
                    f"{wanted:g}; correct the rig."
                )

    def check(self) -> None:
        """Raise DeviceError if the laboratory has gone, or does nothing any more."""
        # It says nothing unasked: there is something to be read when it has hung up.
        if self._socket.fileno() < 0 or select.select([self._socket], [], [], 0)[0]:
            raise DeviceError("the virtual laboratory has gone.")
        if not self.lockstep and time.monotonic() - self.board.alive > SILENT:
            raise DeviceError(
                f"the virtual laboratory has done nothing for {SILENT:g} s; does it hang?"
            )

    def close(self) -> None:
        """Hang up; may be called twice."""
        with contextlib.suppress(OSError):
            self._socket.close()
