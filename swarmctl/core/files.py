"""Writing files: to a temporary name first, so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmctl.core.errors import RecordError

TEMPORARY_SUFFIX = ".tmp"


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable; nothing to do on Windows."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems refuse to sync a folder; the rename is atomic all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path, suffix: str = TEMPORARY_SUFFIX) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` at the end, delete it on failure.

    `suffix` is that of the temporary name, for writers who choose a format by it. Raises
    RecordError if the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=suffix, dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        _publish(temporary, path)
    except RecordError:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    # mkstemp gives 0600; a file is for everyone whom the umask allows.
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    handle = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    sync_folder(path.parent)


def cannot_write(path: Path, error: OSError) -> RecordError:
    """Return the error that names the file, the cause and the remedy."""
    return RecordError(
        f"{path}: cannot be written ({error.strerror or error}). "
        "Check that the folder exists, may be written and has free space."
    )
