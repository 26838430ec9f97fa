"""Connections with a limit on every wait: TCP, as the one who listens or the one who calls."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import time
from abc import ABC, abstractmethod

from swarmctl.core.errors import ConfigError, LinkClosedError, LinkError, LinkTimeoutError

CHUNK = 65536
"""Bytes that are read at once, at most."""
SHORTEST = 1e-3
"""s; a wait of 0 would mean something else to a socket."""


class Stream(ABC):
    """Bytes to and from one peer."""

    @abstractmethod
    def receive(self, timeout: float) -> bytes:
        """Return what has come, b"" when the peer has closed.

        Raises LinkTimeoutError when nothing came for `timeout` s, LinkClosedError when the
        connection broke.
        """

    @abstractmethod
    def readable(self) -> bool:
        """Whether there is something to receive now, be it the end."""

    @abstractmethod
    def send(self, data: bytes, timeout: float) -> None:
        """Send everything within `timeout` s. Raises LinkTimeoutError or LinkClosedError."""

    @abstractmethod
    def close(self) -> None:
        """Close; may be called twice."""


class TcpStream(Stream):
    """One TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self, timeout: float) -> bytes:
        """Return up to 64 KiB."""
        try:
            self._socket.settimeout(max(timeout, SHORTEST))
            return self._socket.recv(CHUNK)
        except TimeoutError:
            raise LinkTimeoutError(f"the peer sent nothing for {timeout:.3g} s.") from None
        except OSError as error:
            raise LinkClosedError(f"the connection to the peer broke ({error}).") from None

    def readable(self) -> bool:
        """Whether `receive` would not wait."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, data: bytes, timeout: float) -> None:
        """Send everything."""
        try:
            self._socket.settimeout(max(timeout, SHORTEST))
            self._socket.sendall(data)
        except TimeoutError:
            raise LinkTimeoutError(f"the peer read too slowly for {timeout:.3g} s.") from None
        except OSError as error:
            raise LinkClosedError(f"the connection to the peer broke ({error}).") from None

    def close(self) -> None:
        """Close; the peer reads the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Listener:
    """A TCP port on which one peer after another is taken.

    Raises LinkError where the port cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
            self._socket.listen(1)
        except OSError as error:
            self._socket.close()
            raise LinkError(
                f"link: cannot listen on {host} port {port} ({error}); choose another port, or end "
                "the program that has it."
            ) from None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def accept(self, timeout: float) -> TcpStream:
        """Return the next peer's connection. Raises LinkTimeoutError if nobody calls."""
        host, port = self.address
        self._socket.settimeout(max(timeout, SHORTEST))
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            raise LinkTimeoutError(
                f"link: nobody connected to {host} port {port} within {timeout:.3g} s; start the "
                "laboratory's program, or allow more time (key connect_timeout)."
            ) from None
        except OSError as error:
            raise LinkError(f"link: cannot take a connection ({error}).") from None
        return TcpStream(connection)

    def close(self) -> None:
        """Close; may be called twice."""
        self._socket.close()


def connect(host: str, port: int, timeout: float) -> TcpStream:
    """Call a peer, again and again for `timeout` s. Raises LinkTimeoutError if nobody answers."""
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return TcpStream(socket.create_connection((host, port), max(left, SHORTEST)))
        except OSError as error:
            if left <= 0:
                raise LinkTimeoutError(
                    f"link: nobody answers on {host} port {port} ({error}); start the other "
                    "program, or allow more time (key connect_timeout)."
                ) from None
            time.sleep(min(0.05, max(left, 0)))


def check_host(host: str, remote: bool) -> None:
    """Raise ConfigError for a host outside this machine, unless `remote` allows it."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or remote):
        raise ConfigError(
            f"link: host {host!r} is not this machine, and nothing in the link protects against "
            "strangers. Where the network is trusted, say remote=true."
        )
