"""The loop's side of the supervisor: starts its process and talks to it."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.gatekeeper import Evidence, Gatekeeper
from swarmctl.bridge.orders import Order, Receipt, Report
from swarmctl.bridge.supervisor.messages import (
    evidence_fields,
    order_message,
    read_receipt,
    read_report,
    read_specs,
)
from swarmctl.bridge.supervisor.wire import Message, Unpacker, pack
from swarmctl.core import errors

OPEN_TIMEOUT = 60.0
"""s for devices to connect."""
ANSWER_TIMEOUT = 10.0
"""s for any other answer."""
SILENCE = 1.0
"""s without a report after which the supervisor counts as lost."""


@final
class SupervisorClient(Gatekeeper):
    """The outputs of a rig, owned by a process of their own that outlives this one's faults.

    Not thread-safe: the loop owns it. It calls nothing that waits for the disk or a device.

    Args:
        rig: the rig file.
        audit: the audit log, a new file; without it, one in the folder `audit` beside the rig file.
    """

    def __init__(self, rig: str | Path, audit: str | Path | None = None) -> None:
        if sys.platform != "linux":
            raise errors.DeviceError("the supervisor needs Linux: its signals, sockets and clock.")
        self.rig = Path(rig).resolve()
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.audit = (
            Path(audit) if audit is not None else self.rig.parent / "audit" / f"{started}.jsonl"
        )
        self.outputs: Mapping[str, OutputSpec] = {}
        self._requests = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._forget()

    def _forget(self) -> None:
        """Forget what another supervisor has said."""
        self._unpacker = Unpacker()
        self._unsent = b""
        self._newest: bytes = b""
        self._receipts: list[Receipt] = []
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._report: Report | None = None
        self._refused = ""
        self._lost = ""

    @property
    def process(self) -> int:
        """Number of the supervisor's process. Raises SupervisorLostError if it was not opened."""
        if self._process is None:
            raise errors.SupervisorLostError("the supervisor was not opened.")
        return self._process.pid

    def open(self) -> None:
        """Start the supervisor, connect all outputs and make them safe: CONFIGURED.

        Raises ConfigError and UnknownNameError for a rig file that is wrong, DeviceError if a
        device cannot be connected, ArmingError if another supervisor owns the rig, RecordError if
        the audit log cannot be made, SupervisorLostError if the process ends.
        """
        if self._connection is not None:
            raise errors.ArmingError("the supervisor is open already.")
        if platform.system() != "Linux":
            raise errors.DeviceError(
                f"the supervisor needs Linux, this is {platform.system()}. Run swarmctl on a "
                "computer with Linux that has the devices, or let the program of the laboratory "
                "speak the lab link."
            )
        self._forget()
        own, other = socket.socketpair()
        with other:
            # A session of its own: the terminal's signals are for the loop.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "swarmctl.bridge.supervisor.process"),
                    *(os.fspath(self.rig), os.fspath(self.audit), str(other.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        own.setblocking(False)
        self._connection = own
        try:
            answer = self._ask("open", OPEN_TIMEOUT)
            if answer["error"]:
                raise errors.DeviceError(f"{self.rig}: {answer['error']}")
        except errors.SwarmctlError:
            with contextlib.suppress(errors.DeviceError):
                self.close()
            raise
        self.outputs = read_specs(answer["outputs"])

    def arm(self, operator: str, evidence: Evidence | None) -> None:
        """Let a person arm it, see Gatekeeper."""
        self._demand("arm", operator=operator, evidence=evidence_fields(evidence))

    def activate(self) -> None:
        """ARMED → ACTIVE, see Gatekeeper. From now on the loop has to beat."""
        self._demand("activate")

    def send(self, order: Order) -> None:
        """Hand over an order; a newer one replaces it if the supervisor has not read it yet."""
        self._say(order_message(order), newest=True)

    def beat(self, frame: int, exposed: float) -> None:
        """Say that the loop is alive, and which frame it has seen last."""
        if not self._unsent:
            self._say(Message("beat", {"frame": int(frame), "exposed": float(exposed)}))

    def receipts(self) -> list[Receipt]:
        """Return the receipts that have come since the last call, oldest first."""
        self._read()
        found, self._receipts = self._receipts, []
        return found

    def report(self) -> Report:
        """Return the newest report.

        Raises SupervisorLostError if the process has gone, or has not reported for one second.
        """
        self._read()
        if self._lost or self._report is None:
            raise errors.SupervisorLostError(self._lost or "the supervisor was not opened.")
        silent = time.monotonic() - self._report.time
        if silent > SILENCE and not self._read_late():
            raise errors.SupervisorLostError(
                f"the supervisor, process {self.process}, has been silent for {silent:.1f} s."
            )
        return self._report

    def rest(self, reason: str) -> None:
        """ACTIVE → ARMED: outputs go to their safe values within their slew limits."""
        self._newest = b""  # an order that waits must not come after it
        self._say(Message("rest", {"reason": reason}))

    def stop(self, reason: str) -> None:
        """Emergency stop: FAULT, outputs safe at once, latched."""
        self._newest = b""
        with contextlib.suppress(errors.SupervisorLostError):
            self._say(Message("stop", {"reason": reason}))
        if (self._unsent or self._lost) and self._process is not None and self._running():
            os.kill(self._process.pid, signal.SIGUSR1)

    def clear(self, operator: str) -> None:
        """Let a person leave FAULT, see Gatekeeper."""
        self._demand("clear", operator=operator)

    def close(self) -> None:
        """Make outputs safe and let go of them; may be called twice.

        Raises DeviceError if a device did not say that it was safe.
        """
        if self._connection is None:
            return
        error = ""
        try:
            if not self._lost and not self._refused and self._running():
                with contextlib.suppress(errors.SupervisorLostError):
                    error = self._ask("close", ANSWER_TIMEOUT)["error"]
        finally:
            self._connection.close()
            self._connection = None
            if self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(ANSWER_TIMEOUT)
        if error:
            raise errors.DeviceError(f"{self.rig}: {error}")

    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _demand(self, verb: str, **fields: Any) -> None:
        answer = self._ask(verb, ANSWER_TIMEOUT, **fields)
        if answer["error"]:
            raise errors.ArmingError(f"{verb}: {answer['error']}.")

    def _ask(self, verb: str, timeout: float, **fields: Any) -> Mapping[str, Any]:
        self._requests += 1
        number = self._requests
        self._say(Message("request", {"verb": verb, "id": number, **fields}))
        end = time.monotonic() + timeout
        while number not in self._answers:
            if self._refused:
                self._raise_refusal()
            if self._lost:
                raise errors.SupervisorLostError(self._lost)
            if time.monotonic() > end:
                raise errors.SupervisorLostError(
                    f"the supervisor, process {self.process}, did not answer {verb!r} in "
                    f"{timeout:g} s."
                )
            time.sleep(0.002)
            self._read()
        return self._answers.pop(number)

    def _raise_refusal(self) -> None:
        kind, _, text = self._refused.partition("\n")
        found = getattr(errors, kind, errors.DeviceError)
        raise (found if found is not errors.MissingExtraError else errors.DeviceError)(text)

    def _say(self, message: Message, newest: bool = False) -> None:
        if self._connection is None:
            raise errors.SupervisorLostError(self._lost or "the supervisor is not open.")
        data = pack(message)
        self._flush()
        if not self._unsent:
            self._unsent = data
            self._flush()
        elif newest:
            self._newest = data
        else:
            self._unsent += data

    def _flush(self) -> None:
        assert self._connection is not None
        try:
            while self._unsent or self._newest:
                if not self._unsent:
                    self._unsent, self._newest = self._newest, b""
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._gone(str(error))

    def _read(self) -> None:
        if self._connection is None:
            return
        self._flush()
        try:
            while data := self._connection.recv(2**18):
                for message in self._unpacker.feed(data):
                    self._note(message)
            self._gone("it closed the connection")
        except BlockingIOError:
            pass
        except (OSError, errors.LinkError) as error:
            self._gone(str(error))

    def _read_late(self) -> bool:
        """Whether the supervisor reports after all: this process may have been the one asleep."""
        before = self._report
        end = time.monotonic() + 0.2
        while time.monotonic() < end and self._report is before and not self._lost:
            time.sleep(0.005)
            self._read()
        return self._report is not before

    def _gone(self, why: str) -> None:
        if not self._lost:
            self._lost = (
                f"the supervisor has gone ({why}); outputs are left to the devices' own time-outs. "
                f"The audit log is {self.audit}."
            )

    def _note(self, message: Message) -> None:
        if message.kind == "report":
            self._report = read_report(message)
        elif message.kind == "receipt":
            self._receipts.append(read_receipt(message))
        elif message.kind == "answer":
            self._answers[int(message.fields["id"])] = message.fields
        elif message.kind == "refused":
            self._refused = f"{message.fields['kind']}\n{message.fields['error']}"
        else:
            raise errors.LinkError(f"the supervisor sent {message.kind!r}.")
