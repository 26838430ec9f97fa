"""The laboratory's side of the framed protocol: a reference client, on the standard library and
NumPy.

    with Laboratory.connect("127.0.0.1", 22010, about, make_safe=shutter.close) as laboratory:
        while (order := laboratory.wait()) is not None:
            if order.command is not None:
                move(order.command.rows)
                laboratory.pause(0.1)
            laboratory.send_state(camera.time, rows)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from swarmctl.core.errors import LinkClosedError, LinkError
from swarmctl.engines.link.frames import (
    CONTROLLABLE,
    NEVER,
    ORIENTED,
    PRESENT,
    START,
    STATE_ROW,
    CommandReport,
    Frame,
    Hello,
    Kind,
    Role,
    pack_command,
    pack_state,
    read_command,
    read_text,
)
from swarmctl.engines.link.session import FramedSession
from swarmctl.engines.link.streams import Listener, Stream, check_host, connect


def describe_laboratory(
    channels: frozenset[str],
    capacity: int,
    control_interval: float,
    name: str = "laboratory",
    heartbeat: float = 0.05,
    silence: float = 10.0,
) -> Hello:
    """What a laboratory says of itself: see `Hello`."""
    return Hello(
        Role.LABORATORY, channels, capacity, control_interval, heartbeat, silence, name
    )  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What the controller wants: an episode that starts with `seed`, or a command."""

    seed: int | None = None
    command: CommandReport | None = None


class Laboratory:
    """One connection of a laboratory to a controller.

    `make_safe` brings every output to its safe value. It is called when the controller says STOP or
    BYE, when it has gone or is silent, when a command expires before the next, when anything is
    wrong with what it sends, and at the end of the `with` block.
    """

    def __init__(self, stream: Stream, about: Hello, make_safe: Callable[[], None]) -> None:
        self._session = FramedSession(stream, about, about.capacity)
        self._make_safe = make_safe
        self._answers = NEVER
        self._expires: float | None = None
        self._expired = False
        self.controller: Hello | None = None

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        about: Hello,
        make_safe: Callable[[], None],
        timeout: float = 30.0,
        remote: bool = False,
    ) -> Self:
        """Call a controller that listens. Raises LinkTimeoutError, LinkError or ConfigError."""
        check_host(host, remote)
        return cls(connect(host, port, timeout), about, make_safe)._greet(timeout)

    @classmethod
    def listen(
        cls,
        host: str,
        port: int,
        about: Hello,
        make_safe: Callable[[], None],
        timeout: float = 30.0,
        remote: bool = False,
    ) -> Self:
        """Wait for a controller that calls. Raises LinkTimeoutError, LinkError or ConfigError."""
        check_host(host, remote)
        listener = Listener(host, port)
        try:
            return cls(listener.accept(timeout), about, make_safe)._greet(timeout)
        finally:
            listener.close()

    def _greet(self, timeout: float) -> Self:
        try:
            self.controller = self._session.say_hello(timeout)
        except LinkError:
            self._session.close()
            raise
        return self

    def wait(self) -> Order | None:
        """Wait for the next order; None when the controller has gone in an orderly way.

        Raises LinkError, after `make_safe`, when it broke the protocol or fell silent.
        """
        try:
            while (frame := self._next(1.0)) is None:
                pass
            if frame.kind == Kind.START:
                self._answers, self._expires, self._expired = frame.sequence, None, False
                return Order(seed=START.unpack(frame.payload)[0])
            command = read_command(frame.payload)
        except LinkClosedError:
            self._be_safe()
            return None
        except LinkError:
            self._be_safe()
            raise
        self._answers, self._expired = frame.sequence, False
        self._expires = time.monotonic() + command.expiry
        return Order(command=command)

    def pause(self, seconds: float) -> None:
        """Wait while a command acts, and stay in touch; ends early when the controller says STOP.

        Raises LinkError, after `make_safe`, when the controller has gone or broke the protocol.
        """
        end = time.monotonic() + seconds
        while self._answers != NEVER and (left := end - time.monotonic()) > 0:
            try:
                frame = self._next(left, stop_ends=True)
            except LinkError:
                self._be_safe()
                raise
            if frame is not None:
                self._be_safe()
                raise LinkError(
                    f"the controller sent {frame.kind.name} before the STATE it is due."
                )

    def send_state(self, at: float, rows: np.ndarray, applied: CommandReport | None = None) -> bool:
        """Answer the last order with what was seen at `at` s, mid-exposure, rows of STATE_ROW.

        `applied` says what was really done, where that is not what was asked. Returns False, and
        sends nothing, if the controller has said STOP since.
        """
        if self._answers == NEVER:
            return False
        if applied is not None:
            payload = pack_command(applied.expiry, applied.channels, applied.rows)
            self._session.send(Kind.APPLIED, payload)
        self._session.send(Kind.STATE, pack_state(at, self._answers, self._expired, rows))
        self._answers = NEVER
        return True

    def fault(self, text: str) -> None:
        """Make the outputs safe and tell the controller why."""
        self._be_safe()
        self._session.say(Kind.FAULT, text)

    def _next(self, timeout: float, stop_ends: bool = False) -> Frame | None:
        """The next START or COMMAND within `timeout` s; STOP is done here, and so is expiry."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if self._expires is not None:
                left = min(left, max(self._expires - time.monotonic(), 0))
            frame = self._session.wait(left)
            if frame is None:
                if self._expires is not None and time.monotonic() >= self._expires:
                    self._expires, self._expired = None, True
                    self._make_safe()
                continue
            if frame.kind != Kind.STOP:
                return frame
            self._be_safe()
            self._session.say(Kind.SAFE, read_text(frame.payload))
            if stop_ends:
                return None
        return None

    def _be_safe(self) -> None:
        self._expires, self._answers = None, NEVER
        self._make_safe()

    def close(self, reason: str = "the laboratory's program ends") -> None:
        """Make the outputs safe, say BYE if anybody listens, and close; may be called twice."""
        self._be_safe()
        with contextlib.suppress(LinkError):
            self._session.say(Kind.BYE, reason)
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close("the laboratory's program ends" if error is None else f"{error}")


def state_rows(
    identity: np.ndarray,
    position: np.ndarray,
    angle: np.ndarray,
    type: np.ndarray | int = 0,
    present: np.ndarray | bool = True,
    controllable: np.ndarray | bool = True,
) -> np.ndarray:
    """Return rows of STATE_ROW: ids [R], positions [R,2] µm, angles [R] rad or NaN if not seen."""
    rows = np.zeros(len(identity), STATE_ROW)
    rows["id"], rows["type"] = identity, type
    rows["x"], rows["y"] = np.asarray(position, float).T
    seen = np.isfinite(angle)
    rows["theta"] = np.where(seen, angle, 0)
    rows["flags"] = (
        PRESENT * np.asarray(present, np.uint32)
        + ORIENTED * seen.astype(np.uint32)
        + CONTROLLABLE * np.asarray(controllable, np.uint32)
    )
    return rows
