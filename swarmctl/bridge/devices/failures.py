"""Whatever goes wrong in a device becomes a DeviceError that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from swarmctl.core.errors import DeviceError, DeviceTimeoutError, MissingExtraError


@contextmanager
def device_errors(name: str, doing: str) -> Iterator[None]:
    """Turn what a block raises into DeviceError, or DeviceTimeoutError where it is a TimeoutError.

    DeviceError and MissingExtraError are handed on as they are.
    """
    try:
        yield
    except (DeviceError, MissingExtraError):
        raise
    except TimeoutError as error:
        raise DeviceTimeoutError(f"{name}: {doing} took too long ({_text(error)}).") from error
    except Exception as error:  # libraries of instruments raise anything
        raise DeviceError(f"{name}: {doing} failed ({_text(error)}).") from error


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
