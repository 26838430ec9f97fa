"""The supervisor's own process: `python -m swarmctl.bridge.supervisor.process RIG AUDIT FD`.

Started by `SupervisorClient`. It owns the outputs of a rig and talks to the loop over a socket that
it inherits. It never imports JAX.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import Rig, read_rig
from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.criteria import Pace, Trip
from swarmctl.bridge.supervisor.guarded import GuardedOutput
from swarmctl.bridge.supervisor.interlock_reader import InterlockReader
from swarmctl.bridge.supervisor.machine import StateMachine
from swarmctl.bridge.supervisor.messages import report_message
from swarmctl.bridge.supervisor.ownership import answer_address, rig_lock
from swarmctl.bridge.supervisor.wire import Message, Unpacker, pack
from swarmctl.core.errors import ArmingError, LinkError, SwarmctlError

TICK = 0.005
"""s between two looks at everything."""
REPORT_PERIOD = 0.05
"""s between two reports to the loop."""
READ_MAX = 2**16
"""Bytes that are read before everything else is looked at again."""
HANDLE_MAX = 0.003
"""s for messages before everything else is looked at again."""
MESSAGES_MAX = 1000
"""Messages a second; more are a fault of the loop."""
UNREAD_MAX = 2**22
"""Bytes that the loop may leave unread; then it is given no more."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class LoopLink:
    """The supervisor's end of the wire to the loop; never waits.

    Attributes:
        ended: whether nothing more is read.

    Args:
        connection: a stream socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.setblocking(False)
        self._unpacker = Unpacker()
        self._unsent = bytearray()
        self._second, self._count = 0, 0
        self._heard: deque[Message] = deque()
        self._mute = False
        self.ended = False

    @property
    def free(self) -> bool:
        """Whether everything was taken by the other side."""
        return not self._unsent

    def say(self, message: Message) -> None:
        """Send a message, or keep it until there is room; dropped if the loop does not read."""
        if not self._mute and len(self._unsent) < UNREAD_MAX:
            self._unsent += pack(message)
            self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        try:
            while self._unsent:
                del self._unsent[: self.connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._mute = True
            self._unsent.clear()

    @property
    def waiting(self) -> bool:
        """Whether there are messages that were read and not taken."""
        return bool(self._heard)

    def take(self) -> Message:
        """Return the oldest message that was read."""
        return self._heard.popleft()

    def read(self, now: float) -> None:
        """Read what has come. Raises LinkError for too many or malformed messages."""
        try:
            data = self.connection.recv(READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return
        messages = self._unpacker.feed(data)
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += len(messages)
        if self._count > MESSAGES_MAX:
            raise LinkError(f"the loop sends more than {MESSAGES_MAX} messages a second.")
        self._heard += messages


def main(arguments: list[str]) -> int:
    """Own the outputs of a rig until the loop closes it or is gone; return the exit status."""
    rig_path, audit_path, handle = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop
    link = LoopLink(socket.socket(fileno=int(handle)))
    lock = rig_lock(rig_path)
    try:
        if not lock.acquire():
            raise ArmingError(
                f"{rig_path}: {lock.owner()} owns this rig already; two cannot. Close that one."
            )
        priority = take_priority()
        _serve(link, Path(rig_path), Path(audit_path), priority)
    except SwarmctlError as error:
        link.connection.setblocking(True)
        kind = type(error).__name__
        with contextlib.suppress(OSError):
            link.connection.sendall(pack(Message("refused", {"error": str(error), "kind": kind})))
        return 1
    finally:
        lock.release()
    return 0


def take_priority() -> str:
    """Ask the operating system to be served first; return what it granted."""
    granted = []
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        granted.append("nice -10")
    with contextlib.suppress(OSError, AttributeError):
        # For this thread only: a driver's thread that spins must not starve the computer.
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(1))
        granted.append("round robin")
    return ", ".join(granted) or "none"


def _serve(link: LoopLink, rig_path: Path, audit_path: Path, priority: str) -> None:
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)

    def wake() -> None:
        with contextlib.suppress(BlockingIOError):
            waker.send(b"\0")

    stops: list[tuple[str, float]] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda n, _: stops.append((signal.Signals(n).name, time.monotonic())))
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    rig = read_rig(rig_path)
    with contextlib.ExitStack() as stack:
        audit = AuditLog(audit_path, wake)
        stack.callback(audit.close)
        machine = _machine(rig, audit, link, wake)
        audit.record(
            "open",
            rig=rig.name,
            digest=rig.digest,
            version=importlib.metadata.version("swarmctl"),
            process=os.getpid(),
            priority=priority,
            unguarded=rig.unguarded,
        )
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(answer_address(rig_path))
        listener.listen()
        listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            for source in (link.connection, woken, listener):
                selector.register(source, selectors.EVENT_READ)
            _run(machine, link, selector, woken, listener, stops)


def _machine(rig: Rig, audit: AuditLog, link: LoopLink, wake: Callable[[], None]) -> StateMachine:
    spec = rig.camera.build().spec
    now = time.monotonic()
    outputs = {
        entry.name: GuardedOutput(entry, entry.driver.build(), rig.supervisor, wake, now)
        for entry in rig.outputs
    }
    reader = InterlockReader(rig.interlock.build()) if rig.interlock is not None else None
    return StateMachine(rig, outputs, reader, Pace(spec.period, spec.exposure), audit, link.say)


def _run(
    machine: StateMachine,
    link: LoopLink,
    selector: selectors.BaseSelector,
    woken: socket.socket,
    listener: socket.socket,
    stops: list[tuple[str, float]],
) -> None:
    reported, standing = 0.0, Standing.DISCONNECTED
    while not machine.finished:
        ready = {key.fileobj for key, _ in selector.select(0 if link.waiting else TICK)}
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        now = time.monotonic()
        while stops:
            name, when = stops.pop(0)
            machine.trip(Trip(f"emergency stop: signal {name}", when), now)
        if not link.ended:
            _hear(machine, link, now, link.connection in ready)
            if link.ended:
                selector.unregister(link.connection)
                machine.lost(now)
        machine.tick(time.monotonic())
        now = time.monotonic()
        if link.free and (now - reported >= REPORT_PERIOD or machine.standing is not standing):
            reported, standing = now, machine.standing
            link.say(report_message(machine.report(now)))
        link.flush()
        if listener in ready:
            _tell(machine, listener)


def _hear(machine: StateMachine, link: LoopLink, now: float, ready: bool) -> None:
    try:
        if ready:
            link.read(now)
        while link.waiting and time.monotonic() < now + HANDLE_MAX:
            machine.handle(link.take(), time.monotonic())
    except LinkError as error:
        # Nothing that follows can be trusted, so it counts as the end of the loop.
        machine.trip(Trip(f"the loop's words make no sense: {error}", now), now)
        link.ended = True


def _tell(machine: StateMachine, listener: socket.socket) -> None:
    """Give a report to whoever asks, such as a verb in another terminal."""
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.setblocking(False)
            connection.send(pack(report_message(machine.report(time.monotonic()))))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    hanging = [t for t in threading.enumerate() if t.name.startswith("output ")]
    if hanging:
        os._exit(status or 3)  # a device that never returns must not keep the process
    sys.exit(status)
