"""Where a run comes from: versions, machine, command line, git commit, seeds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

PACKAGES = ("numpy", "jax", "jaxlib", "optax", "gymnasium")


def versions() -> dict[str, str | None]:
    """Return the versions of swarmctl and of what its results depend on; None if missing."""
    return {name: _version(name) for name in ("swarmctl", *PACKAGES)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: str | os.PathLike[str] | None = None) -> dict[str, Any] | None:
    """Return {"commit", "dirty"} of the git repository around `folder`, None if there is none.

    Without `folder`: of the current folder.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: str | os.PathLike[str] | None, *arguments: str) -> str | None:
    # Without the option, `status` would write to an index that someone else may be using.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_seeds(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return every key of nested tables that is called seed or seeds, by its dotted name.

    >>> find_seeds({"seed": 1, "train": {"seeds": [2, 3], "rate": 0.1}})
    {'seed': 1, 'train.seeds': [2, 3]}
    """
    return dict(_seeds(config, path))


def _seeds(config: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from _seeds(value, where)
        elif name in ("seed", "seeds"):
            yield where, value


def utc_now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_process() -> dict[str, Any]:
    """Return host, pid, command line, Python, platform, versions and git state."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": list(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "git": git_state(),
    }
