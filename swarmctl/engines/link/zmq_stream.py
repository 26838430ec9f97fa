"""A REP socket of ZeroMQ as a stream: one JSON message is one line. Needs the extra `link`."""

from __future__ import annotations

import contextlib
from typing import Any

from swarmctl.core.errors import LinkClosedError, LinkError, LinkTimeoutError
from swarmctl.core.extras import import_extra
from swarmctl.engines.link.streams import Stream


class ZmqListener:
    """A bound REP socket. Raises MissingExtraError without ZeroMQ, LinkError without the port."""

    def __init__(self, host: str, port: int, message_max: int) -> None:
        self._zmq: Any = import_extra("link")
        self._context = self._zmq.Context()
        self._socket = self._context.socket(self._zmq.REP)
        self._socket.setsockopt(self._zmq.LINGER, 0)
        self._socket.setsockopt(self._zmq.MAXMSGSIZE, message_max)
        self._host, name = host, f"[{host}]" if ":" in host else host
        if ":" in host:
            self._socket.setsockopt(self._zmq.IPV6, 1)
        try:
            self._socket.bind(f"tcp://{name}:{port or '*'}")
        except self._zmq.ZMQError as error:
            self.close()
            raise LinkError(
                f"link: cannot listen on {host} port {port} ({error}); choose another port, or end "
                "the program that has it."
            ) from None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        said = self._socket.getsockopt_string(self._zmq.LAST_ENDPOINT)
        return self._host, int(said.rpartition(":")[2])

    def accept(self, timeout: float) -> ZmqStream:
        """Return the socket once a request is there. Raises LinkTimeoutError if none comes."""
        if not self._socket.poll(1000 * timeout):
            host, port = self.address
            raise LinkTimeoutError(
                f"link: no request came to {host} port {port} within {timeout:.3g} s; start the "
                "laboratory's program, or allow more time (key connect_timeout)."
            )
        return ZmqStream(self._zmq, self._socket)

    def close(self) -> None:
        """Close; may be called twice."""
        self._socket.close(0)
        self._context.term()


class ZmqStream(Stream):
    """Requests as lines, lines as replies. Nobody says when a peer of ZeroMQ has gone."""

    def __init__(self, zmq: Any, socket: Any) -> None:
        self._zmq, self._socket, self._owed = zmq, socket, False

    def receive(self, timeout: float) -> bytes:
        """Return one request and an end of line."""
        if not self._socket.poll(1000 * timeout):
            raise LinkTimeoutError(f"the peer sent nothing for {timeout:.3g} s.")
        parts = self._socket.recv_multipart()
        self._owed = True
        if len(parts) != 1:
            raise LinkError(f"the peer sent a message of {len(parts)} parts; one is expected.")
        # Between the tokens of JSON an end of line is a blank, and inside of them it is an error.
        return bytes(parts[0]).replace(b"\n", b" ") + b"\n"

    def readable(self) -> bool:
        """Whether `receive` would not wait; never while a request has no reply."""
        return not self._owed and bool(self._socket.poll(0))

    def send(self, data: bytes, timeout: float) -> None:
        """Reply with one line."""
        self._socket.setsockopt(self._zmq.SNDTIMEO, max(1, int(1000 * timeout)))
        try:
            self._socket.send(data.rstrip(b"\n"))
            self._owed = False
        except self._zmq.Again:
            raise LinkTimeoutError(f"the peer read too slowly for {timeout:.3g} s.") from None
        except self._zmq.ZMQError as error:
            raise LinkClosedError(f"the peer cannot be answered ({error}).") from None

    def close(self) -> None:
        """Answer what is open with nothing, so that the next request can come."""
        if self._owed:
            with contextlib.suppress(LinkError):
                self.send(b"{}", 0)
