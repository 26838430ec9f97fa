"""Keys of a terminal, read between frames without waiting."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Iterator
from typing import Any

EMERGENCY = ("q", " ", "\x1b")
"""Keys that stop everything: q, space, escape."""


class Keys:
    """Tells whether the emergency stop was pressed; never, where there is no terminal."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def emergency(self) -> bool:
        """Whether a key of `EMERGENCY` was pressed since the last call."""
        found = False
        while self._terminal and select.select([sys.stdin], [], [], 0)[0]:
            key = sys.stdin.read(1)
            if not key:
                self._terminal = False
            found |= key in EMERGENCY
        return found


@contextlib.contextmanager
def terminal_keys() -> Iterator[Keys]:
    """Read single keys for the length of a `with` block, if there is a terminal to read from."""
    before = _settings()
    if before is None:
        yield Keys(False)
        return
    import termios
    import tty

    try:
        tty.setcbreak(sys.stdin)
        yield Keys(True)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _settings() -> list[Any] | None:
    """Settings of the terminal; None where there is none, or none that Python can set."""
    try:
        import termios
    except ImportError:
        return None
    try:
        return termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError, AttributeError):
        return None
