"""Who owns a rig: one supervisor, found by others through a lock file beside the rig file.

Linux only: the supervisor also answers on an abstract socket, so that its answer needs no disk.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from pathlib import Path

from swarmctl.bridge.orders import Report, Standing
from swarmctl.bridge.supervisor.messages import read_report
from swarmctl.bridge.supervisor.wire import Unpacker
from swarmctl.core.errors import LinkError, SupervisorLostError
from swarmctl.records.files import FileLock

BY_HAND = "Cut the power of the light and of the coils by hand."


def rig_lock(rig: str | Path) -> FileLock:
    """Return the lock of a rig file, not taken."""
    path = Path(rig).resolve()
    return FileLock(path.with_name(f".{path.name}.lock"))


def answer_address(rig: str | Path) -> str:
    """Return the address at which the supervisor of a rig reports."""
    path = os.fspath(Path(rig).resolve())
    return f"\0swarmctl-supervisor-{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def ask_report(rig: str | Path, timeout: float = 0.2) -> Report | None:
    """Return the report of the supervisor of a rig, None if it does not answer in `timeout` s."""
    unpacker = Unpacker()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(answer_address(rig))
            while data := connection.recv(65536):
                for message in unpacker.feed(data):
                    return read_report(message)
        except (OSError, LinkError):
            return None
    return None


def stop_rig(rig: str | Path, timeout: float = 2.0) -> Report:
    """Stop a rig in an emergency, from any process: FAULT, outputs safe at once, latched.

    Returns the supervisor's report once every output has said that it is safe. Raises
    SupervisorLostError if no supervisor owns the rig or if the safe state is not confirmed within
    `timeout` s.
    """
    lock = rig_lock(rig)
    if lock.acquire():
        lock.release()
        raise SupervisorLostError(
            f"{rig}: no supervisor owns this rig, so nobody can be told to stop. If something is "
            f"still on: {BY_HAND}"
        )
    try:
        owner = lock.path.read_text().strip()
    except OSError:
        owner = ""  # it has just ended
    if not owner.isdigit():
        raise SupervisorLostError(f"{lock.path} names no process. {BY_HAND}")
    try:
        os.kill(int(owner), signal.SIGUSR1)
    except (ProcessLookupError, PermissionError) as error:
        raise SupervisorLostError(
            f"{rig}: the supervisor, process {owner}, cannot be told: {error.strerror}. {BY_HAND}"
        ) from None
    end = time.monotonic() + timeout
    report = None
    while time.monotonic() < end:
        report = ask_report(rig)
        if report is not None and report.standing is Standing.FAULT:
            if report.safe_confirmed < float("inf"):
                return report
        elif report is not None and report.standing is Standing.DISCONNECTED:
            return report
        time.sleep(0.01)
    said = "does not answer" if report is None else f"says: {report.fault}"
    raise SupervisorLostError(
        f"{rig}: told to stop, but the safe state was not confirmed within {timeout:g} s; the "
        f"supervisor, process {owner}, {said}. {BY_HAND}"
    )
