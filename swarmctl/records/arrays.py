"""Named arrays in safetensors files: read without running code, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from swarmctl.core.errors import RecordError
from swarmctl.records.files import write_bytes_atomic, write_json_atomic, write_text_atomic

__all__ = ["load_arrays", "save_arrays", "write_json_atomic", "write_text_atomic"]


def save_arrays(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays of any shape (also []) and of bool, integer or float type, bit for bit.

    Args:
        path: the file; its folder is made if need be.
        arrays: name -> array.
        metadata: name -> text.

    Raises RecordError if the file cannot be written, or for an array type or metadata that it
    cannot hold.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    texts = dict(metadata or {})
    for name, text in texts.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise RecordError(
                f"{path}: metadata {name!r} is {type(text).__name__}; give text, for example JSON."
            )
    plain = {}
    for name, array in arrays.items():
        value = np.asarray(array)
        if value.dtype.kind not in "biuf":
            raise RecordError(
                f"{path}: array {name!r} is {value.dtype}; only bool, integers and floats are kept."
            )
        # safetensors writes the memory as it lies, so it must be contiguous and little-endian;
        # ascontiguousarray would turn a 0-d array into a 1-d one.
        plain[name] = np.array(value, dtype=value.dtype.newbyteorder("="), order="C", copy=True)
    try:
        data = save(plain, metadata=texts or None)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: arrays cannot be written ({error}).") from error
    write_bytes_atomic(path, data)


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read what `save_arrays` wrote: (name -> array, name -> text).

    Raises RecordError if the file is missing, cut short or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise RecordError(f"{path}: is a folder; give the .safetensors file in it.")
    try:
        size = path.stat().st_size
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            # A handle yields names through keys() only; it is no mapping.
            names = list(file.keys())
            arrays = {name: np.array(file.get_tensor(name)) for name in names}
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file. Check the path.") from error
    except SafetensorError as error:
        raise RecordError(f"{path}: {_diagnosis(path, size)} ({error})") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return arrays, metadata


def _diagnosis(path: Path, size: int) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    header = int.from_bytes(start[:8], "little")
    foreign = len(start) == 9 and start[8:] != b"{"
    if foreign or (len(start) == 9 and header > 100_000_000):
        return "is not a safetensors file. Give a file that save_arrays wrote."
    return f"is cut short or damaged ({size} bytes). Use an earlier copy of it."
