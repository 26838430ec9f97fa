"""A conversation in frames over a stream, the same for both roles: hello, heartbeat, silence.

Heartbeats are sent by whoever waits, from the waiting loop itself and never from a thread: a loop
that hangs falls silent.
"""

from __future__ import annotations

import time
from collections import deque

from swarmctl.core.errors import LinkClosedError, LinkError, LinkTimeoutError
from swarmctl.engines.link.frames import (
    HEARD_FROM,
    TEXT_MAX,
    Frame,
    FrameReader,
    FrameWriter,
    Hello,
    Kind,
    read_hello,
    read_text,
)
from swarmctl.engines.link.streams import Stream


class FramedSession:
    """Frames to and from one peer. `say_hello` comes first.

    Args:
        stream: the connection; closed by `close`.
        hello: what this side says of itself; its heartbeat and silence are kept.
        colloids_max: rows of a frame at most.
        send_timeout: s that the peer may take to read a frame.
    """

    def __init__(
        self, stream: Stream, hello: Hello, colloids_max: int, send_timeout: float = 1.0
    ) -> None:
        self._stream, self._hello, self._send_timeout = stream, hello, send_timeout
        self._reader, self._writer = FrameReader(colloids_max), FrameWriter()
        self._frames: deque[Frame] = deque()
        self._heard = self._spoke = self._listened = time.monotonic()
        self.peer: Hello | None = None

    def say_hello(self, timeout: float) -> Hello:
        """Send HELLO and return the peer's. Raises LinkError if that is none or has this role."""
        self.send(Kind.HELLO, self._hello.pack())
        frame = self._read(time.monotonic() + timeout)
        self._listened = time.monotonic()
        if frame is None:
            raise LinkTimeoutError(f"the peer connected and said no HELLO for {timeout:.3g} s.")
        if frame.kind != Kind.HELLO:
            raise LinkError(f"the peer began with {frame.kind.name}, not with HELLO.")
        peer = read_hello(frame.payload)
        if peer.role == self._hello.role:
            raise LinkError(f"both sides are {peer.role.name.lower()}; one must be the other.")
        self.peer = peer
        return peer

    def send(self, kind: Kind, payload: bytes = b"") -> int:
        """Send a frame and return its number. Raises LinkTimeoutError or LinkClosedError."""
        data, number = self._writer.frame(kind, payload, time.time())
        self._stream.send(data, self._send_timeout)
        self._spoke = time.monotonic()
        return number

    def say(self, kind: Kind, text: str) -> int:
        """Send a frame with a text; what is longer than 1024 bytes is left out."""
        return self.send(kind, text.encode("utf-8")[:TEXT_MAX])

    def wait(self, timeout: float) -> Frame | None:
        """Return the next frame that is no heartbeat, or None after `timeout` s.

        Sends heartbeats meanwhile. Raises LinkTimeoutError when the peer is silent for longer than
        this side allows, LinkClosedError when it has gone or says BYE, LinkError for a frame that
        is not for the peer to send.
        """
        now = time.monotonic()
        self._heard += now - self._listened  # while nobody listened, nobody was silent
        frame = self._read(now + timeout)
        self._listened = time.monotonic()
        if frame is None:
            return None
        if frame.kind == Kind.BYE:
            raise LinkClosedError(f"the peer said good-bye: {read_text(frame.payload)}")
        assert self.peer is not None
        if frame.kind not in HEARD_FROM[self.peer.role]:
            raise LinkError(f"a {self.peer.role.name.lower()} does not send {frame.kind.name}.")
        return frame

    def _read(self, deadline: float) -> Frame | None:
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.kind != Kind.HEARTBEAT:
                    return frame
            now = time.monotonic()
            if now >= deadline:
                return None
            if now - self._heard > self._hello.silence:
                raise LinkTimeoutError(
                    f"the peer was silent for {now - self._heard:.3g} s, longer than "
                    f"{self._hello.silence:.3g} s."
                )
            due = self._spoke + self._hello.heartbeat - now
            if due <= 0:
                self.send(Kind.HEARTBEAT)
                continue
            self._fill(min(due, deadline - now))

    def _fill(self, timeout: float) -> None:
        try:
            data = self._stream.receive(timeout)
        except LinkTimeoutError:
            return
        if not data:
            self._reader.finish()
        found = self._reader.feed(data)
        if found:
            self._heard = time.monotonic()
        self._frames.extend(found)

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._stream.close()
