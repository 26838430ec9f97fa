"""Short messages between the virtual laboratory and its devices, over a local socket. No JAX.

A message is its length as four bytes, big-endian, and so many bytes of JSON. Descriptors of shared
memory may come with it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.core.errors import DeviceError, DeviceTimeoutError

LONGEST = 1 << 16
"""Bytes of a message."""

_HEAD = struct.Struct(">I")
_DESCRIPTORS = 4


def pack(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes."""
    text = json.dumps(message, allow_nan=False).encode()
    return _HEAD.pack(len(text)) + text


def take(buffer: bytearray) -> dict[str, Any] | None:
    """Take the first message out of what was received; None if it is not complete.

    Raises DeviceError for what is no message.
    """
    if len(buffer) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack_from(buffer)
    if length > LONGEST:
        raise DeviceError(f"a message of {length} bytes; at most {LONGEST} are allowed.")
    if len(buffer) < _HEAD.size + length:
        return None
    text = bytes(buffer[_HEAD.size : _HEAD.size + length])
    del buffer[: _HEAD.size + length]
    try:
        message = json.loads(text)
    except ValueError as error:
        raise DeviceError(f"a message is no JSON ({error}).") from None
    if not isinstance(message, dict):
        raise DeviceError("a message must be a JSON object.")
    return message


def send(
    connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send a message. Raises DeviceError if the peer has gone."""
    data = pack(message)
    try:
        sent = socket.send_fds(connection, [data], descriptors) if descriptors else 0
        connection.sendall(data[sent:])
    except OSError as error:
        raise DeviceError(f"the virtual laboratory has gone ({error}).") from None


def receive(connection: socket.socket, timeout: float) -> tuple[dict[str, Any], list[int]]:
    """Wait for a message and its descriptors.

    Raises DeviceTimeoutError, or DeviceError if the peer has gone or sends what is no message.
    """
    buffer, descriptors = bytearray(), list[int]()
    connection.settimeout(timeout)
    try:
        while (message := take(buffer)) is None:
            data, more, *_ = socket.recv_fds(connection, LONGEST, _DESCRIPTORS)
            descriptors += more
            if not data:
                raise ConnectionResetError("it closed the connection")
            buffer += data
    except (OSError, DeviceError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(error, DeviceError):
            raise
        if isinstance(error, TimeoutError):
            late = f"the virtual laboratory did not answer within {timeout:g} s."
            raise DeviceTimeoutError(late) from None
        raise DeviceError(f"the virtual laboratory has gone ({error}).") from None
    return message, descriptors
