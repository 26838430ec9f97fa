"""Writing pictures: to a temporary name first, so that a reader never sees half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure

from swarmctl.core.errors import ConfigError

PICTURE_FORMATS = ("png", "svg", "pdf")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to `path` at the end, deleted on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp gives 0600; a picture is for everyone whom the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_figure(figure: Figure, path: str | Path, also: Sequence[str] = ()) -> list[Path]:
    """Write a figure at 150 dpi in the format of the suffix (png, svg, pdf) and those of `also`.

    Returns what was written. Raises ConfigError for another format.
    """
    path = Path(path)
    formats = [path.suffix.lstrip(".").lower(), *also]
    for kind in formats:
        if kind not in PICTURE_FORMATS:
            raise ConfigError(
                f"picture {path.name!r}: format {kind!r}; allowed: {', '.join(PICTURE_FORMATS)}."
            )
    written = []
    for kind in dict.fromkeys(formats):
        target = path.with_suffix(f".{kind}")
        # Without a date the same data give the same file.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with replacing(target) as temporary:
            figure.savefig(temporary, dpi=150, format=kind, metadata=metadata)
        written.append(target)
    return written
