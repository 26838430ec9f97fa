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
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import final

from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import Rig, read_rig
from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.criteria import Pace, Trip
from swarmctl.bridge.supervisor.doses import DoseMemory, dose_path
from swarmctl.bridge.supervisor.guarded import GuardedOutput
from swarmctl.bridge.supervisor.interlock_reader import InterlockReader
from swarmctl.bridge.supervisor.loop_link import LoopLink
from swarmctl.bridge.supervisor.machine import StateMachine
from swarmctl.bridge.supervisor.messages import report_message
from swarmctl.bridge.supervisor.ownership import answer_address, rig_lock
from swarmctl.bridge.supervisor.wire import Message, pack
from swarmctl.core.errors import ArmingError, LinkError, SwarmctlError

TICK = 0.005
"""s between two looks at everything."""
SWITCH = 0.0005
"""s after which a busy thread lets another one run."""
REPORT_PERIOD = 0.05
"""s between two reports to the loop."""
HANDLE_MAX = 0.003
"""s for messages before everything else is looked at again."""
FAILURES_MAX, GRACE = 5, 0.3
"""Failures of this program itself before it gives up, and s for devices to become safe then."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Own the outputs of a rig until the loop closes it or is gone; return the exit status."""
    rig_path, audit_path, handle = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop
    sys.setswitchinterval(SWITCH)
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

    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    rig = read_rig(rig_path)
    with contextlib.ExitStack() as stack:
        audit = AuditLog(audit_path, wake)
        stack.callback(audit.close)
        machine = _machine(rig, rig_path, audit, link, wake)
        audit.record(
            "open",
            rig=rig.name,
            digest=rig.digest,
            version=importlib.metadata.version("swarmctl"),
            process=os.getpid(),
            priority=priority,
            unguarded=rig.unguarded,
        )
        service = Service(machine, link, rig_path)
        for number in STOP_SIGNALS:
            signal.signal(number, service.stop)
        service.run(woken)


def _machine(
    rig: Rig, path: Path, audit: AuditLog, link: LoopLink, wake: Callable[[], None]
) -> StateMachine:
    spec = rig.camera.build().spec
    now = time.monotonic()
    outputs = {
        entry.name: GuardedOutput(entry, entry.driver.build(), rig.supervisor, wake, now)
        for entry in rig.outputs
    }
    reader = InterlockReader(rig.interlock.build()) if rig.interlock is not None else None
    doses = DoseMemory(dose_path(path), outputs, now)
    pace = Pace(spec.period, spec.exposure)
    return StateMachine(rig, outputs, reader, doses, pace, audit, link.say)


@final
class Service:
    """The main loop: signals, messages, devices, reports. Never waits longer than a tick.

    Args:
        machine: decides.
        link: to the loop.
        rig: path of the rig file, from which the address follows at which others may ask.
    """

    def __init__(self, machine: StateMachine, link: LoopLink, rig: Path) -> None:
        self._machine, self._link, self._rig = machine, link, rig
        self._stops: list[tuple[str, float]] = []
        self._reported, self._standing = 0.0, Standing.DISCONNECTED
        self._failures = 0

    def stop(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: an emergency stop."""
        self._stops.append((signal.Signals(number).name, time.monotonic()))

    def run(self, woken: socket.socket) -> None:
        """Serve until everything is let go of; `woken` is read when a thread wakes this one.

        What this program itself does wrong is a fault, too: safe, and then the end.
        """
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
            selectors.DefaultSelector() as selector,
        ):
            try:
                listener.bind(answer_address(self._rig))
            except OSError as error:
                # A file system without locks lets a second one come as far as here.
                raise ArmingError(
                    f"{self._rig}: another supervisor answers for this rig; two cannot own it."
                ) from error
            listener.listen()
            listener.setblocking(False)
            for source in (self._link.connection, woken, listener):
                selector.register(source, selectors.EVENT_READ)
            while not self._machine.finished:
                try:
                    self._step(selector, woken, listener)
                except Exception:
                    self._failures += 1
                    self._machine.fail(traceback.format_exc(), time.monotonic())
                    if self._failures >= FAILURES_MAX:
                        time.sleep(GRACE)
                        raise

    def _step(
        self, selector: selectors.BaseSelector, woken: socket.socket, listener: socket.socket
    ) -> None:
        machine, link = self._machine, self._link
        ready = {key.fileobj for key, _ in selector.select(0 if link.waiting else TICK)}
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        now = time.monotonic()
        while self._stops:
            name, when = self._stops.pop(0)
            machine.trip(Trip(f"emergency stop: signal {name}", when, stop=True), now)
        if not link.ended:
            self._hear(now, link.connection in ready)
            if link.ended:
                selector.unregister(link.connection)
                machine.lost(now)
        machine.tick(time.monotonic())
        now = time.monotonic()
        changed = machine.standing is not self._standing
        if link.free and (changed or now - self._reported >= REPORT_PERIOD):
            self._reported, self._standing = now, machine.standing
            link.say(report_message(machine.report(now)))
        link.flush()
        if listener in ready:
            self._tell(listener)

    def _hear(self, now: float, ready: bool) -> None:
        link = self._link
        try:
            if ready:
                link.read(now)
            while link.waiting and time.monotonic() < now + HANDLE_MAX:
                self._machine.handle(link.take(), time.monotonic())
        except LinkError as error:
            # Nothing that follows can be trusted, so it counts as the end of the loop.
            self._machine.trip(Trip(f"the loop's words make no sense: {error}", now), now)
            link.ended = True

    def _tell(self, listener: socket.socket) -> None:
        """Give a report to whoever asks, such as a verb in another terminal."""
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.setblocking(False)
                connection.send(pack(report_message(self._machine.report(time.monotonic()))))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    hanging = [t for t in threading.enumerate() if t.name.startswith("output ")]
    if hanging:
        os._exit(status or 3)  # a device that never returns must not keep the process
    sys.exit(status)
