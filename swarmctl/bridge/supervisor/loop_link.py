"""The supervisor's end of the wire to the loop. It never waits, and its memory is bounded."""

from __future__ import annotations

import socket
from collections import deque
from typing import final

from swarmctl.bridge.supervisor.wire import Message, Unpacker, pack
from swarmctl.core.errors import LinkError

READ_MAX = 2**16
"""Bytes that are read before everything else is looked at again."""
MESSAGES_MAX = 1000
"""Messages a second; more are a fault of the loop."""
UNREAD_MAX = 2**22
"""Bytes that the loop may leave unread; then it is given no more."""


@final
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
