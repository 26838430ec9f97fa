"""Comparing, copying and watching trees of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a JAX key array."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def host(tree: Any) -> Any:
    """Copy of a tree with numpy leaves; keys become their words."""
    return jax.tree.map(
        lambda leaf: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree
    )


def tolerance(dtype: Any) -> float:
    """Relative difference that the order of operations may make over a few control intervals."""
    return float(jnp.finfo(dtype).eps) * 2**14


def differences(left: Any, right: Any, exact: bool = False) -> Iterator[str]:
    """Yield one text per leaf in which two trees differ; NaN equals NaN.

    Unless `exact`, floating-point leaves may differ by `tolerance` times their largest value.
    """
    left_tree: Any
    left_leaves, left_tree = jax.tree_util.tree_flatten_with_path(host(left))
    right_leaves, right_tree = jax.tree_util.tree_flatten_with_path(host(right))
    if left_tree != right_tree:
        yield f"the trees differ: {left_tree} and {right_tree}"
        return
    for (path, a), (_, b) in zip(left_leaves, right_leaves, strict=True):
        name = jax.tree_util.keystr(path) or "value"
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"{name} is {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        elif not _close(a, b, exact):
            yield f"{name} differs{_size(a, b)}"


def _close(a: np.ndarray, b: np.ndarray, exact: bool) -> bool:
    if not np.issubdtype(a.dtype, np.floating):
        return bool(np.array_equal(a, b))
    if exact:
        return bool(np.array_equal(a, b, equal_nan=True))
    finite = np.abs(a[np.isfinite(a)])
    scale = float(finite.max()) if finite.size else 0.0
    slack = tolerance(a.dtype)
    return bool(np.allclose(a, b, rtol=slack, atol=slack * scale, equal_nan=True))


def _size(a: np.ndarray, b: np.ndarray) -> str:
    if not np.issubdtype(a.dtype, np.floating):
        return f" in {int((a != b).sum())} of {a.size} values"
    with np.errstate(invalid="ignore"):
        return f" by up to {np.nanmax(np.abs(a - b)):.3g}"


def take(tree: Any, index: Any) -> Any:
    """Row `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def stack(trees: list[Any]) -> Any:
    """Trees of equal structure, stacked along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def describe_shape(leaf: Any) -> str:
    """Dtype and shape of an array or of its abstract value, such as float32[3, 12]."""
    return f"{leaf.dtype}{list(leaf.shape)}"


class Watch:
    """Remembers a tree and an object's attributes, and says what of them was changed in place."""

    def __init__(self, name: str, tree: Any, owner: Any = None) -> None:
        self._name, self._tree, self._owner = name, tree, owner
        self._structure: Any
        self._leaves, self._structure = jax.tree.flatten(tree)
        self._copies = host(self._leaves)
        self._attributes = dict(getattr(owner, "__dict__", {}))

    def changes(self) -> Iterator[str]:
        """Yield one text per change since the watch began."""
        leaves, structure = jax.tree.flatten(self._tree)
        if structure != self._structure:
            yield f"the structure of the {self._name} that was handed in has changed"
        elif any(a is not b for a, b in zip(leaves, self._leaves, strict=True)):
            yield f"a leaf of the {self._name} that was handed in was replaced"
        elif any(True for _ in differences(self._copies, leaves, exact=True)):
            yield f"numbers of the {self._name} that was handed in were overwritten"
        now = dict(getattr(self._owner, "__dict__", {}))
        for name in sorted(now.keys() | self._attributes.keys()):
            if now.get(name, _GONE) is not self._attributes.get(name, _GONE):
                yield f"attribute {name!r} of {type(self._owner).__name__} was changed"


_GONE = object()
