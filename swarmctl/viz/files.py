"""Writing pictures, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from swarmctl.core.errors import ConfigError
from swarmctl.core.files import replacing

PICTURE_FORMATS = ("png", "svg", "pdf")


def save_figure(figure: Figure, path: str | Path, also: Sequence[str] = ()) -> list[Path]:
    """Write a figure at 150 dpi in the format of the suffix (png, svg, pdf) and those of `also`.

    Returns what was written. Raises ConfigError for another format, RecordError if it
    cannot be written.
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
        with replacing(target, target.suffix) as temporary:
            figure.savefig(temporary, dpi=150, format=kind, metadata=metadata)
        written.append(target)
    return written
