"""Tasks made of tasks: sums, products, curricula, and a switch that ends the episode for all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static

Array = jax.Array


def evaluate_all(
    parts: Sequence[Task], state: SwarmState, memory: Any, space: Space
) -> tuple[Array, Array, Any]:
    """Return (rewards [K,N], terminated [K,N], memories) of K tasks."""
    found = [part.evaluate(state, own, space) for part, own in zip(parts, memory, strict=True)]
    return (
        jnp.stack([reward for reward, _, _ in found]),
        jnp.stack([terminated for _, terminated, _ in found]),
        tuple(own for _, _, own in found),
    )


def _require_parts(parts: Any, name: str) -> None:
    if isinstance(parts, tuple) and not parts:
        raise ConfigError(f"{name}: at least one task is needed, got none.")


@pytree
class WeightedSum(Task):
    """Σ_k w_k R_k; a colloid is done where any part says so. `weights` w [K]."""

    parts: tuple[Task, ...]
    weights: Array

    def __post_init__(self) -> None:
        _require_parts(self.parts, "weighted sum")

    def check(self, spec: EngineSpec) -> None:
        """Check every part, and that there is a weight for each."""
        if jnp.shape(self.weights) != (len(self.parts),):
            raise ConfigError(
                f"weighted sum: weights of shape {jnp.shape(self.weights)} for {len(self.parts)} "
                "tasks; give one weight per task."
            )
        for part in self.parts:
            part.check(spec)

    def init(self, state: SwarmState, space: Space) -> Any:
        """One memory per part."""
        return tuple(part.init(state, space) for part in self.parts)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memories)."""
        rewards, terminated, memory = evaluate_all(self.parts, state, memory, space)
        total = jnp.sum(jnp.asarray(self.weights, rewards.dtype)[:, None] * rewards, axis=0)
        return total, terminated.any(axis=0), memory


@pytree
class Product(Task):
    """Π_k R_k; a colloid is done where any part says so.

    For parts that pay between 0 and 1 it is a soft "and". Two negative parts make a positive one.
    """

    parts: tuple[Task, ...]

    def __post_init__(self) -> None:
        _require_parts(self.parts, "product")

    def check(self, spec: EngineSpec) -> None:
        """Check every part."""
        for part in self.parts:
            part.check(spec)

    def init(self, state: SwarmState, space: Space) -> Any:
        """One memory per part."""
        return tuple(part.init(state, space) for part in self.parts)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memories)."""
        rewards, terminated, memory = evaluate_all(self.parts, state, memory, space)
        return jnp.prod(rewards, axis=0), terminated.any(axis=0), memory


@pytree
class Curriculum(Task):
    """Tasks that follow one another as training goes on.

    Stage k begins at the training progress `starts[k]`, in [0, 1]; if left out, starts are equally
    spaced. With `blend`, stage k pays in full at its start and weights go linearly from one stage
    to the next; else the stage changes at once. A stage without weight neither pays nor terminates,
    but its memory is kept. `progress` [] is set by `with_progress`.
    """

    stages: tuple[Task, ...]
    progress: Array | float = 0.0
    starts: tuple[float, ...] | None = static(default=None)
    blend: bool = static(default=False)

    def __post_init__(self) -> None:
        _require_parts(self.stages, "curriculum")
        starts = self.starts
        if starts is None or not isinstance(self.stages, tuple):
            return
        rising = all(a < b for a, b in itertools.pairwise(starts))
        if len(starts) != len(self.stages) or starts[0] != 0 or not rising or starts[-1] > 1:
            raise ConfigError(
                f"curriculum: starts {starts} for {len(self.stages)} stages; give one per stage, "
                "rising from 0, none above 1."
            )

    def check(self, spec: EngineSpec) -> None:
        """Check every stage."""
        for stage in self.stages:
            stage.check(spec)

    def weights(self, dtype: Any) -> Array:
        """Weight [K] of every stage at the present progress."""
        count = len(self.stages)
        progress = jnp.clip(jnp.asarray(self.progress, dtype), 0, 1)
        if count == 1:
            return jnp.ones(1, dtype)
        parts = count - 1 if self.blend else count
        starts = jnp.asarray(self.starts or [k / parts for k in range(count)], dtype)
        if self.blend:
            return jax.vmap(lambda row: jnp.interp(progress, starts, row))(
                jnp.eye(count, dtype=dtype)
            )
        return jax.nn.one_hot(jnp.sum(progress >= starts) - 1, count, dtype=dtype)

    def init(self, state: SwarmState, space: Space) -> Any:
        """One memory per stage."""
        return tuple(stage.init(state, space) for stage in self.stages)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memories)."""
        rewards, terminated, memory = evaluate_all(self.stages, state, memory, space)
        weights = self.weights(rewards.dtype)[:, None]
        counts = weights > 0
        reward = jnp.sum(jnp.where(counts, weights * rewards, 0), axis=0)
        return reward, (terminated & counts).any(axis=0), memory


def with_progress(task: Task, progress: Array | float) -> Task:
    """Return the task with the training progress, in [0, 1], set in every curriculum in it."""

    def update(leaf: Any) -> Any:
        if not isinstance(leaf, Curriculum):
            return leaf
        value = jnp.asarray(progress, jnp.result_type(leaf.progress))
        stages = tuple(with_progress(stage, progress) for stage in leaf.stages)
        return dataclasses.replace(leaf, stages=stages, progress=value)

    return jax.tree.map(update, task, is_leaf=lambda leaf: isinstance(leaf, Curriculum))


@pytree
class KillSwitch(Task):
    """Pays as `part`, and ends the episode for all when a colloid terminates in `when`.

    What `when` pays is left out.
    """

    part: Task
    when: Task

    def check(self, spec: EngineSpec) -> None:
        """Check both."""
        self.part.check(spec)
        self.when.check(spec)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Memories of both."""
        return self.part.init(state, space), self.when.init(state, space)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memories)."""
        reward, terminated, own = self.part.evaluate(state, memory[0], space)
        _, ended, other = self.when.evaluate(state, memory[1], space)
        ended = (ended & state.present).any()
        return reward, terminated | (ended & state.present), (own, other)
