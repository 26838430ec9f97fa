"""Checkpoints: the whole training state as arrays, written atomically, for an exact resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import RecordError, RunFolderError
from swarmctl.records.arrays import load_arrays, save_arrays

FILE = "checkpoint.safetensors"


def save_checkpoint(folder: Path, state: Any, metadata: dict[str, str]) -> None:
    """Write every leaf of a training state under its path in the tree."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    save_arrays(folder / FILE, arrays, metadata)


def load_checkpoint(folder: Path, like: Any) -> tuple[Any, dict[str, str]]:
    """Read a training state with the structure of `like` (arrays or shapes).

    Raises RunFolderError if the file is missing, damaged, or of another configuration.
    """
    file = folder / FILE
    try:
        arrays, metadata = load_arrays(file)
    except RecordError as error:
        raise RunFolderError(f"{error} Start the run again with overwrite.") from None
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    if set(names) != set(arrays):
        odd = sorted(set(names) ^ set(arrays))[0]
        raise RunFolderError(
            f"{file}: was written by another version or configuration ({odd} is on one side only); "
            "start the run again with overwrite."
        )
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if arrays[name].shape != leaf.shape or arrays[name].dtype != leaf.dtype:
            raise RunFolderError(
                f"{file}: {name} is {arrays[name].dtype}{arrays[name].shape}, "
                f"expected {leaf.dtype}{leaf.shape}; resume with the configuration and precision "
                "of the run, or start it again with overwrite."
            )
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in names]), metadata
