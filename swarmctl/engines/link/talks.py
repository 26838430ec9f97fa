"""A conversation with a laboratory, in the framed protocol or in strict lockstep."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import LinkError, LinkTimeoutError
from swarmctl.engines.link.config import LinkConfig
from swarmctl.engines.link.dialects import Answer, Dialect
from swarmctl.engines.link.frames import (
    START,
    CommandReport,
    Frame,
    Hello,
    Kind,
    Role,
    StateReport,
    pack_command,
    read_command,
    read_state,
    read_text,
)
from swarmctl.engines.link.session import FramedSession
from swarmctl.engines.link.sightings import Sighting
from swarmctl.engines.link.streams import Stream


@dataclass(frozen=True)
class Report:
    """What a laboratory said.

    Attributes:
        sighting: what it saw.
        time: s, of its clock, or of ours at arrival.
        applied: what it did, if it says so.
        expired: whether its command ended before this was seen.
    """

    sighting: Sighting
    time: float
    applied: CommandReport | None = None
    expired: bool = False


class Talk(ABC):
    """One connection, from the controller's side. Every call raises LinkError when it fails."""

    @abstractmethod
    def start(self, seed: int) -> Report:
        """Begin an episode with what is seen now."""

    @abstractmethod
    def exchange(self, answer: Answer, rows: np.ndarray) -> Report:
        """Ask for something and return what is seen an interval later."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Bring every output to its safe value."""

    @abstractmethod
    def close(self, reason: str) -> None:
        """Close the connection; may be called twice."""


class LockstepTalk(Talk):
    """The predecessor's order: a state, its answer, the next state, and nothing in between.

    The safe value is the answer that nobody does anything. It can only be given where a state waits
    for its answer, so between two episodes the colloids rest for one interval.
    """

    def __init__(self, stream: Stream, dialect: Dialect, config: LinkConfig) -> None:
        self._stream, self._dialect, self._config = stream, dialect, config
        self._due: Sighting | None = None
        self._first = True

    def start(self, seed: int) -> Report:
        """The state that comes first; later, the one after an interval of rest."""
        if not self._first:
            if self._due is None:
                self._receive()
            self._rest()
        self._first = False
        return self._receive()

    def exchange(self, answer: Answer, rows: np.ndarray) -> Report:
        """Answer the last state and wait for the next."""
        self._reply(answer)
        return self._receive()

    def _reply(self, answer: Answer) -> None:
        early = self._dialect.unread > 0
        if not early and self._stream.readable():
            early = bool(self._stream.receive(self._config.send_timeout))
            if not early:
                self._dialect.finish()
        if early:
            raise LinkError(
                "the laboratory sent more before it had the answer to its last state; the protocol "
                "is strictly one state, one answer."
            )
        self._stream.send(self._dialect.reply(answer), self._config.send_timeout)
        self._due = None

    def _receive(self) -> Report:
        deadline = time.monotonic() + self._config.state_timeout
        found: list[Sighting] = []
        while not found:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LinkTimeoutError(
                    f"no state came within {self._config.state_timeout:.3g} s "
                    f"({self._dialect.unread} bytes of one did; key state_timeout)."
                )
            with contextlib.suppress(LinkTimeoutError):
                data = self._stream.receive(left)
                if not data:
                    self._dialect.finish()
                found = self._dialect.feed(data)
        if len(found) > 1:
            raise LinkError(
                f"the laboratory sent {len(found)} states at once; the protocol is strictly one "
                "state, one answer."
            )
        self._due = found[0]
        return Report(found[0], time.monotonic())

    def _rest(self) -> None:
        if self._due is not None:
            count = self._due.count
            nothing = np.full(count, self._config.codes[0])
            self._reply(Answer(self._due.label, nothing, np.zeros((count, 2))))

    def stop(self, reason: str) -> None:
        """Answer that nobody does anything, if an answer is due."""
        self._rest()

    def close(self, reason: str) -> None:
        """Give the safe answer if one is due, and close."""
        with contextlib.suppress(LinkError):
            self._rest()
        self._due = None
        self._stream.close()


class FramedTalk(Talk):
    """The framed protocol, as the controller."""

    def __init__(
        self, stream: Stream, about: Hello, config: LinkConfig, check: Callable[[Hello], None]
    ) -> None:
        self._session = FramedSession(stream, about, config.colloids_max, config.send_timeout)
        self._config, self._channels = config, about.channels
        check(self._session.say_hello(config.state_timeout))

    def start(self, seed: int) -> Report:
        """Say START and wait for the state."""
        return self._await_state(self._session.send(Kind.START, START.pack(seed % 2**64)))

    def exchange(self, answer: Answer, rows: np.ndarray) -> Report:
        """Send a COMMAND and wait for the state."""
        payload = pack_command(self._config.expiry, self._channels, rows)
        return self._await_state(self._session.send(Kind.COMMAND, payload))

    def _await_state(self, number: int) -> Report:
        deadline = time.monotonic() + self._config.state_timeout
        applied = None
        while (frame := self._next(deadline)) is not None:
            if frame.kind == Kind.FAULT:
                raise LinkError(f"the laboratory reports a fault: {read_text(frame.payload)}")
            if frame.kind == Kind.APPLIED and applied is None:
                applied = read_command(frame.payload)
                continue
            if frame.kind != Kind.STATE:
                raise LinkError(f"the laboratory sent {frame.kind.name} where STATE is due.")
            state: StateReport = read_state(frame.payload)
            if state.answered != number:
                raise LinkError(
                    f"the laboratory's STATE answers frame {state.answered}, not {number}."
                )
            return Report(state.sighting, state.time, applied, state.expired)
        raise LinkTimeoutError(
            f"no STATE came within {self._config.state_timeout:.3g} s (key state_timeout)."
        )

    def _next(self, deadline: float) -> Frame | None:
        left = deadline - time.monotonic()
        return self._session.wait(left) if left > 0 else None

    def stop(self, reason: str) -> None:
        """Say STOP and wait for SAFE; what else was under way is read and left."""
        self._session.say(Kind.STOP, reason)
        deadline = time.monotonic() + self._config.stop_timeout
        while (frame := self._next(deadline)) is not None:
            if frame.kind in (Kind.SAFE, Kind.FAULT):
                return
        raise LinkTimeoutError(
            f"the laboratory did not say within {self._config.stop_timeout:.3g} s that its outputs "
            "are safe (key stop_timeout). Look after them by hand."
        )

    def close(self, reason: str) -> None:
        """Say STOP and BYE as far as that is possible, and close."""
        with contextlib.suppress(LinkError):
            self._session.say(Kind.STOP, reason)
            self._session.say(Kind.BYE, reason)
        self._session.close()


def describe_controller(
    channels: frozenset[str], capacity: int, interval: float, config: LinkConfig
) -> Hello:
    """What the controller says of itself."""
    return Hello(
        Role.CONTROLLER, channels, capacity, interval, config.heartbeat, config.silence, "swarmctl"
    )  # fmt: skip
